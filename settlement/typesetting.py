"""Documents as PDF: typeset with a font that has Chinese and Latin; what they say comes apart from how they look."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import typst
from pylopdf_fonts_zh_cn import sans_path

FONT = "Noto Sans SC"
PREAMBLE = f"""
#let data = json(bytes(sys.inputs.data))
#set document(title: data.title, author: "Surplusflow")
#set page(paper: "a4", margin: (x: 16mm, top: 16mm, bottom: 18mm), numbering: "1 / 1", flipped: data.at("wide",
  default: false))
#set text(font: "{FONT}", size: 9pt, lang: data.lang, fill: rgb("#16202c"))
#set par(leading: 0.55em)
#show heading.where(level: 1): it => block(below: 0.8em, text(size: 16pt, it.body))
#show heading.where(level: 2): it => block(above: 1.4em, below: 0.7em, text(size: 11pt, it.body))
#set table(stroke: (x, y) => (bottom: 0.4pt + rgb("#dde3ea")), inset: (x: 4pt, y: 3.5pt))
#show table.cell.where(y: 0): set text(fill: rgb("#536173"))
#let quiet(body) = text(size: 8pt, fill: rgb("#536173"), body)
#let facts(rows) = grid(columns: (auto, 1fr), column-gutter: 1.2em, row-gutter: 0.55em,
  ..rows.map(row => (quiet(row.at(0)), row.at(1))).flatten())
#let columned(widths, numbers, head, rows) = table(columns: widths,
  align: (x, y) => (if numbers.contains(x) {{ right }} else {{ left }}) + top,
  table.header(..head.map(name => [#name])), ..rows.flatten().map(cell => [#cell]))
"""
"""The look that all documents share, and the parts that they are made of. ``data`` has ``title`` and ``lang``."""


def typeset(source: str, data: Mapping[str, Any]) -> bytes:
    """A document of Typst source with its data, which the source reads as ``data`` and which is never run as source.

    Takes a fraction of a second for some fifty pages: call it in a thread.
    """
    return typst.compile(
        (PREAMBLE + source).encode(),
        font_paths=_fonts(),
        sys_inputs={"data": json.dumps(data, ensure_ascii=False)},
    )


@cache
def _fonts() -> typst.Fonts:
    """Read once: the same document then looks the same on every machine."""
    return typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[sans_path().parent])
