"""The rules an order must meet before it may reach the book: session, size, price step, band, expiry."""

from dataclasses import dataclass
from enum import StrEnum

from matching.orders import TimeInForce
from matching.refusals import (
    BadQuantity,
    ExpiryAfterClose,
    ExpiryMissing,
    ExpiryPassed,
    ExpiryTooFar,
    ExpiryUnexpected,
    MarketCancelOnly,
    MarketClosed,
    MarketHalted,
    MarketNotOpen,
    OffTick,
    OutsideBand,
    PostOnlyMustRest,
)


class MarketState(StrEnum):
    """What the market takes. Cancelling an open order is allowed in every state, so nothing here refuses it."""

    OPEN = "open"
    CANCEL_ONLY = "cancel_only"
    HALTED = "halted"
    CLOSED = "closed"


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
) -> None:
    """Refuse an order, or the new price and quantity of an amended one, that the market does not take now.

    The first rule broken is the one named: the session's, then the order's own in the order a form asks for them.
    """
    check_session(terms, now_us)
    if not 1 <= quantity <= terms.maximum_quantity:
        raise BadQuantity(quantity=quantity, maximum=terms.maximum_quantity)
    if not terms.minimum_price <= price <= terms.maximum_price:
        raise OutsideBand(price=price, minimum=terms.minimum_price, maximum=terms.maximum_price)
    if price % terms.tick:
        raise OffTick(price=price, tick=terms.tick)
    if post_only and time_in_force not in (TimeInForce.GTC, TimeInForce.GTD):
        raise PostOnlyMustRest
    check_expiry(terms, now_us, time_in_force, expires_at)


def check_session(terms: Terms, now_us: int) -> None:
    """Refuse anything that could trade outside the session."""
    if terms.state is MarketState.CLOSED or now_us >= terms.closes_at:
        raise MarketClosed
    if now_us < terms.opens_at:
        raise MarketNotOpen
    if terms.state is MarketState.HALTED:
        raise MarketHalted
    if terms.state is MarketState.CANCEL_ONLY:
        raise MarketCancelOnly


def check_expiry(terms: Terms, now_us: int, time_in_force: TimeInForce, expires_at: int | None) -> None:
    """Refuse an expiry time that is missing, out of place, past, after the close, or too far ahead."""
    if time_in_force is not TimeInForce.GTD:
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
