"""The provider's part of a settlement report: its own books, read page by page, beside our payments and withdrawals.

Nothing is asked for by itself, so that a report of a month costs as many calls as the provider has pages of it.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from settlement.naming import subject_of
from settlement.payments.port import Payments
from settlement.payments.statement import Line
from settlement.report import Report, Row, a_break
from settlement.tables import PaymentRow

TAKEN = frozenset({"charge", "payment"})
GIVEN_BACK = frozenset({"refund", "payment_refund", "refund_failure"})
UNFINISHED = frozenset({"requested", "requires_action", "unknown", "authorised", "transferred"})
AT_A_TIME = 500
AHEAD = timedelta(minutes=10)
"""By so much the provider's clock may be ahead of ours, and what it has just booked still counts."""

Sessions = async_sessionmaker[AsyncSession]


@dataclass(slots=True)
class Statement:
    """What the provider's lines come to, in minor units: by its name for a payment, or by ours for a transfer."""

    taken: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    given_back: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    sent: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """To sellers, less what was reversed."""
    named: dict[str, str] = field(default_factory=dict)
    """Our names for the payments of the report's days that carry one."""

    def add(self, line: Line, mark: str, until: datetime) -> None:
        if line.kind in TAKEN:
            self.taken[line.about] += line.amount
            if subject_of(mark, line.reference) is not None and datetime.fromtimestamp(line.created, UTC) < until:
                self.named[line.about] = line.reference
        elif line.kind in GIVEN_BACK:
            self.given_back[line.about] -= line.amount
        elif line.kind in {"transfer", "transfer_refund"} and (named := subject_of(mark, line.reference)) is not None:
            self.sent[f"wdr_{named[1]}"] -= line.amount


async def compare(sessions: Sessions, payments: Payments, mark: str, report: Report) -> None:
    """Add every difference with the provider to the report.

    Raises:
        PaymentError: its books could not be read to their end.
    """
    statement = Statement()
    async for line in _lines(payments, report.span.since, report.made_at + AHEAD):
        statement.add(line, mark, report.span.until)
    listed = set[str]()
    for kind in ("top_up", "card_hold"):
        for row in report.rows(kind):
            listed.add(row.payment_reference or "")
            _compare_payment(statement, report, row)
    for row in report.rows("payout"):
        _compare_payout(statement, report, row)
    await _add_unknown(sessions, statement, report, mark, listed)


async def _lines(payments: Payments, since: datetime, until: datetime) -> AsyncIterator[Line]:
    after: str | None = None
    while True:
        page = await payments.statement_page(since, until, after)
        for line in page.lines:
            yield line
        if page.last_id is None or page.last_id == after:
            return
        after = page.last_id


def _compare_payment(statement: Statement, report: Report, row: Row) -> None:
    if row.status in UNFINISHED:
        report.add_break(_in_flight(report, row))
        return
    if row.payment_reference is None:
        return
    theirs, refunded = statement.taken[row.payment_reference], statement.given_back[row.payment_reference]
    ours = (row.amount_minor or 0) if row.status in {"succeeded", "refunded"} else 0
    given_back = ours - (row.net_minor or 0) if ours else 0
    if theirs != ours:
        cause = "amount_differs" if ours and theirs else "missing_here" if theirs else "missing_there"
        _break(report, row, cause, f"{ours} here, {theirs} there")
    elif refunded != given_back:
        _break(report, row, "amount_differs", f"{given_back} refunded here, {refunded} there")


def _compare_payout(statement: Statement, report: Report, row: Row) -> None:
    """What left us for the seller's account. Whether its bank took it is not in our books there: the rounds ask."""
    if row.status in UNFINISHED:
        report.add_break(_in_flight(report, row))
        return
    theirs, ours = statement.sent[row.id], (row.amount_minor or 0) if row.status == "paid" else 0
    if theirs != ours:
        cause = "status_differs" if not (ours and theirs) else "amount_differs"
        _break(report, row, cause, f"{row.status} here, {theirs} sent there")


async def _add_unknown(sessions: Sessions, statement: Statement, report: Report, mark: str, listed: set[str]) -> None:
    """Payments that the provider took under our name, and that our books do not have as paid, of whatever day."""
    unknown = sorted(statement.named.keys() - listed)
    for first in range(0, len(unknown), AT_A_TIME):
        batch = unknown[first : first + AT_A_TIME]
        for provider_id in sorted(set(batch) - await _paid(sessions, batch)):
            named = subject_of(mark, statement.named[provider_id])
            assert named is not None
            detail = f"{statement.taken[provider_id]} were taken there as {statement.named[provider_id]}"
            subject = f"pay_{named[1]}"
            report.add_break(
                a_break(report.span, subject, "missing_here", detail, report.made_at, payment_reference=provider_id)
            )


async def _paid(sessions: Sessions, provider_ids: Sequence[str]) -> set[str]:
    paid = PaymentRow.status.in_(("succeeded", "refunded"))
    async with sessions() as session:
        query = select(PaymentRow.provider_id).where(PaymentRow.provider_id.in_(provider_ids), paid)
        return {name for name in await session.scalars(query) if name is not None}


def _break(report: Report, row: Row, cause: str, detail: str) -> None:
    report.add_break(a_break(report.span, row.id, cause, detail, row.at, payment_reference=row.payment_reference))


def _in_flight(report: Report, row: Row) -> Row:
    age = report.made_at - datetime.fromisoformat(row.at)
    return a_break(report.span, row.id, "in_flight", f"{row.status} for {int(age.total_seconds())} s", row.at)
