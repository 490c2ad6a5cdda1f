"""What the provider tells us by webhook: stored once, then handled by reading the thing itself again.

An event is only a hint that something changed. Twice, late, or out of order, it leads
to the same question at the provider, and the answer is taken in as it is at that moment.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from settlement import disputes, part_refunds
from settlement.card_tables import EventsReadRow
from settlement.disputes import Clawback
from settlement.funding import UnknownPayment, book_payment
from settlement.lane import Announce
from settlement.ledger import LedgerRefusal
from settlement.naming import subject_of
from settlement.payments.errors import PaymentHalted, PaymentMismatch, PaymentRefused, PaymentUnknown
from settlement.payments.port import Payments
from settlement.payments.values import Event, Refund, RefundStatus
from settlement.payouts import book_payout
from settlement.provider_news import NEWS
from settlement.reopening import UnknownTrade
from settlement.steps import Outside
from settlement.tables import PaymentRow, PayoutRow, ProviderEventRow
from settlement.trouble import LASTING, TROUBLE, words

log = structlog.get_logger()

BATCH = 100
OVERLAP = timedelta(hours=1)
"""How far before the end of the last walk the provider's list is read again."""
KEPT = timedelta(days=30)
"""How long the provider keeps its events."""
ASK_FOR = timedelta(hours=24)
"""How long to go on asking about an event before a person is called."""
SOONEST = timedelta(seconds=1)
LATEST = timedelta(minutes=15)
HOUSE_EVENTS = "house"
"""Our own list of events. What happens on sellers' accounts are payouts, which the sweep asks about anyway."""
PAYMENT_KINDS = frozenset({"top_up", "card_hold"})
PARKED = "for a person: "
"""Begins the outcome of an event that was parked."""

Sessions = async_sessionmaker[AsyncSession]


async def record(session: AsyncSession, event: Event) -> bool:
    """Store a verified event; says whether it is new. The caller commits, and answers the provider only then."""
    return await _record_all(session, [event]) == 1


async def catch_up(sessions: Sessions, payments: Payments) -> int:
    """Store the events whose webhooks never came, since the end of the last complete walk; says how many.

    The mark moves only when the walk has reached the end of the list, to when it began.
    """
    async with sessions() as session:
        began = (await session.execute(select(func.now()))).scalar_one()
        since = await _read_until(session)
    if since is None:
        return 0
    missed, page = 0, list[Event]()
    async for event in payments.events(max(since - OVERLAP, began - KEPT)):
        page.append(event)
        if len(page) == BATCH:
            missed += await _store(sessions, page)
            page = []
    missed += await _store(sessions, page)
    async with sessions.begin() as session:
        mark = insert(EventsReadRow).values(source=HOUSE_EVENTS, until=began)
        later = func.greatest(EventsReadRow.until, mark.excluded.until)
        await session.execute(mark.on_conflict_do_update(index_elements=["source"], set_={"until": later}))
    return missed


async def handle_pending(sessions: Sessions, outside: Outside, announce: Announce) -> int:
    """Handle what has been stored; what can't be asked at the moment comes again later. Says how many ended.

    No event waits for another: one that can't be handled is put off or parked by itself.
    """
    async with sessions() as session:
        now = (await session.execute(select(func.now()))).scalar_one()
        due = select(ProviderEventRow).where(ProviderEventRow.handled_at.is_(None), ProviderEventRow.not_before <= now)
        events = list(await session.scalars(due.order_by(ProviderEventRow.not_before).limit(BATCH)))
    ended = 0
    for event in events:
        age = now - event.received_at
        try:
            outcome = await _handle(sessions, outside, announce, event)
        except (PaymentUnknown, part_refunds.StillAsked) as error:
            log.warning("provider_event_not_yet", event_id=event.id, reason=str(error))
            if age < ASK_FOR:
                await _put_off(sessions, event.id, age)
                continue
            outcome = f"{PARKED}the provider could not be asked about it"
        except (PaymentHalted, PaymentRefused, LedgerRefusal, UnknownPayment, UnknownTrade, *LASTING) as error:
            outcome = f"{PARKED}{getattr(error, 'detail', None) or words(error)}"[:500]
        except TROUBLE as error:
            log.warning("provider_event_not_handled", event_id=event.id, error=words(error))
            await _put_off(sessions, event.id, age)
            continue
        await _end(sessions, event, outcome)
        ended += 1
    return ended


async def parked(session: AsyncSession, limit: int = 200) -> Sequence[ProviderEventRow]:
    """The events that wait for a person, oldest first."""
    query = select(ProviderEventRow).where(ProviderEventRow.parked).order_by(ProviderEventRow.received_at)
    return list(await session.scalars(query.limit(limit)))


async def count_parked(session: AsyncSession) -> int:
    return await session.scalar(select(func.count()).where(ProviderEventRow.parked)) or 0


async def handle_again(
    session: AsyncSession,
    *,
    event_id: str | None = None,
    since: datetime | None = None,
    only_parked: bool = False,
) -> int:
    """Have events handled anew: one, those received since then, the parked ones, or all. Says how many.

    Handling reads the things as they are now, so what was taken in is not taken in again. The caller commits.
    """
    again = update(ProviderEventRow).where(ProviderEventRow.handled_at.is_not(None))
    if event_id is not None:
        again = again.where(ProviderEventRow.id == event_id)
    if since is not None:
        again = again.where(ProviderEventRow.received_at >= since)
    if only_parked:
        again = again.where(ProviderEventRow.parked)
    fresh = {"handled_at": None, "outcome": None, "parked": False, "not_before": func.now()}
    return len((await session.scalars(again.values(fresh).returning(ProviderEventRow.id))).all())


async def _handle(sessions: Sessions, outside: Outside, announce: Announce, event: ProviderEventRow) -> str:
    subject, _, _ = event.kind.partition(".")
    if (follow := NEWS.get(subject)) is not None:
        told, outcome = await follow(sessions, outside, event)
        await announce(told)
        return outcome
    if subject == "payment_intent":
        payment_id, outcome = await _payment(sessions, outside, announce, event.object_id)
        return outcome if payment_id else "not ours"
    if subject == "payout":
        return await _payout(sessions, outside, announce, event)
    if event.kind.startswith("charge.dispute."):
        dispute = await outside.payments.dispute(event.object_id)
        return await _clawback(sessions, outside, announce, dispute.payment_id, Clawback.of_dispute(dispute))
    refunds: list[Refund] = []
    if subject == "refund" or event.kind == "charge.refund.updated":
        refunds = [await outside.payments.read_refund(event.object_id)]
    elif event.kind == "charge.refunded":
        refunds = await outside.payments.refunds_of_charge(event.object_id)
    return ", ".join([await _refund(sessions, outside, announce, refund) for refund in refunds]) or "not needed"


async def _payment(
    sessions: Sessions, outside: Outside, announce: Announce, provider_id: str
) -> tuple[int | None, str]:
    """Take a payment in as it stands at the provider; gives its id, if it is ours."""
    payment = await outside.payments.payment(provider_id)
    async with sessions() as session:
        found = await session.scalar(select(PaymentRow.id).where(PaymentRow.provider_id == provider_id))
        named = subject_of(outside.mark, payment.reference)
        payment_id = found or (named[1] if named and named[0] in PAYMENT_KINDS else None)
        if payment_id is None:
            return None, ""
        row = await book_payment(session, payment_id, payment)
        await session.commit()
    await announce({row.party_id})
    return row.id, row.status


async def _refund(sessions: Sessions, outside: Outside, announce: Announce, refund: Refund) -> str:
    """One of ours may still fail after it was taken; any other was made without us."""
    named = subject_of(outside.mark, refund.reference)
    if named is None:
        return await _clawback(sessions, outside, announce, refund.payment_id, Clawback.of_refund(refund))
    kind, subject_id = named
    if kind == "refund_part":
        async with sessions.begin() as session:
            row = await part_refunds.take_in(session, subject_id, refund)
        await announce({row.party_id})
        return row.status
    if refund.status in {RefundStatus.FAILED, RefundStatus.CANCELED}:
        async with sessions() as session:
            payment = await session.get(PaymentRow, subject_id)
        if payment is not None and payment.status == "refunded":
            raise PaymentMismatch(f"payment {payment.id}: the refund of all of it failed after it was taken")
    return "asked for by us"


async def _clawback(sessions: Sessions, outside: Outside, announce: Announce, provider_id: str, one: Clawback) -> str:
    """The payment itself is taken in first: this may be the first that we hear of it."""
    payment_id, _ = await _payment(sessions, outside, announce, provider_id)
    if payment_id is None:
        return "not ours"
    async with sessions.begin() as session:
        row = await disputes.take_in(session, payment_id, one)
        party_id = await session.scalar(select(PaymentRow.party_id).where(PaymentRow.id == payment_id))
        outcome = row.status
    await announce({party_id} if party_id is not None else set())
    return outcome


async def _payout(sessions: Sessions, outside: Outside, announce: Announce, event: ProviderEventRow) -> str:
    account = event.payload.get("account")
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


async def _read_until(session: AsyncSession) -> datetime | None:
    """The mark; before the first walk, from when we may have had business with the provider."""
    query = select(EventsReadRow.until).where(EventsReadRow.source == HOUSE_EVENTS)
    if (until := await session.scalar(query)) is not None:
        return until
    first_event = await session.scalar(select(func.min(ProviderEventRow.received_at)))
    first_payment = await session.scalar(select(func.min(PaymentRow.created_at)))
    return min((at for at in (first_event, first_payment) if at is not None), default=None)


async def _store(sessions: Sessions, events: Sequence[Event]) -> int:
    async with sessions.begin() as session:
        return await _record_all(session, events)


async def _record_all(session: AsyncSession, events: Sequence[Event]) -> int:
    if not events:
        return 0
    values = [
        {
            "id": event.id,
            "kind": event.kind,
            "object_id": event.object_id or "",
            "payload": {
                "account": event.account,
                "object_kind": event.object_kind,
                "created_at": event.created_at.isoformat(),
            },
        }
        for event in events
    ]
    stored = insert(ProviderEventRow).values(values).on_conflict_do_nothing().returning(ProviderEventRow.id)
    return len((await session.scalars(stored)).all())


async def _put_off(sessions: Sessions, event_id: str, age: timedelta) -> None:
    """Ask again after a quarter of the event's age."""
    pause = min(max(age / 4, SOONEST), LATEST)
    async with sessions.begin() as session:
        await session.execute(
            update(ProviderEventRow)
            .where(ProviderEventRow.id == event_id, ProviderEventRow.handled_at.is_(None))
            .values(not_before=func.now() + pause)
        )


async def _end(sessions: Sessions, event: ProviderEventRow, outcome: str) -> None:
    is_parked = outcome.startswith(PARKED)
    if is_parked:
        log.error("provider_event_parked", event_id=event.id, kind=event.kind, reason=outcome)
    still_open = update(ProviderEventRow).where(ProviderEventRow.id == event.id, ProviderEventRow.handled_at.is_(None))
    async with sessions.begin() as session:
        await session.execute(still_open.values(handled_at=func.now(), outcome=outcome, parked=is_parked))
