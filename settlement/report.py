"""The settlement report: everything that was settled over some days, one row for each thing, from our own books.

Parties and lines appear under their ids only. Rows are kept in a spool on disk, so a
report may be longer than memory; whoever writes it reads it row by row.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import date, datetime, time, timedelta, tzinfo
from os import SEEK_END
from typing import Any, Self

ALL = "all"
SPOOL_BYTES = 8_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One thing that was settled, or was to be. Amounts are minor units, quantities MB, times ISO 8601.

    ``record`` says what: trade, top_up, card_hold, refund, payout, release, break or total.
    """

    record: str
    id: str
    at: str
    carrier: str | None = None
    asset: str | None = None
    quantity_mb: int | None = None
    price_minor: int | None = None
    amount_minor: int | None = None
    fee_minor: int | None = None
    charge_minor: int | None = None
    """What of the fee is passed on to the carrier."""
    net_minor: int | None = None
    currency: str | None = None
    status: str | None = None
    reason: str | None = None
    seller: str | None = None
    buyer: str | None = None
    seller_line: str | None = None
    receiver_line: str | None = None
    carrier_reference: str | None = None
    payment_reference: str | None = None
    our_reference: str | None = None
    delivered_at: str | None = None
    settled_at: str | None = None


HEADINGS: Mapping[str, str] = {
    "record": "记录",
    "id": "编号",
    "at": "时间",
    "carrier": "运营商",
    "asset": "品种",
    "quantity_mb": "数量（MB）",
    "price_minor": "单价（分/100 MB）",
    "amount_minor": "金额（分）",
    "fee_minor": "手续费（分）",
    "charge_minor": "其中运营商费用（分）",
    "net_minor": "净额（分）",
    "currency": "币种",
    "status": "状态",
    "reason": "原因",
    "seller": "卖方",
    "buyer": "买方",
    "seller_line": "卖方线路",
    "receiver_line": "接收线路",
    "carrier_reference": "运营商凭证号",
    "payment_reference": "支付凭证号",
    "our_reference": "我方指令号",
    "delivered_at": "交付时间",
    "settled_at": "结清时间",
}
COLUMNS = tuple(field.name for field in fields(Row))
SHEETS: Mapping[str, str] = {
    "trade": "成交 Trades",
    "top_up": "充值 Top-ups",
    "card_hold": "银行卡 Cards",
    "refund": "退款 Refunds",
    "payout": "提现 Payouts",
    "release": "释放 Releases",
    "break": "差异 Breaks",
    "total": "合计 Totals",
}
"""The kinds of record in their order, and what a sheet of them is called."""


@dataclass(frozen=True, slots=True)
class Span:
    """The days of a report, first and last included, by the clock of ``zone``."""

    first_day: date
    last_day: date
    zone: tzinfo

    @property
    def since(self) -> datetime:
        return datetime.combine(self.first_day, time(), self.zone)

    @property
    def until(self) -> datetime:
        return datetime.combine(self.last_day + timedelta(days=1), time(), self.zone)

    def moment(self, at: datetime | None) -> str | None:
        return None if at is None else at.astimezone(self.zone).isoformat(timespec="seconds")


@dataclass(slots=True)
class Total:
    """What the trades of one carrier come to. Quantity and money are those of settled trades."""

    trades: int = 0
    settled: int = 0
    refunded: int = 0
    open: int = 0
    quantity_mb: int = 0
    amount_minor: int = 0
    fee_minor: int = 0
    net_minor: int = 0

    def add(self, row: Row) -> None:
        self.trades += 1
        if row.status == "settled":
            self.settled += 1
            self.quantity_mb += row.quantity_mb or 0
            self.amount_minor += row.amount_minor or 0
            self.fee_minor += row.fee_minor or 0
            self.net_minor += row.net_minor or 0
        elif row.status == "refunded":
            self.refunded += 1
        else:
            self.open += 1


@dataclass
class Report:
    """A finished report. Close it, or use it in a ``with``, so that its spool goes away."""

    carrier: str
    span: Span
    made_at: datetime
    currency: str
    totals: dict[str, Total] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    breaks: list[Row] = field(default_factory=list)
    _spool: Any = field(default_factory=lambda: tempfile.SpooledTemporaryFile(SPOOL_BYTES))  # noqa: SIM115 - see close

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._spool.close()

    def add(self, row: Row) -> None:
        self.counts[row.record] += 1
        if row.record == "trade":
            self.totals.setdefault(row.carrier or "house", Total()).add(row)
        self._spool.seek(0, SEEK_END)
        self._spool.write(json.dumps([getattr(row, name) for name in COLUMNS]).encode() + b"\n")

    def add_break(self, row: Row) -> None:
        self.counts[row.record] += 1
        self.breaks.append(row)

    def rows(self, record: str | None = None) -> Iterator[Row]:
        """The rows in the order of ``SHEETS``, or those of one kind, then breaks, then totals."""
        if record in {None, *SHEETS} - {"break", "total"}:
            for row in self._spooled():
                if record in {None, row.record}:
                    yield row
        if record in {None, "break"}:
            yield from self.breaks
        if record in {None, "total"}:
            yield from self._total_rows()

    def _spooled(self) -> Iterator[Row]:
        """Each reader keeps its own place, so that several can read at once."""
        place = 0
        while True:
            self._spool.seek(place)
            line = self._spool.readline()
            if not line:
                return
            place += len(line)
            yield Row(**dict(zip(COLUMNS, json.loads(line), strict=True)))

    def _total_rows(self) -> Iterator[Row]:
        for carrier, total in sorted(self.totals.items()):
            yield Row(
                record="total",
                id=carrier,
                at=self.made_at.isoformat(timespec="seconds"),
                carrier=carrier,
                quantity_mb=total.quantity_mb,
                amount_minor=total.amount_minor,
                fee_minor=total.fee_minor,
                net_minor=total.net_minor,
                currency=self.currency,
                reason=f"{total.trades} trades: {total.settled} settled, {total.refunded} refunded, {total.open} open",
            )


def a_break(span: Span, subject: str, cause: str, detail: str, at: datetime | str, **more: Any) -> Row:
    """A difference between our books and somebody else's, with its cause: see ``CAUSES``."""
    assert cause in CAUSES, cause
    moment = at if isinstance(at, str) else span.moment(at)
    return Row(record="break", id=subject, at=moment or "", status=cause, reason=detail, **more)


CAUSES: Mapping[str, str] = {
    "missing_there": "we have it, they do not",
    "missing_here": "they have it, we do not",
    "amount_differs": "both have it, with different amounts",
    "status_differs": "both have it, and disagree how it ended",
    "done_twice": "they did it more than once",
    "in_flight": "it has not ended yet; the detail says for how long it has been under way",
    "not_compared": "they could not be asked",
}


def as_dict(report: Report) -> dict[str, Any]:
    """The head of a report, for JSON and pages."""
    return {
        "carrier": report.carrier,
        "from": report.span.first_day.isoformat(),
        "to": report.span.last_day.isoformat(),
        "made_at": report.span.moment(report.made_at),
        "currency": report.currency,
        "counts": {record: report.counts[record] for record in SHEETS if report.counts[record]},
        "totals": {carrier: asdict(total) for carrier, total in sorted(report.totals.items())},
    }
