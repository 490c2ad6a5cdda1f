"""The rounds: what was asked for and never answered, what nobody came back for, and payouts on their way."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from settlement import checkouts, custody, debts, escalation, funding, giving_up, payouts, reopening
from settlement.carriers.errors import CarrierError
from settlement.lane import Announce
from settlement.ledger import InsufficientFunds, LedgerRefusal
from settlement.ledger_tables import AccountRow
from settlement.payments.errors import PaymentError
from settlement.reopening_tables import ReopeningRow
from settlement.steps import PROVIDER_LANE, Outside
from settlement.tables import CustodyRow, DeliveryRow, InstructionRow, PaymentRow, PayoutRow

log = structlog.get_logger()

SILENCE = timedelta(minutes=1)
"""An answer that has not come by then won't come to the one who asked."""
ORPHANED = timedelta(minutes=15)
"""By then nobody comes back for a custody or a card hold that no order uses."""
RETURNABLE = timedelta(days=7)
"""How long a bank may send a payout back after it was paid."""
BATCH = 200
SOONEST = timedelta(seconds=1)
LATEST = timedelta(hours=1)

Sessions = async_sessionmaker[AsyncSession]
Act = Callable[[Sessions, Outside, Any, datetime], Awaitable[set[int]]]


@dataclass
class Pace:
    """Asks about one thing the seldomer the older it is: again after a quarter of its age. In memory only."""

    _next: dict[tuple[str, int], datetime] = field(default_factory=dict)

    def due(self, kind: str, rows: Sequence[Any], now: datetime) -> list[Any]:
        """Those whose turn it is. What is no longer among the rows is forgotten."""
        known = {(kind, row.id): self._next.get((kind, row.id), now) for row in rows}
        others = {key: at for key, at in self._next.items() if key[0] != kind}
        turn = [row for row in rows if known[kind, row.id] <= now]
        for row in turn:
            known[kind, row.id] = now + min(max((now - row.created_at) / 4, SOONEST), LATEST)
        self._next = others | known
        return turn


async def sweep(sessions: Sessions, outside: Outside, announce: Announce, pace: Pace) -> int:
    """One round; says how much it heard. Each thing is asked about on its own, so that none keeps another waiting."""
    heard = 0
    async with sessions() as session:
        now = (await session.execute(select(func.now()))).scalar_one()
        found = [list(await session.scalars(open_rows(now).limit(BATCH))) for _, open_rows, _ in ROUND]
    for (kind, _, act), rows in zip(ROUND, found, strict=True):
        for row in pace.due(kind, rows, now):
            try:
                told = await act(sessions, outside, row, now)
            except (CarrierError, PaymentError, LedgerRefusal) as error:
                log.warning("sweep_failed", kind=kind, subject=row.id, error=type(error).__name__)
            else:
                heard += bool(told)
                await announce(told)
    return heard + await _look_after(sessions, announce)


async def _look_after(sessions: Sessions, announce: Announce) -> int:
    """Settle reopenings that waited for their trade to end, collect debts, and say what takes too long.

    What a buyer gave up while it was on its way is looked for again: it may have turned out not to be.
    """
    told: set[int] = set()
    async with sessions() as session:
        waiting = list(await session.scalars(_waiting_reopenings()))
    for reopening_id in waiting:
        async with sessions.begin() as session:
            told |= await reopening.settle_open(session, reopening_id)
    async with sessions.begin() as session:
        told |= await debts.collect(session)
    async with sessions.begin() as session:
        told |= await escalation.look(session)
    async with sessions.begin() as session:
        taken_off = await giving_up.take_off(session)
    await announce(told)
    return len(told) + taken_off


def _waiting_reopenings() -> Any:
    ended = DeliveryRow.status.in_(("settled", "refunded"))
    query = select(ReopeningRow.id).join(DeliveryRow, DeliveryRow.id == ReopeningRow.trade_id)
    return query.where(ReopeningRow.status == "open", ended).order_by(ReopeningRow.id).limit(BATCH)


def _undecided_payments(now: datetime) -> Any:
    """What the provider has, and its owner or the bank still has to decide. Lanes ask for what it may not have."""
    known = PaymentRow.provider_id.is_not(None) | PaymentRow.checkout_id.is_not(None)
    waiting = PaymentRow.status.in_(("unknown", "requires_action")) & known
    return select(PaymentRow).where(waiting, PaymentRow.created_at < now - SILENCE).order_by(PaymentRow.id)


async def _ask_payment(sessions: Sessions, outside: Outside, row: PaymentRow, now: datetime) -> set[int]:  # noqa: ARG001
    if row.checkout_id is not None:
        told = await checkouts.follow(sessions, outside.payments, row.id, row.checkout_id)
    else:
        assert row.provider_id is not None
        payment = await outside.payments.payment(row.provider_id)
        async with sessions.begin() as session:
            told = await funding.book_payment(session, row.id, payment)
    return {row.party_id} if told.status != row.status else set()


def _payouts_on_their_way(now: datetime) -> Any:
    moving = (PayoutRow.status == "transferred") & PayoutRow.reason.is_(None)
    returnable = (PayoutRow.status == "paid") & (PayoutRow.ended_at > now - RETURNABLE)
    return select(PayoutRow).where(PayoutRow.payout_reference.is_not(None), or_(moving, returnable))


async def _ask_payout(sessions: Sessions, outside: Outside, row: PayoutRow, now: datetime) -> set[int]:  # noqa: ARG001
    assert row.payout_reference is not None
    payout = await outside.payments.payout(row.destination, row.payout_reference)
    async with sessions.begin() as session:
        told = await payouts.book_payout(session, row.id, payout)
    return {row.party_id} if told.status != row.status or told.reason != row.reason else set()


def _lone_custodies(now: datetime) -> Any:
    asked = exists().where(InstructionRow.kind == "release", InstructionRow.subject_id == CustodyRow.id)
    return (
        select(CustodyRow)
        .join(AccountRow, AccountRow.id == CustodyRow.account_id)
        .where(CustodyRow.status == "reserved", CustodyRow.created_at < now - ORPHANED)
        .where(AccountRow.held == 0, AccountRow.available > 0, ~asked)
    )


async def _give_back(sessions: Sessions, outside: Outside, row: CustodyRow, now: datetime) -> set[int]:  # noqa: ARG001
    async with sessions.begin() as session:
        await custody.give_back(session, row.id)
    return {row.party_id}


def _lone_holds(now: datetime) -> Any:
    kinds = ("finish_payment", "capture", "void")
    asked = exists().where(InstructionRow.kind.in_(kinds), InstructionRow.subject_id == PaymentRow.id)
    used = exists().where(DeliveryRow.payment_id == PaymentRow.id)
    return (
        select(PaymentRow)
        .join(AccountRow, AccountRow.id == PaymentRow.account_id)
        .where(PaymentRow.kind == "card_hold", PaymentRow.status == "authorised")
        .where(PaymentRow.created_at < now - ORPHANED, AccountRow.held == 0, ~asked, ~used)
    )


async def _let_go(sessions: Sessions, outside: Outside, row: PaymentRow, now: datetime) -> set[int]:  # noqa: ARG001
    """Out of the books in the same breath, so that an order that comes late finds no money and is refused."""
    async with sessions() as session:
        try:
            await funding.void_unspent(session, row)
        except InsufficientFunds:
            return set()
        used = await session.scalar(select(DeliveryRow.id).where(DeliveryRow.payment_id == row.id).limit(1))
        if used is None:
            await funding.instruct(session, "void", row.id, PROVIDER_LANE)
            await session.commit()
    return {row.party_id}


ROUND: Sequence[tuple[str, Callable[[datetime], Any], Act]] = (
    ("payment", _undecided_payments, _ask_payment),
    ("payout", _payouts_on_their_way, _ask_payout),
    ("lone custody", _lone_custodies, _give_back),
    ("lone hold", _lone_holds, _let_go),
)
