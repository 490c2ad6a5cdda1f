"""What the provider tells us by webhook: stored once, then handled by reading the thing itself again.

An event is only a hint that something changed. Twice, late, or out of order, it leads
to the same question at the provider, and the answer is taken in as it is at that moment.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from settlement.funding import UnknownPayment, book_payment
from settlement.lane import Announce
from settlement.ledger import LedgerRefusal
from settlement.naming import subject_of
from settlement.payments.errors import PaymentHalted, PaymentRefused, PaymentUnknown
from settlement.payments.port import Payments
from settlement.payments.values import Event
from settlement.payouts import book_payout
from settlement.steps import Outside
from settlement.tables import PaymentRow, PayoutRow, ProviderEventRow

log = structlog.get_logger()

BATCH = 100
OVERLAP = timedelta(hours=1)
"""How far before the newest event we know the provider's list is read again."""
ASK_FOR = timedelta(hours=24)
"""How long to go on asking about an event before a person is called."""
PAYMENT_KINDS = frozenset({"top_up", "card_hold"})

Sessions = async_sessionmaker[AsyncSession]


async def record(session: AsyncSession, event: Event) -> bool:
    """Store a verified event; says whether it is new. The caller commits, and answers the provider only then."""
    values = {
        "id": event.id,
        "kind": event.kind,
        "object_id": event.object_id or "",
        "payload": {
            "account": event.account,
            "object_kind": event.object_kind,
            "created_at": event.created_at.isoformat(),
        },
    }
    stored = insert(ProviderEventRow).values(values).on_conflict_do_nothing().returning(ProviderEventRow.id)
    return await session.scalar(stored) is not None


async def catch_up(sessions: Sessions, payments: Payments) -> int:
    """Store the events whose webhooks never came, from a little before the newest one we know; says how many."""
    async with sessions() as session:
        newest = await session.scalar(select(func.max(ProviderEventRow.received_at)))
    if newest is None:
        return 0
    missed = 0
    async for event in payments.events(newest - OVERLAP):
        async with sessions.begin() as session:
            missed += await record(session, event)
    return missed


async def handle_pending(sessions: Sessions, outside: Outside, announce: Announce) -> int:
    """Handle what has been stored; what can't be asked at the moment stays for the next round. Says how many ended."""
    async with sessions() as session:
        query = select(ProviderEventRow).where(ProviderEventRow.handled_at.is_(None))
        events = list(await session.scalars(query.order_by(ProviderEventRow.received_at).limit(BATCH)))
    ended = 0
    for event in events:
        try:
            outcome = await _handle(sessions, outside, announce, event)
        except PaymentUnknown as error:
            log.warning("provider_not_asked", event_id=event.id, reason=error.reason)
            if datetime.now(UTC) - event.received_at < ASK_FOR:
                continue
            outcome = "for a person: the provider could not be asked about it"
        except (PaymentHalted, PaymentRefused, LedgerRefusal, UnknownPayment) as error:
            outcome = f"for a person: {getattr(error, 'detail', None) or error}"[:500]
            log.exception("provider_event_for_a_person", event_id=event.id, kind=event.kind)
        await _end(sessions, event.id, outcome)
        ended += 1
    return ended


async def _handle(sessions: Sessions, outside: Outside, announce: Announce, event: ProviderEventRow) -> str:
    subject, _, _ = event.kind.partition(".")
    if subject == "payment_intent":
        return await _payment(sessions, outside, announce, event.object_id)
    if subject == "payout":
        return await _payout(sessions, outside, announce, event)
    if event.kind in {"refund.failed", "charge.dispute.created"}:
        return "for a person: money left again after it had come"
    return "not needed"


async def _payment(sessions: Sessions, outside: Outside, announce: Announce, provider_id: str) -> str:
    payment = await outside.payments.payment(provider_id)
    async with sessions() as session:
        found = await session.scalar(select(PaymentRow.id).where(PaymentRow.provider_id == provider_id))
        named = subject_of(outside.mark, payment.reference)
        payment_id = found or (named[1] if named and named[0] in PAYMENT_KINDS else None)
        if payment_id is None:
            return "not ours"
        row = await book_payment(session, payment_id, payment)
        await session.commit()
    await announce({row.party_id})
    return row.status


async def _payout(sessions: Sessions, outside: Outside, announce: Announce, event: ProviderEventRow) -> str:
    payload: dict[str, Any] = event.payload
    account = payload.get("account")
    if not isinstance(account, str):
        return "not ours"
    payout = await outside.payments.payout(account, event.object_id)
    async with sessions() as session:
        found = await session.scalar(select(PayoutRow.id).where(PayoutRow.payout_reference == payout.id))
        named = subject_of(outside.mark, payout.reference)
        payout_id = found or (named[1] if named and named[0] == "payout" else None)
        if payout_id is None:
            return "not ours"
        row = await book_payout(session, payout_id, payout)
        await session.commit()
    await announce({row.party_id})
    return row.status


async def _end(sessions: Sessions, event_id: str, outcome: str) -> None:
    still_open = update(ProviderEventRow).where(ProviderEventRow.id == event_id, ProviderEventRow.handled_at.is_(None))
    async with sessions.begin() as session:
        await session.execute(still_open.values(handled_at=func.now(), outcome=outcome))
