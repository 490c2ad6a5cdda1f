"""A settlement report as a workbook: a sheet for each kind of record, text as text and numbers as numbers."""

from pathlib import Path
from typing import Any, BinaryIO

import xlsxwriter

from settlement.report import COLUMNS, HEADINGS, SHEETS, Report

WIDTH = 18
LAST_ROW = 1_048_575
"""The last row of a sheet; what does not fit goes on in another."""


def write_xlsx(report: Report, target: Path | BinaryIO) -> None:
    """Write the whole report, row by row, with little memory."""
    options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(target if not isinstance(target, Path) else str(target), options) as book:
        heading = book.add_format({"bold": True, "bg_color": "#E8EEF4", "text_wrap": True})
        _about(book, report, heading)
        for record, title in SHEETS.items():
            _sheets(book, report, record, title, heading)


def _about(book: Any, report: Report, heading: Any) -> None:
    sheet = book.add_worksheet("说明 About")
    sheet.set_column(0, 1, WIDTH * 2)
    lines = [
        ("运营商 Carrier", report.carrier),
        ("起 From", report.span.first_day.isoformat()),
        ("止 To", report.span.last_day.isoformat()),
        ("生成 Made", report.span.moment(report.made_at) or ""),
        ("币种 Currency", report.currency),
        ("差异 Breaks", str(len(report.breaks))),
    ]
    for number, (name, value) in enumerate(lines):
        sheet.write_string(number, 0, name, heading)
        sheet.write_string(number, 1, value)


def _sheets(book: Any, report: Report, record: str, title: str, heading: Any) -> None:
    number = LAST_ROW
    part = 0
    sheet: Any = None
    for row in report.rows(record):
        if number >= LAST_ROW:
            part += 1
            sheet, number = _sheet(book, title if part == 1 else f"{title} {part}", heading), 1
        for column, name in enumerate(COLUMNS):
            _write(sheet, number, column, getattr(row, name))
        number += 1
    if sheet is None:
        _sheet(book, title, heading)


def _sheet(book: Any, title: str, heading: Any) -> Any:
    sheet = book.add_worksheet(title)
    sheet.set_column(0, len(COLUMNS) - 1, WIDTH)
    sheet.freeze_panes(1, 0)
    for column, name in enumerate(COLUMNS):
        sheet.write_string(0, column, f"{HEADINGS[name]}\n{name}", heading)
    return sheet


def _write(sheet: Any, row: int, column: int, value: str | int | None) -> None:
    if isinstance(value, str):
        sheet.write_string(row, column, value)
    elif value is not None:
        sheet.write_number(row, column, value)
