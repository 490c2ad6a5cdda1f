"""What becomes of data that a sale leaves unsold: chosen when it is listed, carried out when its time has run out.

A destiny is kept beside the order, never in it: the engine knows nothing of it. When an order ends, the engine writes
a `release` instruction for its custody as ever; that step looks here first (`market.destinies_step`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
from sqlalchemy import Select, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from market import charities, giving
from market.destiny_tables import DestinyRow
from market.instruments import Tradable, tradable
from market.numbers import canonical_number, issuing_carrier
from market.parties import Member, line_of_number, line_or_invitation
from market.refusals import BadInput, NotAllowed, NotFound
from market.tables import LineRow, OrderRow
from market.together import PairRequest
from market.trading import Falling, OrderRequest
from market.vault import Vault, mask
from market.venue import Venue

BACK = "back"
CODES = (BACK, "price_steps", "last_auction", "friend", "tank", "charity")
FIELDS = ("destiny", "friend_phone")
"""The fields of a form that `choose` reads."""
STEP_PERCENT = 5
"""What a price falls by each day, of what it began at."""
LOWEST_PERCENT = 50
MINUTES_A_DAY = 1_440
AT_ONCE = frozenset({"ioc", "fok"})


@dataclass(frozen=True, slots=True)
class Chosen:
    """A destiny that may be had for a sale, and the sale as it is then placed."""

    request: OrderRequest | PairRequest
    what: str = BACK
    phone: str | None = field(default=None, repr=False)
    """The friend's number."""


@dataclass(frozen=True, slots=True)
class Destiny:
    """The destiny of one order, for its owner to read. ``friend`` is a masked number."""

    order_id: int
    what: str
    status: str
    reason: str | None
    friend: str | None
    ended_at: datetime | None


def typed(values: Mapping[str, str]) -> dict[str, str]:
    """What a form says of a destiny, to be shown again."""
    return {name: values.get(name, "").strip() for name in FIELDS}


async def choose(
    venue: Venue, member: Member, request: OrderRequest | PairRequest, values: Mapping[str, str]
) -> Chosen:
    """Read what becomes of unsold data, and the sale that goes with it. Changes nothing; ask before placing.

    Lowering the price gives the sale a falling price, unless it has one; waiting for the closing auctions lets it
    stand until the close. Both depend on the request alone, so that a form sent twice asks for the same.

    Raises:
        BadInput: naming ``destiny`` or ``friend_phone``.
        NotAllowed: this sale can't have it.
    """
    asked = typed(values)
    what = asked["destiny"] or BACK
    if request.side != "sell" or what == BACK:
        return Chosen(request)
    if what not in CODES:
        raise BadInput("Please choose what becomes of what is not sold.", field="destiny")
    if isinstance(request, PairRequest):
        raise _unfit("A pair of orders gives back what it does not sell: choose Back to me.")
    if request.stands in AT_ONCE:
        raise _unfit("An order that ends at once has nothing left to wait for: choose Back to me.")
    async with venue.sessions() as session:
        instrument = await tradable(session, request.symbol)
        if instrument.carrier is None:
            return Chosen(request)
        if what == "charity" and instrument.carrier not in await charities.of_carriers(session):
            raise _unfit(giving.WORDS["no_charity"])
        phone = None
        if what == "friend":
            phone = await _friend(session, venue.vault, member, asked["friend_phone"], instrument.carrier)
    return Chosen(_as_sold(request, what, instrument), what, phone)


def _as_sold(request: OrderRequest, what: str, instrument: Tradable) -> OrderRequest:
    """The sale as its destiny wants it to stand in the book."""
    if what == "price_steps":
        return _falling(request, instrument)
    if what == "last_auction":
        return msgspec.structs.replace(request, time_in_force="gtc", expires_at=None)
    return request


def _unfit(words: str) -> NotAllowed:
    return NotAllowed(words, code="destiny_unfit", field="destiny")


def _falling(request: OrderRequest, instrument: Tradable) -> OrderRequest:
    """The sale with a price that falls each day by a twentieth, down to half of what it begins at."""
    if request.decay is not None:
        return request
    if request.price_minor is None:
        raise _unfit("A price that is lowered has to begin somewhere: enter a price.")
    tick = instrument.terms.tick
    floor = max(request.price_minor * LOWEST_PERCENT // 100 // tick * tick, instrument.lowest_on_tick)
    if floor >= request.price_minor:
        raise _unfit("This is the lowest price already, so it can't be lowered.")
    step = max(request.price_minor * STEP_PERCENT // 100 // tick * tick, tick)
    falling = Falling(floor_minor=floor, step_minor=step, every_minutes=MINUTES_A_DAY)
    return msgspec.structs.replace(request, decay=falling)


async def _friend(session: AsyncSession, vault: Vault, member: Member, phone: str, carrier: str) -> str:
    """A friend's number at the same carrier. A number that is new here looks the same as one that is not."""
    if not phone:
        raise BadInput("Please enter your friend's mobile number.", field="friend_phone")
    try:
        msisdn = canonical_number(phone)
    except BadInput as refusal:
        raise BadInput(refusal.detail, code=refusal.code, field="friend_phone") from refusal
    known = await line_of_number(session, vault, msisdn)
    if known is not None and known.party_id == member.party_id:
        raise NotAllowed("This is your own number.", code="own_number", field="friend_phone")
    if (known.carrier if known else issuing_carrier(msisdn)) != carrier:
        raise NotAllowed(giving.WORDS["other_carrier"], code="other_carrier", field="friend_phone")
    return msisdn


async def attach(venue: Venue, member: Member, order_id: int, chosen: Chosen) -> None:
    """Keep what was chosen for an order that was placed. Said again it changes nothing.

    Until this is said, and if it never is, the sale gives back what it does not sell.

    Raises:
        NotFound: there is no such sale of this member.
    """
    if chosen.what == BACK:
        return
    async with venue.sessions.begin() as session:
        own = select(OrderRow.custody_id, OrderRow.line_id).where(
            OrderRow.id == order_id, OrderRow.party_id == member.party_id
        )
        order = (await session.execute(own)).one_or_none()
        if order is None or order.custody_id is None:
            raise NotFound("There is no such order.")
        friend = None
        if chosen.phone is not None:
            giver = await session.get_one(LineRow, order.line_id)
            friend = (await line_or_invitation(session, venue.vault, chosen.phone, giver.carrier)).id
        values = {
            "order_id": order_id, "party_id": member.party_id, "custody_id": order.custody_id, "what": chosen.what,
            "friend_line_id": friend,
        }  # fmt: skip
        await session.execute(insert(DestinyRow).values(values).on_conflict_do_nothing())


async def of_orders(session: AsyncSession, vault: Vault, order_ids: Sequence[int]) -> dict[int, Destiny]:
    """The destinies of a member's orders, by order; an order without one gives its data back."""
    query = _read().where(DestinyRow.order_id.in_(order_ids))
    return {row.order_id: _destiny(vault, row, sealed) for row, sealed in await session.execute(query)}


async def latest(session: AsyncSession, vault: Vault, party_id: int, limit: int) -> list[Destiny]:
    """The newest destinies of a member's sales."""
    query = _read().where(DestinyRow.party_id == party_id).order_by(DestinyRow.order_id.desc()).limit(limit)
    return [_destiny(vault, row, sealed) for row, sealed in await session.execute(query)]


def _read() -> Select[DestinyRow, bytes]:
    return select(DestinyRow, LineRow.number_sealed).outerjoin(LineRow, LineRow.id == DestinyRow.friend_line_id)


def _destiny(vault: Vault, row: DestinyRow, sealed: bytes | None) -> Destiny:
    friend = None if sealed is None else mask(vault.open(sealed))
    return Destiny(row.order_id, row.what, row.status, row.reason, friend, row.ended_at)
