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


class OrderState(StrEnum):
    OPEN = "open"
    FILLED = "filled"
    CANCELLED = "cancelled"


class CancelReason(StrEnum):
    IOC_REMAINDER = "ioc_remainder"
    FOK_UNFILLED = "fok_unfilled"
    POST_ONLY_WOULD_CROSS = "post_only_would_cross"
    SELF_TRADE = "self_trade"


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
    expires_at: int | None = None  # microseconds since the epoch, for good-till-date alone

    # The order's place in the queue at its price; only the book touches these.
    level: "Level | None" = field(default=None, init=False, repr=False)
    before: "Order | None" = field(default=None, init=False, repr=False)
    after: "Order | None" = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        # The book tells sides and times in force apart by identity; a bare 1 or "ioc" would be misread in silence.
        assert type(self.side) is Side
        assert type(self.time_in_force) is TimeInForce
        assert self.price > 0
        assert 0 < self.open <= self.quantity
        assert (self.expires_at is not None) == (self.time_in_force is TimeInForce.GTD)

    @property
    def filled(self) -> int:
        return self.quantity - self.open


class Fill(NamedTuple):
    """One match. `price` is the maker's, in minor units per lot; `quantity` in lots."""

    maker: Order
    taker: Order
    price: int
    quantity: int


class Placement(NamedTuple):
    """What came of an order: its fills in the order they were made, and what happened to the rest.

    A cancelled order's unfilled lots are its `open`.
    """

    fills: tuple[Fill, ...]
    state: OrderState
    reason: CancelReason | None


class Amendment(NamedTuple):
    """What came of an amended order, with what it was before, so that its hold can be adjusted."""

    order: Order
    kept_place: bool
    price_before: int  # minor units per lot
    open_before: int  # lots
    fills: tuple[Fill, ...]
    state: OrderState
    reason: CancelReason | None


class DepthLevel(NamedTuple):
    price: int  # minor units per lot
    quantity: int  # lots open at this price
    orders: int
