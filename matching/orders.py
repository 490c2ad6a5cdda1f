"""Order values: what is asked, what came of it, and what the book shows."""

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from matching.ladder import Level


class Side(IntEnum):
    BUY = 1
    SELL = 2


class TimeInForce(StrEnum):
    GTC = "gtc"  # good till cancelled, or until the instrument closes
    GTD = "gtd"  # good till its expiry time
    IOC = "ioc"  # immediate, and cancel the rest
    FOK = "fok"  # all of it immediately, or nothing
    DAY = "day"  # good till the day ends, which the caller gives as its expiry time


class SelfTrade(StrEnum):
    """What becomes of an incoming order and a resting one of the same party or group when they would trade."""

    CANCEL_NEWEST = "cancel_newest"
    CANCEL_OLDEST = "cancel_oldest"
    CANCEL_BOTH = "cancel_both"
    DECREMENT = "decrement"  # both shrink by the smaller one's open lots, and nothing trades


class OrderState(StrEnum):
    OPEN = "open"
    FILLED = "filled"
    CANCELLED = "cancelled"


class CancelReason(StrEnum):
    IOC_REMAINDER = "ioc_remainder"
    FOK_UNFILLED = "fok_unfilled"
    POST_ONLY_WOULD_CROSS = "post_only_would_cross"
    SELF_TRADE = "self_trade"
    EXPIRED = "expired"
    LINKED = "linked"  # its one-cancels-other sibling traded, was triggered, expired or was cancelled
    BAND_BREACHED = "band_breached"  # the next trade would have left the dynamic band


@dataclass(frozen=True, slots=True)
class Decay:
    """A falling ask: every so often one step lower, down to a floor. Prices in minor units per lot."""

    start: int
    floor: int
    step: int
    every_us: int
    since_us: int  # when the price was `start`, in microseconds since the epoch

    def price_at(self, now_us: int) -> int:
        """The price at a moment, which must not lie before `since_us`."""
        assert now_us >= self.since_us
        return max(self.floor, self.start - self.step * ((now_us - self.since_us) // self.every_us))

    def next_step_us(self, price: int) -> int | None:
        """When the price falls below this one of its own prices; None at the floor."""
        if price <= self.floor:
            return None
        return self.since_us + ((self.start - price) // self.step + 1) * self.every_us


@dataclass(slots=True, eq=False)
class Traits:
    """What makes an order special, and the state that this brings; a plain order has none.

    The last two are the book's to change, and with price, quantity, open and priority all that must be stored of a
    resting order to load it again.
    """

    display: int | None = None  # lots that an iceberg shows at a time
    minimum: int | None = None  # lots of the smallest fill; once fewer are open, all of those
    all_or_none: bool = False  # filled whole, at one moment, or not at all
    stop_price: int | None = None  # waits unseen until a trade at this price or beyond: above for buys, below for sells
    peg_offset: int | None = None  # minor units per lot from the reference, signed; the book sets the price
    decay: Decay | None = None
    linked_to: int | None = None  # id of the one-cancels-other sibling

    shown: int = 0  # lots of an iceberg's slice that are left; 0 means that a new slice is due
    triggered: bool = False  # a stop order that has become an ordinary one

    @property
    def armed(self) -> bool:
        return self.stop_price is not None and not self.triggered

    @property
    def conditional(self) -> bool:
        """Whether the order waits beside the ladder, unseen, because not every counterpart may trade with it."""
        return self.all_or_none or self.minimum is not None

    @property
    def can_be_amended(self) -> bool:
        """Whether its owner may change it: not when it moves by itself, or has a sibling of the same size."""
        return self.peg_offset is None and self.decay is None and self.linked_to is None


@dataclass(slots=True, eq=False)
class Order:
    """One order; while it rests the book owns it and alone may change it.

    A market order is a limit at its protection price that is immediate-or-cancel. After a cancel `open` stays as it
    was at that moment: the lots that never traded, so that filled = quantity - open holds for ever.
    """

    id: int
    party_id: int
    group_id: int  # person, household or partner group: its members never trade with each other
    side: Side
    price: int  # minor units per lot
    quantity: int  # lots ordered
    open: int  # lots not filled
    time_in_force: TimeInForce = TimeInForce.GTC
    post_only: bool = False
    expires_at: int | None = None  # microseconds since the epoch, for good-till-date and day orders alone
    priority: int = 0  # place in time among those at its price, lower first; 0 stands for the id
    self_trade: SelfTrade = SelfTrade.CANCEL_NEWEST
    traits: Traits | None = None

    # The order's place in the queue at its price; only the book touches these.
    level: "Level | None" = field(default=None, init=False, repr=False)
    before: "Order | None" = field(default=None, init=False, repr=False)
    after: "Order | None" = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.priority:
            self.priority = self.id

    def is_whole(self) -> bool:
        """What must hold of every order. To ask it of each would cost as much as to match it: its maker sees to it.

        The book tells sides and times in force apart by identity; a bare 1 or "ioc" would be misread in silence.
        """
        return (
            type(self.side) is Side
            and type(self.time_in_force) is TimeInForce
            and type(self.self_trade) is SelfTrade
            and self.price > 0
            and 0 < self.open <= self.quantity
            and (self.expires_at is not None) == (self.time_in_force in ENDING)
        )

    @property
    def filled(self) -> int:
        return self.quantity - self.open


ENDING = (TimeInForce.GTD, TimeInForce.DAY)
"""The times in force that come with an expiry time."""

RESTING = (TimeInForce.GTC, TimeInForce.GTD, TimeInForce.DAY)
"""Those whose unfilled lots may wait in the book."""


class Fill(NamedTuple):
    """One match. `price` is the maker's, or the auction's, in minor units per lot; `quantity` in lots."""

    maker: Order
    taker: Order
    price: int
    quantity: int


# What a command does to orders otherwise than by a fill, one value each.


class Ended(NamedTuple):
    """The order left the book; its `open` lots never traded. `reason` is a CancelReason, or the guard's own word."""

    order: Order
    reason: str


class Reduced(NamedTuple):
    """So many lots were taken off the order's quantity and open, because they met lots of its own group."""

    order: Order
    lots: int


class Triggered(NamedTuple):
    """A stop order's price was reached; from here on it is an ordinary order."""

    order: Order


class Repriced(NamedTuple):
    """The book moved a pegged or a falling order to the end of the queue at another price."""

    order: Order
    price_before: int  # minor units per lot


class Requeued(NamedTuple):
    """An iceberg's new slice went to the end of the queue at its price."""

    order: Order


class Skipped(NamedTuple):
    """The guard kept so many lots of this resting order from trading with the taker; it keeps its place."""

    order: Order
    lots: int
    reason: str


class Breached(NamedTuple):
    """A trade at this price would have left the dynamic band: it did not happen, and the book is calling."""

    price: int  # minor units per lot


Effect = Ended | Reduced | Triggered | Repriced | Requeued | Skipped | Breached


class Placement(NamedTuple):
    """What came of an order: the fills in the order they were made, what it is at the end, and what else happened.

    A command may set off others' trades, so look at a fill's maker and taker both. To bring every order up to date:
    one in `fills` or `effects` is filled when its `open` is 0, has left when there is an `Ended` for it, and is
    otherwise in the book as its fields say. The placed order's own end is in `state` and `reason`, never in an `Ended`.
    """

    fills: tuple[Fill, ...]
    state: OrderState
    reason: str | None  # a CancelReason, or the guard's own word
    effects: tuple[Effect, ...] = ()


class Amendment(NamedTuple):
    """What came of an amended order, with what it was before, so that its hold can be adjusted."""

    order: Order
    kept_place: bool
    price_before: int  # minor units per lot
    open_before: int  # lots
    fills: tuple[Fill, ...]
    state: OrderState
    reason: str | None
    effects: tuple[Effect, ...] = ()


class Cancellation(NamedTuple):
    """The order that was cancelled, which has no `Ended` of its own, and what that set off."""

    order: Order
    fills: tuple[Fill, ...]
    effects: tuple[Effect, ...]


class Advance(NamedTuple):
    """What the passing of time brought about."""

    fills: tuple[Fill, ...]
    effects: tuple[Effect, ...]


class Indication(NamedTuple):
    """What an auction held now would come to, were nobody kept from trading with anybody."""

    price: int  # minor units per lot
    volume: int  # lots
    surplus: int  # lots left over at that price: of buyers when positive, of sellers when negative


class Auction(NamedTuple):
    """What an auction came to. With no price nothing could trade in it."""

    price: int | None  # minor units per lot
    volume: int  # lots that traded at it
    surplus: int  # as in the indication
    fills: tuple[Fill, ...]
    effects: tuple[Effect, ...]


class DepthLevel(NamedTuple):
    price: int  # minor units per lot
    quantity: int  # lots shown at this price
    orders: int


_MASK = 2**64 - 1


def mark(order: Order) -> int:
    """64 bits that stand for an open order's place and size, the same everywhere; sums of them stand for a book."""
    value = order.id
    for part in (order.price, order.open, order.priority):
        value = ((value ^ (value >> 32)) * 0x9E3779B97F4A7C15 + part) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
