"""A settlement report as a document to read and to print, in Chinese and English side by side."""

from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from typing import BinaryIO

from babel.numbers import format_decimal, get_currency_precision

from settlement.report import ALL, CAUSES, SHEETS, Report, Row, Total
from settlement.typesetting import typeset

MOST_ROWS = 1_000
"""Rows of one document: some fifty pages. It says so when there are more; the other formats have all."""
MOST_BREAKS = 300
DETAILS = ("trade", "top_up", "card_hold", "refund", "payout", "release")
CAUSE_WORDS = {
    "missing_there": "对方没有",
    "missing_here": "我方没有",
    "amount_differs": "金额不一致",
    "status_differs": "结果不一致",
    "done_twice": "重复执行",
    "in_flight": "尚未结束",
    "not_compared": "未能核对",
}
STATUS_WORDS = {
    "settled": "已结清", "refunded": "已退款", "pending": "进行中", "delivered": "已交付", "succeeded": "成功",
    "paid": "已支付", "requested": "已申请", "transferred": "已转出", "refused": "被拒", "declined": "被拒",
    "voided": "已撤销", "authorised": "已授权", "unknown": "待确认", "requires_action": "待确认", "released": "已释放",
    "releasing": "释放中", "reserved": "已预留",
}  # fmt: skip
_SOURCE = """
= #data.title
#v(0.4em)
#facts(data.facts)
== 合计 Totals
#if data.totals.len() == 0 [这些天没有成交。Nothing was traded on these days.] else [
#columned((1fr, auto, auto, auto, auto, auto, auto, auto), (1, 2, 3, 4, 5, 6, 7), data.totals_head, data.totals)]
== 差异 Breaks
#if data.breaks.len() == 0 [没有差异，三方一致。No breaks: ledger, carriers and provider agree.] else [
#columned((auto, auto, auto, auto, 1fr), (3,), data.breaks_head, data.breaks)]
#for part in data.parts [
== #part.title
#columned((auto, auto, auto, 1fr, auto, auto, auto, auto, 1.4fr), (4, 5, 6), data.head, part.rows)
]
#if data.cut != "" [#v(0.6em) #quiet(data.cut)]
"""


def write_pdf(report: Report, stream: BinaryIO) -> None:
    """Write the report: sums and breaks, then its rows as far as a document should hold them. Call it in a thread."""
    shown = list(islice(_details(report), MOST_ROWS))
    every = sum(report.counts[record] for record in DETAILS)
    stream.write(
        typeset(
            _SOURCE,
            {
                "lang": "zh",
                "wide": True,
                "title": "结算报告 Settlement report",
                "facts": _facts(report),
                "totals_head": ["运营商 Carrier", "成交 Trades", "已结清 Settled", "已退款 Refunded", "进行中 Open",
                                "MB / 币 coins", "金额 Amount", "手续费 Fee"],
                "totals": [_total(report, carrier, total) for carrier, total in sorted(report.totals.items())],
                "breaks_head": ["编号 Id", "原因 Cause", "运营商 Carrier", "金额 Amount", "说明 Detail"],
                "breaks": [_break(report, row) for row in report.breaks[:MOST_BREAKS]],
                "head": ["编号 Id", "时间 Time", "运营商 Carrier", "品种 Asset", "MB", "金额 Amount", "手续费 Fee",
                         "状态 Status", "凭证号 References"],
                "parts": [
                    {"title": SHEETS[record], "rows": rows}
                    for record in DETAILS
                    if (rows := [_row(report, row) for row in shown if row.record == record])
                ],
                "cut": _cut(len(shown), every, len(report.breaks)),
            },
        )
    )  # fmt: skip


def _details(report: Report) -> Iterator[Row]:
    return (row for record in DETAILS for row in report.rows(record))


def _facts(report: Report) -> list[tuple[str, str]]:
    every = "全部 All" if report.carrier == ALL else report.carrier
    return [
        ("运营商 Carrier", every),
        ("日期 Days", f"{report.span.first_day} – {report.span.last_day}"),
        ("生成 Made", report.span.moment(report.made_at) or ""),
        ("币种 Currency", report.currency),
        (
            "记录 Records",
            " · ".join(f"{SHEETS[each]}: {report.counts[each]}" for each in SHEETS if report.counts[each]),
        ),
    ]


def _total(report: Report, carrier: str, total: Total) -> list[str]:
    counts = (total.trades, total.settled, total.refunded, total.open, total.quantity_mb)
    name = "币 Coins" if carrier == "house" else carrier
    return [name, *map(_number, counts), _money(report, total.amount_minor), _money(report, total.fee_minor)]


def _break(report: Report, row: Row) -> list[str]:
    cause = row.status or ""
    said = f"{CAUSE_WORDS.get(cause, '')} {CAUSES.get(cause, cause)}".strip()
    return [row.id, said, row.carrier or "", _money(report, row.amount_minor), row.reason or ""]


def _row(report: Report, row: Row) -> list[str]:
    status = row.status or ""
    references = (row.our_reference, row.carrier_reference, row.payment_reference)
    quantity = "" if row.quantity_mb is None else _number(row.quantity_mb)
    return [
        row.id,
        row.at[:19].replace("T", " "),
        row.carrier or "",
        row.asset or "",
        quantity,
        _money(report, row.amount_minor),
        _money(report, row.fee_minor),
        f"{STATUS_WORDS.get(status, '')} {status}".strip(),
        "\n".join(reference for reference in references if reference),
    ]


def _cut(shown: int, every: int, breaks: int) -> str:
    parts = []
    if shown < every:
        parts.append(f"这里只列出 {every} 条记录中的前 {shown} 条，合计包含全部；CSV、XLSX 与 JSON 含全部记录。"
                     f"Only the first {shown} of {every} records are listed; the sums are of all. CSV, XLSX and JSON "
                     "have them.")  # fmt: skip
    if breaks > MOST_BREAKS:
        parts.append(f"差异只列出前 {MOST_BREAKS} 条，共 {breaks} 条。Only the first {MOST_BREAKS} of {breaks} breaks.")
    return " ".join(parts)


def _number(value: int) -> str:
    return format_decimal(value, locale="en")


def _money(report: Report, minor: int | None) -> str:
    if minor is None:
        return ""
    digits = get_currency_precision(report.currency)
    return format_decimal(Decimal(minor).scaleb(-digits), format=f"#,##0.{'0' * digits}", locale="en")
