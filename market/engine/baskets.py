"""Orders across instruments: what each leg of a basket would get under one limit for them all. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import msgspec

from market.engine.commands import Answer, PlaceBasket, PlaceOrder, PrepareLegs, ResolveLegs
from market.engine.instruments import Instrument
from market.engine.records import Record
from market.engine.refusing import NotTaken
from market.engine.traits import SIDES, TIMES_IN_FORCE, fee_of, record_of
from market.pricing import charge_minor, fee_minor
from matching.orders import CancelReason, Fill, Placement, Side
from matching.quoting import Quote, forget, quote, take
from matching.refusals import Refusal
from matching.rules import MarketState, check
from settlement.accounts import HOUSE

MOST_LEGS = 20

Instruments = Mapping[int, Instrument]
Parts = Callable[[Instrument, Sequence[Fill]], Sequence[Fill]]
"""The trades that fills become: a carrier may move no more than so much at once."""


@dataclass(frozen=True, slots=True)
class LegPlan:
    """What one leg gets: ``order`` is exactly what will be placed, None for a leg that gets nothing.

    ``net_minor`` is to be paid, fees included; negative when it is to be got. ``code``
    and ``detail`` say why it is not the whole leg.
    """

    order: PlaceOrder | None
    fills: tuple[tuple[int, int], ...] = ()
    """(minor units per lot, lots), best first."""
    net_minor: int = 0
    need: int = 0
    """What must be held for it: minor units of a purchase, units of the asset of a sale."""
    code: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """Legs that were promised to a basket and wait for its decision; until then the shard decides nothing else."""

    basket_id: int
    legs: tuple[PlaceOrder, ...]
    needs: tuple[int, ...]
    at_us: int
    """When, in microseconds since the epoch: carriers' hours and days are those of that moment."""


class Offer(NamedTuple):
    """What is offered to one leg: so many units of the asset in a lot, and (minor units per lot, lots), best first."""

    lot_units: int
    levels: Sequence[tuple[int, int]]


encode_leg = msgspec.json.Encoder().encode
decode_leg = msgspec.json.Decoder(PlaceOrder).decode


def plan_all(
    command: PlaceBasket | PrepareLegs,
    instruments: Instruments,
    now_us: int,
    limit_minor: int | None,
    parts: Parts = lambda _, fills: fills,
) -> list[LegPlan]:
    """Every leg filled whole, the sum within the limit (None for none).

    Raises:
        NotTaken: it can't be; the words name the leg, or the sum.
    """
    _check_basket(command, instruments)
    quotes: list[tuple[Instrument, Quote]] = []
    plans = []
    try:
        for number, leg in enumerate(command.legs, start=1):
            instrument = instruments[leg.instrument_id]
            try:
                _check_leg(leg, instrument, now_us)
            except (Refusal, NotTaken) as refusal:
                raise _of_leg(number, command, refusal.code, str(refusal)) from refusal
            quoted = quote(instrument.book, _taker(leg, instrument, now_us))
            quotes.append((instrument, quoted))
            if quoted.lots < leg.quantity:
                code, detail = _why_not_all(quoted, leg.quantity)
                raise _of_leg(number, command, code, detail)
            plans.append(_plan(leg, instrument, quoted.fills, parts(instrument, quoted.fills)))
    finally:
        forget([(instrument.book, quoted) for instrument, quoted in quotes])
    _check_limit(sum(plan.net_minor for plan in plans), limit_minor)
    return plans


def plan_some(command: PlaceBasket, instruments: Instruments, now_us: int, available_minor: int) -> list[LegPlan]:
    """As much of the legs as the limit and the money allow, cheapest per unit of the asset first, then by leg."""
    _check_basket(command, instruments)
    if any(leg.side != "buy" for leg in command.legs):
        raise NotTaken("bad_basket", "A basket that sells is all or nothing.")
    budget = min(command.limit_minor, available_minor)
    short = "insufficient_money" if available_minor < command.limit_minor else "over_limit"

    found = [_offered(leg, instruments[leg.instrument_id], now_us) for leg in command.legs]
    offers = [
        Offer(instruments[leg.instrument_id].lot_units, [(fill.price, fill.quantity) for fill in offer.fills])
        if isinstance(offer, Quote)
        else Offer(1, [])
        for leg, offer in zip(command.legs, found, strict=True)
    ]
    lots, _ = share(offers, budget)

    quotes: list[tuple[Instrument, Quote]] = []
    plans: dict[int, LegPlan] = {}
    ranked = sorted(zip(map(_cheapness, offers), range(len(found)), strict=True))
    for _, index in ranked:
        leg, offer = command.legs[index], found[index]
        instrument = instruments[leg.instrument_id]
        fills: Sequence[Fill] = ()
        if lots[index] and isinstance(offer, Quote):
            asked = exactly(leg, lots[index], _worst(offer.fills, lots[index]))
            quoted = quote(instrument.book, _taker(asked, instrument, now_us))
            quotes.append((instrument, quoted))
            fills = quoted.fills
        plans[index] = _partial(leg, instrument, offer, fills, short)
    forget([(instrument.book, quoted) for instrument, quoted in quotes])
    return [plans[index] for index in range(len(found))]


def share(offers: Sequence[Offer], budget_minor: int) -> tuple[list[int], list[int]]:
    """Lots and cost for each leg: the budget goes to what is cheapest per unit, then to the earlier leg.

    Within a leg nothing is passed over: it ends where the budget does not reach.
    """
    ranked = sorted(
        (Fraction(price, offer.lot_units), index, place, price, offered)
        for index, offer in enumerate(offers)
        for place, (price, offered) in enumerate(offer.levels)
    )
    lots, cost, ended = [0] * len(offers), [0] * len(offers), set()
    for _, index, _, price, offered in ranked:
        if index in ended:
            continue
        bought = min(offered, budget_minor // price)
        lots[index] += bought
        cost[index] += bought * price
        budget_minor -= bought * price
        if bought < offered:
            ended.add(index)
    return lots, cost


def numbers_of(legs: Sequence[PlaceOrder], first: int, step: int) -> list[int]:
    """The order ids of legs that are placed by the command with this journal number."""
    return [first + index * step for index in range(len(legs))]


def place_legs(
    legs: Sequence[PlaceOrder], numbers: Sequence[int], instruments: Instruments, priority: int, now_us: int
) -> list[tuple[Record, Placement]]:
    """Trade what was planned, in all books at once; each leg is filled whole, for the books are as they were then."""
    records = []
    for leg, number in zip(legs, numbers, strict=True):
        record = record_of(leg, number, now_us, instruments[leg.instrument_id])
        record.priority = priority
        records.append(record)
    placements = take([(instruments[record.instrument_id].book, record) for record in records])
    assert not any(record.open for record in records), "a leg trades exactly what was planned"
    return list(zip(records, placements, strict=True))


def legs_to_place(command: PlaceBasket | PrepareLegs | ResolveLegs, answer: Answer) -> list[PlaceOrder]:
    """What a command that was accepted places, in this order: with `place_legs`, to do it again from the journal."""
    match command:
        case ResolveLegs():
            return list(command.legs) if command.committed else []
        case PlaceBasket():
            told = zip(command.legs, answer.orders, strict=True)
            return [exactly(leg, each.filled, each.fills[-1].price_minor) for leg, each in told if each.fills]
        case PrepareLegs():
            return []


def exactly(leg: PlaceOrder, lots: int, price_minor: int) -> PlaceOrder:
    """A leg as it is placed once it is known what it gets: whole, down to the last of its fills."""
    return msgspec.structs.replace(leg, quantity=lots, price_minor=price_minor, time_in_force="fok")


def resolution(prepared: Prepared, shard: int, *, committed: bool) -> ResolveLegs:
    """The engine's own command that does, or undoes, what was prepared. Its key is the house's: no client has it."""
    return ResolveLegs(
        HOUSE, resolution_key(prepared.basket_id, shard), b"", prepared.legs[0].instrument_id, prepared.basket_id,
        committed, prepared.legs, prepared.at_us,
    )  # fmt: skip


def resolution_key(basket_id: int, shard: int) -> str:
    return f"basket-{basket_id}-{shard}"


def _check_basket(command: PlaceBasket | PrepareLegs, instruments: Instruments) -> None:
    named = [leg.instrument_id for leg in command.legs]
    if not 1 <= len(named) <= MOST_LEGS or len(set(named)) < len(named):
        raise NotTaken("bad_basket", f"A basket has 1 to {MOST_LEGS} legs, each in another market.")
    for number, instrument_id in enumerate(named, start=1):
        if instrument_id not in instruments:
            raise _of_leg(number, command, "other_shard", "This market is matched elsewhere.")


def _check_leg(leg: PlaceOrder, instrument: Instrument, now_us: int) -> None:
    if leg.conditions is not None or leg.post_only or leg.time_in_force not in {"ioc", "fok"}:
        raise NotTaken("bad_basket", "A leg of a basket is a plain immediate order.")
    check(
        instrument.terms,
        now_us,
        price=leg.price_minor,
        quantity=leg.quantity,
        time_in_force=TIMES_IN_FORCE[leg.time_in_force],
        side=SIDES[leg.side],
    )
    if instrument.terms.state is not MarketState.OPEN:
        raise NotTaken("market_not_open", "This market does not trade just now.")


def _taker(leg: PlaceOrder, instrument: Instrument, now_us: int) -> Record:
    return record_of(msgspec.structs.replace(leg, time_in_force="ioc"), 0, now_us, instrument)


def _plan(leg: PlaceOrder, instrument: Instrument, fills: Sequence[Fill], trades: Sequence[Fill]) -> LegPlan:
    lots = sum(fill.quantity for fill in fills)
    exact = exactly(leg, lots, fills[-1].price)
    amount = sum(fill.price * fill.quantity for fill in fills)
    if SIDES[leg.side] is Side.BUY:
        net, need = amount, amount
    else:
        net, need = sum(_fee(leg, instrument, trade) for trade in trades) - amount, lots * instrument.lot_units
    return LegPlan(exact, tuple((trade.price, trade.quantity) for trade in trades), net, need)


def _fee(leg: PlaceOrder, instrument: Instrument, fill: Fill) -> int:
    terms = fee_of(leg, instrument)
    amount = fill.price * fill.quantity
    fee = fee_minor(amount, basis_points=terms.basis_points, minimum_minor=terms.minimum_minor)
    units = fill.quantity * instrument.lot_units
    return fee + charge_minor(leg.charges, quantity_mb=units, left_minor=amount - fee)


def _offered(leg: PlaceOrder, instrument: Instrument, now_us: int) -> Quote | NotTaken:
    """What a leg would get alone, or why it may get nothing."""
    try:
        _check_leg(leg, instrument, now_us)
    except (Refusal, NotTaken) as refusal:
        return NotTaken(refusal.code, str(refusal))
    quoted = quote(instrument.book, _taker(leg, instrument, now_us))
    forget([(instrument.book, quoted)])
    return quoted


def _cheapness(offer: Offer) -> Fraction:
    return Fraction(offer.levels[0][0], offer.lot_units) if offer.levels else Fraction(0)


def _worst(fills: Sequence[Fill], lots: int) -> int:
    """The price of the last of so many lots."""
    for fill in fills:
        lots -= fill.quantity
        if lots <= 0:
            break
    return fill.price


def _partial(
    leg: PlaceOrder, instrument: Instrument, offer: Quote | NotTaken, fills: Sequence[Fill], short: str
) -> LegPlan:
    if isinstance(offer, NotTaken):
        return LegPlan(None, code=offer.code, detail=offer.detail)
    bought = sum(fill.quantity for fill in fills)
    code: str | None = None
    detail: str | None = None
    if bought < offer.lots:
        code, detail = short, _SHORT[short]
    elif bought < leg.quantity:
        code, detail = _why_not_all(offer, leg.quantity)
    if not fills:
        return LegPlan(None, code=code, detail=detail)
    whole = _plan(leg, instrument, fills, fills)
    return LegPlan(whole.order, whole.fills, whole.net_minor, whole.need, code, detail)


_SHORT = {
    "over_limit": "The limit of the whole basket allows no more of this.",
    "insufficient_money": "Your wallet allows no more of this.",
}


def _why_not_all(quoted: Quote, wanted: int) -> tuple[str, str]:
    if quoted.reason == CancelReason.SELF_TRADE:
        return "self_trade", "The next offer is your own, or of your household or group."
    if quoted.reason is not None:
        return quoted.reason, "A rule of the carrier allows no more of this."
    if quoted.band:
        return "band_breached", "The next offer is too far from the last price."
    return "not_offered", f"Only {quoted.lots} of {wanted} lots are offered within the limit."


def _of_leg(number: int, command: PlaceBasket | PrepareLegs, code: str, detail: str) -> NotTaken:
    return NotTaken(code, f"Leg {number} of {len(command.legs)}: {detail}")


def _check_limit(net_minor: int, limit_minor: int | None) -> None:
    if limit_minor is not None and net_minor > limit_minor:
        raise over_limit(net_minor, limit_minor)


def over_limit(net_minor: int, limit_minor: int) -> NotTaken:
    """The refusal of a basket whose legs together would cost more, or bring less, than was asked."""
    if net_minor > 0:
        return NotTaken("over_limit", f"Together this costs {net_minor} minor units; your limit is {limit_minor}.")
    return NotTaken("over_limit", f"Together this brings {-net_minor} minor units; you ask for {-limit_minor}.")
