"""What carriers tell of lines: plan changed, ported out, recycled, SIM swapped, closed. Stored once, then asked.

An event is only a hint. Once the carrier stands by it, the line's open orders are cancelled; a number that is gone
closes its line; and whoever may have lost the phone is signed out, and gets no money out for three days.
"""

import hmac
from datetime import date, datetime, timedelta
from secrets import token_hex
from typing import Annotated, Literal

import msgspec
import structlog
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import Select, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from market import audit, received
from market.announcing import announce
from market.custody import SHANGHAI
from market.engine.commands import SETTLEMENT_WAKE, CancelOrder, party_channel
from market.parties import former_hash, line_of_number
from market.refusals import Refusal, Unavailable
from market.signed_in import sign_out_everywhere
from market.tables import LineRow, OpenOrderRow
from market.vault import Vault
from market.venue import Venue
from settlement.carriers.errors import CarrierError, CarrierRefused
from settlement.carriers.line_checks import SWAPPED, LineChecks
from settlement.line_event_tables import LineEventRow
from settlement.tables import CustodyRow

log = structlog.get_logger()

TYPES = {
    SWAPPED: "sim_swapped",
    "org.surplusflow.line-events.v0.recycled": "recycled",
    "org.surplusflow.line-events.v0.ported-out": "ported_out",
    "org.surplusflow.line-events.v0.plan-changed": "plan_changed",
    "org.surplusflow.line-events.v0.closed": "closed",
}
"""Only the first is a standard's; the others are ours, for carriers to send beside it."""
GONE = frozenset({"recycled", "ported_out", "closed"})
"""The number is no longer its owner's, or no longer this carrier's."""
STRANGERS = frozenset({"sim_swapped", "recycled"})
"""The phone may be in a stranger's hand."""
REASONS = {"closed": "line_closed"}
"""Why an order ended, where the event's own word would not do."""
PAUSE = timedelta(hours=72)
LONGEST_LOOKBACK_HOURS = 2_400
PURPOSE = b"surplusflow/line-events/"
BATCH = 50
SOONEST, LATEST = timedelta(seconds=2), timedelta(minutes=10)
NOT_FOUND = 404

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=300)]


class EventData(msgspec.Struct, frozen=True, rename="camel"):
    """What the event says of the number. ``plan`` is an extension."""

    phone_number: Annotated[str, msgspec.Meta(pattern=r"^\+[1-9][0-9]{4,14}\Z")] | None = None
    plan: Literal["prepaid", "postpaid"] | None = None


class CloudEvent(msgspec.Struct, frozen=True):
    """A CloudEvent 1.0 as CAMARA sends it; its extension attributes are not looked at."""

    id: Text
    source: Text
    specversion: Literal["1.0"]
    type: Text
    time: Annotated[datetime, msgspec.Meta(tz=True)]
    data: EventData = EventData()


def token_of(secret_key: str, carrier: str) -> str:
    """The bearer that a carrier's events come under: given to it with each subscription, and kept nowhere."""
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=PURPOSE + carrier.encode())
    return key.derive(secret_key.encode()).hex()


def is_from(venue: Venue, carrier: str, token: str) -> bool:
    """Whether an event that came with this bearer is a carrier's own."""
    known = hmac.compare_digest(token_of(venue.settings.secret_key, carrier).encode(), token.encode())
    return known and carrier in venue.carriers


async def record(session: AsyncSession, vault: Vault, carrier: str, event: CloudEvent) -> bool:
    """Store an event of a line of ours; says whether it is new. The caller commits, and answers only then."""
    kind, number = TYPES.get(event.type), event.data.phone_number
    if kind is None or number is None:
        return False
    line = await line_of_number(session, vault, number)
    if line is None or line.carrier != carrier:
        return False
    stored = insert(LineEventRow).values(
        carrier=carrier, source=event.source, event_id=event.id, line_id=line.id, party_id=line.party_id, kind=kind,
        plan=event.data.plan, happened_at=event.time,
    ).on_conflict_do_nothing().returning(LineEventRow.id)  # fmt: skip
    return await session.scalar(stored) is not None


async def is_paused(session: AsyncSession, party_id: int) -> bool:
    """Whether a party's money has to stay, because the phone may be in a stranger's hand."""
    query = select(LineEventRow.id).where(LineEventRow.party_id == party_id, LineEventRow.pause_until > func.now())
    return await session.scalar(query.limit(1)) is not None


async def handle_pending(venue: Venue) -> int:
    """Ask about what was told, and act on what stands; what can't be asked or done now waits. Says how many ended."""
    async with venue.sessions() as session:
        rows = list(await session.scalars(_due().order_by(LineEventRow.id).limit(BATCH)))
    ended = 0
    for row in rows:
        try:
            await _handle(venue, row)
        except (CarrierError, Refusal) as error:
            log.warning("line_event_waits", event_id=row.id, kind=row.kind, error=type(error).__name__)
            await _put_off(venue, row)
        else:
            ended += 1
    return ended


def _due() -> Select[LineEventRow]:
    return select(LineEventRow).where(LineEventRow.handled_at.is_(None), LineEventRow.look_at <= func.now())


async def _handle(venue: Venue, row: LineEventRow) -> None:
    stands = row.status == "confirmed"
    if row.status == "received":
        async with venue.sessions() as session:
            line = await session.get_one(LineRow, row.line_id)
        stands = await _stands(venue, row, line)
        await _settle(venue, row, stands=stands)
    if stands:
        if row.kind in STRANGERS:
            await sign_out_everywhere(venue.redis, f"party:{row.party_id}")
        await cancel_orders(venue, row.line_id, REASONS.get(row.kind, row.kind))
    done = update(LineEventRow).where(LineEventRow.id == row.id)
    async with venue.sessions.begin() as session:
        await session.execute(done.values(handled_at=func.now()))
    await announce(venue.redis, party_channel(row.party_id), SETTLEMENT_WAKE)


async def _stands(venue: Venue, row: LineEventRow, line: LineRow) -> bool:
    """What the carrier says when it is asked. What it has no question for, or no longer knows, is as it told us."""
    carrier, number = venue.carriers[row.carrier], venue.vault.open(line.number_sealed)
    try:
        if row.kind == "recycled" and isinstance(carrier, LineChecks):
            return await carrier.number_recycled(number, _known_since(line, row))
        if row.kind in {"sim_swapped", "ported_out", "closed"} and carrier.capabilities.sim_swap:
            swapped = await carrier.sim_swapped(number, _hours_since(row))
            return swapped and row.kind == "sim_swapped"  # a carrier that still knows the number has not lost it
    except CarrierRefused as refused:
        if refused.status != NOT_FOUND:
            raise
    return True


def _known_since(line: LineRow, row: LineEventRow) -> date:
    """The last day on which the number was surely its owner's, by the carrier's clock."""
    return (line.verified_at or row.happened_at - timedelta(days=1)).astimezone(SHANGHAI).date()


def _hours_since(row: LineEventRow) -> int:
    """So far back that the event lies within, whatever the two clocks say."""
    hours = (row.received_at - row.happened_at) // timedelta(hours=1) + 25
    return min(max(hours, 1), LONGEST_LOOKBACK_HOURS)


async def _settle(venue: Venue, row: LineEventRow, *, stands: bool) -> None:
    """Write down what the carrier said, and what follows for the line: its deliveries are refused from here on."""
    pause = func.now() + PAUSE if stands and row.kind in STRANGERS else None
    settled = (
        update(LineEventRow)
        .where(LineEventRow.id == row.id, LineEventRow.status == "received")
        .values(status="confirmed" if stands else "denied", asked_at=func.now(), pause_until=pause)
    )
    changes: dict[str, str | bytes] = {}
    if row.kind in GONE:
        changes["state"] = "closed"
        if row.kind == "recycled":
            changes["number_hash"] = former_hash(venue.vault, row.line_id)
    elif row.plan:
        changes["plan"] = row.plan
    async with venue.sessions.begin() as session:
        if not (await session.execute(settled.returning(LineEventRow.id))).all():
            return
        if stands and changes:
            await session.execute(update(LineRow).where(LineRow.id == row.line_id).values(changes))
        if stands and row.kind == "plan_changed" and row.plan:
            line = await session.get_one(LineRow, row.line_id)
            now = (await session.execute(select(func.now()))).scalar_one()
            await received.follow(session, line, row.plan, now)
        detail: audit.Detail = {"kind": row.kind, "stands": stands}
        await audit.append(session, f"carrier:{row.carrier}", "line_event", f"line:{row.line_id}", detail)


async def cancel_orders(venue: Venue, line_id: int, reason: str) -> int:
    """Cancel all open orders that come from a line or go to it, each in its owner's name; says how many.

    Raises:
        Refusal: the engine did not take a command; those before it are done.
    """
    query = (
        select(OpenOrderRow.id, OpenOrderRow.instrument_id, OpenOrderRow.party_id)
        .outerjoin(CustodyRow, CustodyRow.id == OpenOrderRow.custody_id)
        .where(or_(OpenOrderRow.line_id == line_id, CustodyRow.line_id == line_id))
    )
    return await cancel_for(venue, query, reason)


async def cancel_for(venue: Venue, query: Select[int, int, int], reason: str) -> int:
    """Cancel the orders that a query gives as (order, instrument, owner) by the journaled command."""
    async with venue.sessions() as session:
        orders = list(await session.execute(query.order_by(OpenOrderRow.id)))
    for order_id, instrument_id, party_id in orders:
        key = f"{reason}-{order_id}-{token_hex(8)}"  # no member can have used it before
        answer = await venue.gateway.submit(CancelOrder(party_id, key, b"", instrument_id, order_id, reason=reason))
        if not answer.accepted and answer.code != "unknown_order":
            raise Unavailable(f"The order was not cancelled: {answer.code}.")
    return len(orders)


async def _put_off(venue: Venue, row: LineEventRow) -> None:
    """Again after a quarter of its age."""
    async with venue.sessions.begin() as session:
        now = (await session.execute(select(func.now()))).scalar_one()
        pause = min(max((now - row.received_at) / 4, SOONEST), LATEST)
        await session.execute(update(LineEventRow).where(LineEventRow.id == row.id).values(look_at=now + pause))
