"""Placing, changing and cancelling orders: the rules first, then custody or money, then the engine."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, NamedTuple

import msgspec
from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncSession

from market import card_holds, custody
from market.engine.commands import AmendOrder, Answer, CancelOrder, Command, PlaceOrder
from market.engine.desk import microseconds
from market.gateway import journaled
from market.instruments import Tradable, tradable
from market.keys import check_key, reused
from market.parties import Member
from market.refusals import Conflict, NotAllowed, NotFound, OutcomeUnknown, Refusal
from market.tables import OrderRow
from market.venue import Venue
from matching import refusals as matching
from matching.orders import TimeInForce
from matching.rules import check
from settlement import accounts

FIELD_OF = {
    "bad_quantity": "lots",
    "off_tick": "price",
    "outside_band": "price",
    "insufficient_money": "lots",
    "insufficient_data": "lots",
    "amend_below_filled": "lots",
    "amend_would_cross": "price",
    "expiry_missing": "expires_at",
    "expiry_unexpected": "expires_at",
    "expiry_passed": "expires_at",
    "expiry_after_close": "expires_at",
    "expiry_too_far": "expires_at",
    "post_only_must_rest": "post_only",
    "custody_is_fixed": "lots",
}
"""The field that the person should look at, by the code of a refusal."""
CONFLICTS = frozenset({"unknown_order", "stale_version"})


class OrderRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a member asks for. ``price_minor`` is minor units per lot; without one it is a market order.

    ``line_id`` is the line whose data is sold, or that receives what is bought;
    it may be left out when only one of the member's lines fits. A card pays for
    immediate orders only.
    """

    symbol: str
    side: Literal["buy", "sell"]
    lots: int
    price_minor: int | None = None
    time_in_force: Literal["gtc", "gtd", "ioc", "fok"] = "gtc"
    expires_at: datetime | None = None
    post_only: bool = False
    line_id: int | None = None
    payment: Literal["wallet", "card"] = "wallet"
    payment_method: str | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """The engine's answer; or where the buyer must first confirm the card payment, to come back with the same key."""

    answer: Answer | None
    action_url: str | None = None


async def place(venue: Venue, member: Member, request: OrderRequest, key: str) -> Placed:
    """Place an order. The same key with the same request gives the same answer, however often it is asked.

    Raises:
        NotAllowed: a rule of the market, the carrier or the ledger stands against it; nothing was changed.
        PaymentFailed: the card was refused.
        KeyReused: the key was used for another request.
        OutcomeUnknown: ask again with the same key.
    """
    check_key(key)
    body_hash = hashlib.sha256(msgspec.json.encode(request)).digest()
    async with venue.sessions() as session:
        if (answered := await journaled(session, member.party_id, key)) is not None:
            return Placed(_same_body(answered, body_hash))
        instrument = await tradable(session, request.symbol)
        price_minor = _price(request, instrument)
        _check_terms(request, instrument, price_minor)
        purse = await _purse(session, member, instrument)
        wanted = _Wanted(request, instrument, price_minor, key, body_hash)
        parts: dict[str, int | None] = {"proceeds_account_id": purse.coins}
        if request.side == "buy" and instrument.carrier is not None:
            line = await custody.receiving_line(session, member, instrument, wanted.units, request.line_id)
            parts = {"line_id": line.id}

    if request.side == "buy":
        return await _buy(venue, member, wanted, purse.money, parts)
    return await _sell(venue, member, wanted, purse)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """An order on its way: what was asked, of what, at which price, under which key."""

    request: OrderRequest
    instrument: Tradable
    price_minor: int
    key: str
    body_hash: bytes

    @property
    def units(self) -> int:
        """The order's size in MB or coins."""
        return self.request.lots * self.instrument.lot_units

    def command(self, member: Member, account_id: int, **parts: int | None) -> PlaceOrder:
        expires_at = self.request.expires_at
        return PlaceOrder(
            party_id=member.party_id,
            key=self.key,
            body_hash=self.body_hash,
            instrument_id=self.instrument.id,
            group_id=member.group_id,
            side=self.request.side,
            price_minor=self.price_minor,
            quantity=self.request.lots,
            account_id=account_id,
            time_in_force="ioc" if self.request.price_minor is None else self.request.time_in_force,
            market=self.request.price_minor is None,
            post_only=self.request.post_only,
            expires_at_us=None if expires_at is None else microseconds(expires_at),
            **parts,
        )


class _Purse(NamedTuple):
    """The member's wallets that an order touches: money, and for an order in coins the coins."""

    money: int
    coins: int | None


async def _purse(session: AsyncSession, member: Member, instrument: Tradable) -> _Purse:
    money = accounts.Place(member.party_id, instrument.money_id, "wallet")
    coins = accounts.Place(member.party_id, instrument.asset_id, "wallet")
    wanted = [money] if instrument.carrier else [money, coins]
    found = await accounts.find_or_create(session, wanted)
    await session.commit()
    return _Purse(found[money], found.get(coins))


async def _sell(venue: Venue, member: Member, wanted: _Wanted, purse: _Purse) -> Placed:
    """Reserve the data at the carrier, then offer it. Coins are in our own ledger already."""
    instrument, proceeds = wanted.instrument, purse.money
    if purse.coins is not None:
        return Placed(await _submit(venue, wanted.command(member, purse.coins, proceeds_account_id=proceeds)))

    held = await custody.reserve(
        venue, member, instrument, wanted.units, line_id=wanted.request.line_id, key=wanted.key
    )
    command = wanted.command(member, held.account_id, proceeds_account_id=proceeds, custody_id=held.id)
    try:
        return Placed(await _submit(venue, command))
    except OutcomeUnknown:
        raise
    except Refusal:
        await custody.give_back(venue, held.id)
        raise


async def _buy(venue: Venue, member: Member, wanted: _Wanted, wallet: int, parts: dict[str, int | None]) -> Placed:
    """Bid with the wallet's money, or with a hold on a card. ``parts`` say where the purchase goes."""
    request = wanted.request
    if request.payment == "wallet":
        return Placed(await _submit(venue, wanted.command(member, wallet, **parts)))

    amount_minor = wanted.price_minor * request.lots
    hold = await card_holds.authorise(venue, member, amount_minor, request.payment_method, wanted.key)
    if hold.action_url is not None:
        return Placed(None, hold.action_url)
    try:
        return Placed(await _submit(venue, wanted.command(member, hold.account_id, payment_id=hold.id, **parts)))
    except OutcomeUnknown:
        raise
    except Refusal:
        await card_holds.let_go(venue, hold.id)
        raise


async def cancel(venue: Venue, member: Member, order_id: int, key: str, version: int | None = None) -> Answer:
    """Cancel what is still open of an order.

    Raises:
        NotFound: there is no such order of this member.
        Conflict: it has ended, or has changed since ``version``.
    """
    check_key(key)
    body_hash = _hash("cancel", order_id, version)
    return await _change(
        venue,
        member,
        order_id,
        lambda instrument: CancelOrder(member.party_id, key, body_hash, instrument, order_id, version),
    )


async def amend(
    venue: Venue, member: Member, order_id: int, *, price_minor: int, lots: int, key: str, version: int | None = None
) -> Answer:
    """Give an order another price or total quantity; it keeps its place only when the quantity alone falls.

    Raises:
        NotFound: there is no such order of this member.
        Conflict: it has ended, or has changed since ``version``.
        NotAllowed: the new terms break a rule.
    """
    check_key(key)
    body_hash = _hash("amend", order_id, price_minor, lots, version)
    return await _change(
        venue,
        member,
        order_id,
        lambda instrument: AmendOrder(
            member.party_id, key, body_hash, instrument, order_id, price_minor, lots, version
        ),
    )


async def mass_cancel(venue: Venue, member: Member, key: str) -> int:
    """Cancel all the member's open orders; gives how many were. Those that ended meanwhile don't count."""
    check_key(key)
    async with venue.sessions() as session:
        statement = select(OrderRow.id).where(OrderRow.party_id == member.party_id, OrderRow.state == "open")
        order_ids = list(await session.scalars(statement))

    results = await asyncio.gather(
        *(cancel(venue, member, order_id, f"{key}/{order_id}") for order_id in order_ids), return_exceptions=True
    )

    failed = [result for result in results if isinstance(result, BaseException) and not isinstance(result, Conflict)]
    if failed:
        raise failed[0]
    return sum(isinstance(result, Answer) for result in results)


async def outcome(session: AsyncSession, member: Member, key: str) -> Answer | None:
    """What became of the member's command with this key; None when the journal has none."""
    found = await journaled(session, member.party_id, key)
    return None if found is None else found[1]


async def _change(
    venue: Venue, member: Member, order_id: int, command: Callable[[int], CancelOrder | AmendOrder]
) -> Answer:
    async with venue.sessions() as session:
        found = await _order(session, member, order_id)
    if found is None:
        raise NotFound("There is no such order.")
    return await _submit(venue, command(found.instrument_id))


async def _order(session: AsyncSession, member: Member, order_id: int) -> Row[int] | None:
    statement = select(OrderRow.instrument_id).where(OrderRow.id == order_id, OrderRow.party_id == member.party_id)
    return (await session.execute(statement)).one_or_none()


async def _submit(venue: Venue, command: Command) -> Answer:
    return accepted(await venue.gateway.submit(command))


def accepted(answer: Answer) -> Answer:
    """The answer itself when the engine took the command; else its refusal, raised."""
    if answer.accepted:
        return answer
    code, detail = answer.code or "refused", answer.detail or "This was refused."
    kind = Conflict if code in CONFLICTS else NotAllowed
    raise kind(detail, code=code, field=FIELD_OF.get(code))


def _check_terms(request: OrderRequest, instrument: Tradable, price_minor: int) -> None:
    """Refuse early what the engine would refuse, before anything is reserved or charged."""
    time_in_force = "ioc" if request.price_minor is None else request.time_in_force
    try:
        check(
            instrument.terms,
            microseconds(datetime.now(UTC)),
            price=price_minor,
            quantity=request.lots,
            time_in_force=TimeInForce(time_in_force),
            post_only=request.post_only,
            expires_at=None if request.expires_at is None else microseconds(request.expires_at),
        )
    except matching.Refusal as refusal:
        raise NotAllowed(str(refusal), code=refusal.code, field=FIELD_OF.get(refusal.code)) from refusal
    if request.payment == "card" and (request.side != "buy" or time_in_force not in {"ioc", "fok"}):
        raise NotAllowed(
            "A card pays for immediate purchases only. Choose immediate-or-cancel, or pay from the wallet.",
            code="card_is_immediate",
            field="payment",
        )


def _price(request: OrderRequest, instrument: Tradable) -> int:
    """The order's limit; a market order is protected by the band: nobody pays above the carrier's own price."""
    if request.price_minor is not None:
        return request.price_minor
    return instrument.terms.maximum_price if request.side == "buy" else instrument.lowest_on_tick


def _same_body(answered: tuple[bytes, Answer], body_hash: bytes) -> Answer:
    stored_hash, answer = answered
    if stored_hash != body_hash:
        raise reused()
    return accepted(answer)


def _hash(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()
