"""Placing, changing and cancelling orders: the rules first, then custody or money, then the engine."""

import asyncio
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

import msgspec
from sqlalchemy import Row, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from market import card_holds, carrier_charges, custody, fees, line_limits, step_up, trust
from market.engine.commands import (
    AmendOrder,
    Answer,
    CancelAll,
    CancelOrder,
    Command,
    Conditions,
    Decay,
    FeeTerms,
    LineFacts,
    PlaceOrder,
    decode_answer,
)
from market.engine.times import microseconds
from market.engine.traits import SIDES, TIMES_IN_FORCE, traits_of
from market.gateway import journaled
from market.instruments import Tradable, tradable
from market.keys import check_key, reused
from market.parties import Member
from market.refusals import Conflict, NotAllowed, NotFound, OutcomeUnknown, Refusal
from market.settings import Settings
from market.standing import check_not_frozen
from market.storage import check_room
from market.tables import LineRow, OpenOrderRow, OrderRow
from market.venue import Venue
from matching import refusals as matching
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
    "market_collecting": "time_in_force",
    "must_rest": "time_in_force",
    "fill_or_kill_instead": "time_in_force",
    "bad_display": "display_lots",
    "bad_minimum": "minimum_lots",
    "stop_takes": "post_only",
    "stop_reached": "stop_minor",
    "peg_stands_alone": "peg_offset_minor",
    "peg_off_tick": "peg_offset_minor",
    "no_reference": "peg_offset_minor",
    "decay_is_for_sales": "decay",
    "decay_stands_alone": "decay",
    "bad_decay": "decay",
}
"""The field that the person should look at, by the code of a refusal."""
MINUTE_US = 60_000_000
CONFLICTS = frozenset({"unknown_order", "stale_version"})


class Falling(msgspec.Struct, frozen=True, kw_only=True):
    """How an ask falls: by ``step_minor`` every so many minutes, down to ``floor_minor``. Minor units per lot."""

    floor_minor: int
    step_minor: int
    every_minutes: int

    @property
    def terms(self) -> Decay:
        return Decay(self.floor_minor, self.step_minor, self.every_minutes * MINUTE_US)


class OrderRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a member asks for. Prices are minor units per lot; without one it is a market order.

    ``line_id`` is the line whose data is sold, or that receives what is bought;
    it may be left out when only one of the member's lines fits. A card pays for
    immediate orders only. A day order has no ``expires_at``: the day is the
    carrier's, and never lasts beyond the close.
    """

    symbol: str
    side: Literal["buy", "sell"]
    lots: int
    price_minor: int | None = None
    time_in_force: Literal["gtc", "gtd", "day", "ioc", "fok"] = "gtc"
    expires_at: datetime | None = None
    post_only: bool = False
    line_id: int | None = None
    payment: Literal["wallet", "card"] = "wallet"
    payment_method: str | None = None
    stop_minor: int | None = None
    """Wait until a trade happens at this price or beyond; without a price of its own it then takes what is there."""
    display_lots: int | None = None
    """Show so many lots at a time."""
    minimum_lots: int | None = None
    """The smallest execution that is wanted."""
    all_or_none: bool = False
    peg_offset_minor: int | None = None
    """Follow the last price at this distance; such an order has no price of its own."""
    decay: Falling | None = None
    """Sell for less as time goes by, from ``price_minor`` down."""
    self_trade: Literal["cancel_newest", "cancel_oldest", "cancel_both", "decrement"] = "cancel_newest"

    @property
    def is_market(self) -> bool:
        return self.price_minor is None and self.peg_offset_minor is None

    @property
    def stands(self) -> Literal["gtc", "gtd", "day", "ioc", "fok"]:
        """The time in force that it comes to: a market order never waits in the book."""
        return "ioc" if self.is_market and self.time_in_force != "fok" else self.time_in_force

    @property
    def conditions(self) -> Conditions | None:
        """What makes it more than a plain order; none when nothing does."""
        found = Conditions(
            display=self.display_lots,
            minimum=self.minimum_lots,
            all_or_none=self.all_or_none,
            stop_minor=self.stop_minor,
            peg_offset_minor=self.peg_offset_minor,
            decay=None if self.decay is None else self.decay.terms,
        )
        return None if found == Conditions() else found


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
    body_hash = hash_of(request)
    async with venue.sessions() as session:
        if (answered := await journaled(session, member.party_id, key)) is not None:
            return Placed(same_body(answered, body_hash))
        wanted = await Counter(session, member, venue.settings).take(request, key, body_hash)

    secured = await secure(venue, member, wanted)
    if secured.action_url is not None:
        return Placed(None, secured.action_url)
    return Placed(await send(venue, secured.command, [secured.command]))


# What an order needs before it can be sent.


@dataclass(frozen=True, slots=True)
class Wanted:
    """An order on its way: what was asked, of what, and the command for it as far as it is known."""

    request: OrderRequest
    instrument: Tradable
    command: PlaceOrder

    @property
    def units(self) -> int:
        """The order's size in MB or coins."""
        return self.request.lots * self.instrument.lot_units

    @property
    def worth_minor(self) -> int:
        """What the order is about in money, minor units; a sale counts at the usual price where that is more."""
        usual = self.instrument.reference_minor if self.request.side == "sell" else 0
        return self.request.lots * max(self.command.price_minor, usual)

    @property
    def needs_custody(self) -> bool:
        return self.request.side == "sell" and self.instrument.carrier is not None


@dataclass(frozen=True, slots=True)
class Secured:
    """A command that has all it needs; or where the buyer must first confirm the card payment."""

    command: PlaceOrder
    action_url: str | None = None


@dataclass(slots=True)
class Counter:
    """Takes a member's orders in: reads what they need, once for all of them, and refuses what the rules refuse."""

    session: AsyncSession
    member: Member
    settings: Settings
    _asked_minor: int = 0
    _quota: line_limits.Quota = field(init=False)
    _instruments: dict[str, Tradable] = field(default_factory=dict)
    _may_trade: bool = False
    _purses: dict[str, "_Purse"] = field(default_factory=dict)
    _fees: list[fees.Fee] | None = None

    def __post_init__(self) -> None:
        self._quota = line_limits.Quota(self.session, self.member)

    async def take(self, request: OrderRequest, key: str, body_hash: bytes) -> Wanted:
        """The command for an order, before anything is reserved or charged.

        Raises:
            NotAllowed: a rule stands against it.
            NotFound: there is no such instrument or line.
        """
        await self._check_standing()
        instrument = await self._instrument(request.symbol)
        command = _command(request, instrument, self.member, key, body_hash)
        _check_terms(request, command, instrument)
        if request.side == "sell":
            charges = await carrier_charges.in_force(self.session, datetime.now(UTC), instrument.carrier)
            command = msgspec.structs.replace(command, fee=await self._fee(instrument), charges=charges)
        purse = await self._purse(instrument)
        is_sale = request.side == "sell"
        if instrument.carrier is None:
            source, proceeds = (purse.coins, purse.money) if is_sale else (purse.money, purse.coins)
            assert source is not None
            command = msgspec.structs.replace(command, account_id=source, proceeds_account_id=proceeds)
        elif is_sale:
            command = msgspec.structs.replace(command, proceeds_account_id=purse.money)
        else:
            units = request.lots * instrument.lot_units
            owner = await self._quota.owner_of(request.line_id)
            line = await custody.receiving_line(self.session, owner, instrument, units, request.line_id)
            await self._quota.check(line.id, units, request.lots * command.price_minor)
            command = msgspec.structs.replace(command, account_id=purse.money, line_id=line.id, line=_facts(line))
        wanted = Wanted(request, instrument, command)
        worth_minor = self._asked_minor + wanted.worth_minor
        await trust.check(self.session, self.settings, self.member, request.side, worth_minor)
        self._asked_minor = worth_minor
        return wanted

    async def _check_standing(self) -> None:
        if not self._may_trade:
            await check_not_frozen(self.session, self.member.party_id)
            self._may_trade = True

    async def _instrument(self, symbol: str) -> Tradable:
        if symbol not in self._instruments:
            self._instruments[symbol] = await tradable(self.session, symbol)
        return self._instruments[symbol]

    async def _fee(self, instrument: Tradable) -> FeeTerms | None:
        """What the member's sale will pay, frozen now."""
        now = datetime.now(UTC)
        if self._fees is None:
            self._fees = await fees.in_force(self.session, now)
        return fees.terms_in_force(
            self._fees,
            now,
            fees.Seller(self.member.kind, self.member.fee_group),
            carrier=instrument.carrier,
            symbol=instrument.symbol,
        )

    async def _purse(self, instrument: Tradable) -> "_Purse":
        if instrument.symbol not in self._purses:
            self._purses[instrument.symbol] = await _purse(self.session, self.member, instrument)
        return self._purses[instrument.symbol]


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


def _command(request: OrderRequest, instrument: Tradable, member: Member, key: str, body_hash: bytes) -> PlaceOrder:
    return PlaceOrder(
        party_id=member.party_id,
        key=key,
        body_hash=body_hash,
        instrument_id=instrument.id,
        group_id=member.group_id,
        side=request.side,
        price_minor=_price(request, instrument),
        quantity=request.lots,
        account_id=0,
        time_in_force=request.stands,
        market=request.is_market,
        post_only=request.post_only,
        expires_at_us=_expiry_us(request, instrument, datetime.now(UTC)),
        self_trade=request.self_trade,
        conditions=request.conditions,
    )


def _facts(line: LineRow) -> LineFacts:
    return LineFacts(line.plan, line.province)


async def secure(venue: Venue, member: Member, wanted: Wanted) -> Secured:
    """Reserve the data at the carrier, or hold the amount on the card, where an order needs it.

    Raises:
        ShortOfStorage: the database's volumes run full.
        StepUpNeeded: the sale is large, and its seller's session has to prove itself first.
        NotAllowed: the carrier or its rules stand against it.
        PaymentFailed: the card was refused.
        OutcomeUnknown: no definite answer; ask again with the same key.
    """
    check_room(venue.gateway.storage)
    request, command = wanted.request, wanted.command
    if request.side == "sell":
        await step_up.demand(venue, member, step_up.SALE, wanted.worth_minor)
    if wanted.needs_custody:
        held = await custody.reserve(
            venue, member, wanted.instrument, wanted.units, line_id=request.line_id, key=command.key
        )
        async with venue.sessions() as session:
            line = await session.get_one(LineRow, held.line_id)
        changes = {"account_id": held.account_id, "custody_id": held.id, "line_id": line.id, "line": _facts(line)}
        return Secured(msgspec.structs.replace(command, **changes))
    if request.payment == "wallet":
        return Secured(command)

    amount_minor = command.price_minor * request.lots
    hold = await card_holds.authorise(venue, member, amount_minor, request.payment_method, command.key)
    paid = msgspec.structs.replace(command, account_id=hold.account_id, payment_id=hold.id)
    return Secured(paid, hold.action_url)


async def let_go(venue: Venue, commands: Iterable[PlaceOrder]) -> None:
    """Give back what was reserved or held for orders that were not taken."""
    for command in commands:
        if command.custody_id is not None:
            await custody.give_back(venue, command.custody_id)
        if command.payment_id is not None:
            await card_holds.let_go(venue, command.payment_id)


async def send(venue: Venue, command: Command, secured: Iterable[PlaceOrder] = ()) -> Answer:
    """Have the engine decide a command; what was secured for it is given back when it is refused.

    Raises:
        NotAllowed: the engine refused it.
        Conflict: an order has changed or ended meanwhile.
        OutcomeUnknown: no answer yet; ask again with the same key.
    """
    try:
        return accepted(await venue.gateway.submit(command))
    except OutcomeUnknown:
        raise
    except Refusal:
        await let_go(venue, secured)
        raise


# Changing and ending.


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
        StepUpNeeded: it becomes a large sale, and the session has to prove itself first.
        NotAllowed: the new terms break a rule.
    """
    check_key(key)
    body_hash = _hash("amend", order_id, price_minor, lots, version)
    await _check_growth(venue, member, order_id, price_minor * lots)
    await line_limits.check_amended(venue, member, order_id, price_minor=price_minor, lots=lots)
    return await _change(
        venue,
        member,
        order_id,
        lambda instrument: AmendOrder(
            member.party_id, key, body_hash, instrument, order_id, price_minor, lots, version
        ),
    )


async def _check_growth(venue: Venue, member: Member, order_id: int, worth_minor: int) -> None:
    """An order that comes to more than before passes what a new one would have to."""
    own = select(OpenOrderRow).where(OpenOrderRow.id == order_id, OpenOrderRow.party_id == member.party_id)
    async with venue.sessions() as session:
        order = await session.scalar(own)
        if order is None or worth_minor <= order.price_minor * order.quantity:
            return
        side = "buy" if order.side == SIDES["buy"] else "sell"
        await trust.check(session, venue.settings, member, side, worth_minor - order.price_minor * order.quantity)
    if side == "sell":
        await step_up.demand(venue, member, step_up.SALE, worth_minor)


async def mass_cancel(
    venue: Venue,
    member: Member,
    key: str,
    *,
    symbol: str | None = None,
    side: Literal["buy", "sell"] | None = None,
) -> int:
    """Cancel the member's open orders, of one instrument or of all, of one side or of both; gives how many ended.

    One command an instrument, each under a key of its own, so the same key gives the same number.

    Raises:
        NotFound: there is no such instrument.
        KeyReused: the key was used for another request.
    """
    check_key(key)
    body_hash = _hash("cancel_all", symbol, side)
    async with venue.sessions() as session:
        only = None if symbol is None else (await tradable(session, symbol)).id
        done = await _done(session, member, key)
        own = select(OpenOrderRow.instrument_id).where(OpenOrderRow.party_id == member.party_id).distinct()
        wanted = {row for row in await session.scalars(own) if only in {None, row}}
    for answered in done.values():
        same_body(answered, body_hash)

    commands = [
        CancelAll(member.party_id, f"{key}/{instrument}", body_hash, instrument, member.party_id, side=side)
        for instrument in sorted(wanted - done.keys())
    ]
    results = await asyncio.gather(*(send(venue, command) for command in commands), return_exceptions=True)

    failed = [result for result in results if isinstance(result, BaseException)]
    if failed:
        raise failed[0]
    answers = [answer for _, answer in done.values()] + [result for result in results if isinstance(result, Answer)]
    return sum(answer.ended_orders for answer in answers)


# The keys are looked up by the index; whose instruments they are does not matter, for there are few.
_DONE = text("""
    select instrument.id, journal.body_hash, journal.answer
    from instrument join journal on journal.party_id = :party and journal.key = :key || '/' || instrument.id
""")


async def _done(session: AsyncSession, member: Member, key: str) -> dict[int, tuple[bytes, Answer]]:
    """What a mass cancel under this key has done already, by instrument."""
    rows = await session.execute(_DONE, {"party": member.party_id, "key": key})
    return {row.id: (row.body_hash, decode_answer(row.answer)) for row in rows}


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
    return await send(venue, command(found.instrument_id))


async def _order(session: AsyncSession, member: Member, order_id: int) -> Row[int] | None:
    statement = select(OrderRow.instrument_id).where(OrderRow.id == order_id, OrderRow.party_id == member.party_id)
    return (await session.execute(statement)).one_or_none()


def accepted(answer: Answer) -> Answer:
    """The answer itself when the engine took the command; else its refusal, raised."""
    if answer.accepted:
        return answer
    code, detail = answer.code or "refused", answer.detail or "This was refused."
    kind = Conflict if code in CONFLICTS else NotAllowed
    raise kind(detail, code=code, field=FIELD_OF.get(code))


def _check_terms(request: OrderRequest, command: PlaceOrder, instrument: Tradable) -> None:
    """Refuse early what the engine would refuse, before anything is reserved or charged."""
    now_us = microseconds(datetime.now(UTC))
    if request.peg_offset_minor is not None and request.price_minor is not None:
        raise NotAllowed(
            "An order that follows the last price has no price of its own. Leave the price out.",
            code="price_unexpected",
            field="price",
        )
    if request.time_in_force == "day" and request.expires_at is not None:
        raise NotAllowed(str(matching.ExpiryUnexpected()), code="expiry_unexpected", field="expires_at")
    if request.decay is not None and not 0 < request.decay.floor_minor <= command.price_minor:
        raise NotAllowed(
            "The price that an offer falls to lies below its first price. Choose a lower one.",
            code="bad_decay",
            field="decay",
        )
    try:
        check(
            instrument.terms,
            now_us,
            price=command.price_minor,
            quantity=command.quantity,
            time_in_force=TIMES_IN_FORCE[command.time_in_force],
            post_only=command.post_only,
            expires_at=command.expires_at_us,
            side=SIDES[command.side],
            market=command.market,
            traits=traits_of(command, now_us),
        )
    except matching.Refusal as refusal:
        raise NotAllowed(str(refusal), code=refusal.code, field=_field_of(refusal, request)) from refusal
    at_once = command.time_in_force in {"ioc", "fok"} and request.stop_minor is None
    if request.payment == "card" and (request.side != "buy" or not at_once):
        raise NotAllowed(
            "A card pays for immediate purchases only. Choose immediate-or-cancel, or pay from the wallet.",
            code="card_is_immediate",
            field="payment",
        )


def _field_of(refusal: matching.Refusal, request: OrderRequest) -> str | None:
    """The field that a refusal is about; of several prices the one that it names."""
    price = refusal.values.get("price")
    if price is not None and price != request.price_minor:
        if price == request.stop_minor:
            return "stop_minor"
        if request.decay is not None and price == request.decay.floor_minor:
            return "decay"
    return FIELD_OF.get(refusal.code)


def _price(request: OrderRequest, instrument: Tradable) -> int:
    """The order's limit; one without is protected by the band: nobody pays above the carrier's own price."""
    if request.price_minor is not None:
        return request.price_minor
    terms = instrument.terms
    return terms.maximum_price // terms.tick * terms.tick if request.side == "buy" else instrument.lowest_on_tick


def _expiry_us(request: OrderRequest, instrument: Tradable, now: datetime) -> int | None:
    """When the order ends, microseconds since the epoch; a day order with the carrier's day, or at the close before."""
    if request.stands == "day":
        return min(microseconds(day_end(now)), instrument.terms.closes_at)
    return None if request.expires_at is None else microseconds(request.expires_at)


def day_end(now: datetime) -> datetime:
    """The last moment of the carrier's day, which is the first of the next."""
    return (now.astimezone(custody.SHANGHAI) + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)


def same_body(answered: tuple[bytes, Answer], body_hash: bytes) -> Answer:
    """The journal's answer to a key, when it was used for the same request.

    Raises:
        KeyReused: it was used for another.
    """
    stored_hash, answer = answered
    if stored_hash != body_hash:
        raise reused()
    return accepted(answer)


def hash_of(request: msgspec.Struct | Iterable[msgspec.Struct]) -> bytes:
    """What tells two requests under one key apart."""
    return hashlib.sha256(msgspec.json.encode(request)).digest()


def _hash(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()
