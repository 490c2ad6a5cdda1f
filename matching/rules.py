"""The rules an order must meet before it may reach the book: session, size, price step, band, expiry, traits."""

from dataclasses import dataclass
from enum import StrEnum

from matching.orders import ENDING, RESTING, Decay, Side, TimeInForce, Traits
from matching.refusals import (
    BadDecay,
    BadDisplay,
    BadMinimum,
    BadQuantity,
    ConditionStandsAlone,
    DecayIsForSales,
    DecayStandsAlone,
    ExpiryAfterClose,
    ExpiryMissing,
    ExpiryPassed,
    ExpiryTooFar,
    ExpiryUnexpected,
    FillOrKillInstead,
    MarketCancelOnly,
    MarketClosed,
    MarketCollecting,
    MarketHalted,
    MarketNotOpen,
    MustRest,
    OffTick,
    OutsideBand,
    PegOffTick,
    PegStandsAlone,
    PostOnlyMustRest,
    StopTakes,
)

MOST_SLICES = 100
"""An iceberg shows at least its quantity divided by this at a time, so that one taker never works through more."""
MOST_STEPS = 1_000
"""A falling price has no more steps than this."""
SHORTEST_STEP_US = 1_000_000


class MarketState(StrEnum):
    """What the market takes. Cancelling an open order is allowed in every state, so nothing here refuses it."""

    OPEN = "open"
    PRE_OPEN = "pre_open"  # collects from before the opening time on, for the opening auction
    AUCTION = "auction"
    PAUSED = "paused"  # the dynamic band was breached
    CANCEL_ONLY = "cancel_only"
    HALTED = "halted"
    CLOSED = "closed"

    @property
    def collects(self) -> bool:
        """Whether orders that can wait are taken without being matched, until an auction."""
        return self in COLLECTING


COLLECTING = (MarketState.PRE_OPEN, MarketState.AUCTION, MarketState.PAUSED)


@dataclass(frozen=True, slots=True)
class Terms:
    """An instrument's rules at one moment. Prices in minor units per lot, times in microseconds since the epoch."""

    tick: int
    minimum_price: int  # the fee and one minor unit more: a seller never pays to sell
    maximum_price: int  # the carrier's own top-up price: nobody pays more here than at the shop
    maximum_quantity: int  # lots in one order
    opens_at: int
    closes_at: int  # the first moment at which nothing is accepted
    state: MarketState = MarketState.OPEN
    maximum_life_us: int | None = None  # how far ahead a good-till-date order may expire

    def __post_init__(self) -> None:
        assert self.tick > 0
        assert 0 < self.minimum_price <= self.maximum_price
        assert self.maximum_quantity > 0
        assert self.maximum_price * self.maximum_quantity < 2**63, "an order's value must fit the ledger's columns"
        assert self.opens_at < self.closes_at


def check(
    terms: Terms,
    now_us: int,
    *,
    price: int,
    quantity: int,
    time_in_force: TimeInForce,
    post_only: bool = False,
    expires_at: int | None = None,
    side: Side | None = None,
    market: bool = False,
    traits: Traits | None = None,
) -> None:
    """Refuse an order, or the new price and quantity of an amended one, that the market does not take now.

    The first rule broken is the one named: the session's, then the order's own in the order a form asks for them. The
    side matters to a falling price alone; `market` is an order without a price of its own.
    """
    check_session(terms, now_us)
    waits = time_in_force in RESTING and not market
    if terms.state.collects and not waits and (traits is None or not traits.armed):
        raise MarketCollecting
    if not 1 <= quantity <= terms.maximum_quantity:
        raise BadQuantity(quantity=quantity, maximum=terms.maximum_quantity)
    check_price(terms, price)
    if post_only and not waits:
        raise PostOnlyMustRest
    check_expiry(terms, now_us, time_in_force, expires_at)
    if traits is not None:
        check_traits(
            terms, traits, quantity=quantity, time_in_force=time_in_force, waits=waits, post_only=post_only, side=side
        )


def check_session(terms: Terms, now_us: int) -> None:
    """Refuse anything that could trade outside the session."""
    if terms.state is MarketState.CLOSED or now_us >= terms.closes_at:
        raise MarketClosed
    if now_us < terms.opens_at and terms.state is not MarketState.PRE_OPEN:
        raise MarketNotOpen
    if terms.state is MarketState.HALTED:
        raise MarketHalted
    if terms.state is MarketState.CANCEL_ONLY:
        raise MarketCancelOnly


def check_price(terms: Terms, price: int) -> None:
    """Refuse a price in minor units per lot that is outside the static band or off tick."""
    if not terms.minimum_price <= price <= terms.maximum_price:
        raise OutsideBand(price=price, minimum=terms.minimum_price, maximum=terms.maximum_price)
    if price % terms.tick:
        raise OffTick(price=price, tick=terms.tick)


def check_expiry(terms: Terms, now_us: int, time_in_force: TimeInForce, expires_at: int | None) -> None:
    """Refuse an expiry time that is missing, out of place, past, after the close, or too far ahead."""
    if time_in_force not in ENDING:
        if expires_at is not None:
            raise ExpiryUnexpected
        return
    if expires_at is None:
        raise ExpiryMissing
    if expires_at <= now_us:
        raise ExpiryPassed
    if expires_at > terms.closes_at:
        raise ExpiryAfterClose
    if terms.maximum_life_us is not None and expires_at - now_us > terms.maximum_life_us:
        raise ExpiryTooFar


def check_traits(
    terms: Terms,
    traits: Traits,
    *,
    quantity: int,
    time_in_force: TimeInForce,
    waits: bool,
    post_only: bool,
    side: Side | None,
) -> None:
    """Refuse traits that make no sense for the order, or beside each other.

    `waits` says whether the order may wait in the book once it is an ordinary one.
    """
    moves = traits.peg_offset is not None or traits.decay is not None
    linked = traits.linked_to is not None and traits.stop_price is None
    if not waits and (traits.display is not None or moves or linked):
        raise MustRest
    if traits.display is not None:
        least, most = max(1, -(-quantity // MOST_SLICES)), quantity - 1
        if not least <= traits.display <= most:
            raise BadDisplay(display=traits.display, minimum=least, maximum=most)
    if traits.conditional:
        _check_conditions(traits, quantity, time_in_force, beside=post_only or moves or traits.display is not None)
    if traits.stop_price is not None:
        check_price(terms, traits.stop_price)
        if post_only:
            raise StopTakes
    if traits.peg_offset is not None:
        _check_peg(terms, traits)
    if traits.decay is not None:
        _check_decay(terms, traits, traits.decay, side, post_only=post_only)


def _check_conditions(traits: Traits, quantity: int, time_in_force: TimeInForce, *, beside: bool) -> None:
    if beside or (traits.all_or_none and traits.minimum is not None):
        raise ConditionStandsAlone
    if time_in_force is TimeInForce.FOK or (traits.all_or_none and time_in_force is TimeInForce.IOC):
        raise FillOrKillInstead
    if traits.minimum is not None and not 1 <= traits.minimum <= quantity:
        raise BadMinimum(minimum=traits.minimum, quantity=quantity)


def _check_peg(terms: Terms, traits: Traits) -> None:
    assert traits.peg_offset is not None
    if traits.stop_price is not None or traits.decay is not None:
        raise PegStandsAlone
    if traits.peg_offset % terms.tick:
        raise PegOffTick(offset=traits.peg_offset, tick=terms.tick)


def _check_decay(terms: Terms, traits: Traits, decay: Decay, side: Side | None, *, post_only: bool) -> None:
    if side is not Side.SELL:
        raise DecayIsForSales
    if post_only or traits.stop_price is not None or traits.display is not None:
        raise DecayStandsAlone
    check_price(terms, decay.start)
    check_price(terms, decay.floor)
    if decay.step < 1 or decay.step % terms.tick or not 0 < decay.start - decay.floor <= decay.step * MOST_STEPS:
        raise BadDecay(tick=terms.tick, steps=MOST_STEPS)
    if decay.every_us < SHORTEST_STEP_US:
        raise BadDecay(tick=terms.tick, steps=MOST_STEPS)
