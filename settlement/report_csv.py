"""A settlement report as CSV that Excel opens rightly: UTF-8 with its mark, English names, a Chinese line below."""

import csv
import re
from typing import TextIO

from settlement.report import COLUMNS, HEADINGS, Report

MARK = "\ufeff"
DANGEROUS = re.compile(r"^[\s\x00]*[=+\-@＝＋－＠|%]|^[\t\r\n\x00]")
"""What a spreadsheet might take for a formula, also behind blanks and in full width."""


def cell(value: str | int | None) -> str:
    """One cell. Text that a spreadsheet might run is quoted with an apostrophe; whole numbers stay numbers."""
    if value is None:
        return ""
    if isinstance(value, int):
        return str(value)
    text = value.replace("\x00", "")
    return f"'{text}" if DANGEROUS.search(value) else text


def write_csv(report: Report, stream: TextIO) -> None:
    """Write the whole report. Open the stream as UTF-8 with ``newline=""``."""
    stream.write(MARK)
    lines = csv.writer(stream, lineterminator="\r\n")
    lines.writerow(COLUMNS)
    lines.writerow([HEADINGS[name] for name in COLUMNS])
    for row in report.rows():
        lines.writerow([cell(getattr(row, name)) for name in COLUMNS])
