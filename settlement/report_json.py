"""A settlement report as one JSON object, written row by row."""

import json
from dataclasses import asdict
from typing import TextIO

from settlement.report import Report, as_dict


def write_json(report: Report, stream: TextIO) -> None:
    """Write ``{head..., "rows": [...]}``; fields without a value are left out."""
    head = json.dumps(as_dict(report), ensure_ascii=False)
    stream.write(f'{head[:-1]}, "rows": [')
    for number, row in enumerate(report.rows()):
        filled = {name: value for name, value in asdict(row).items() if value is not None}
        stream.write((",\n" if number else "\n") + json.dumps(filled, ensure_ascii=False))
    stream.write("\n]}\n")
