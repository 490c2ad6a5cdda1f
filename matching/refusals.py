"""What matching refuses, as one tree, with words that tell the person what to do.

Refusal
├── NotAdmitted                     the order never reaches the book
│   ├── MarketNotOpen
│   ├── MarketClosed
│   ├── MarketHalted
│   ├── MarketCancelOnly
│   ├── MarketCollecting
│   ├── BadQuantity
│   ├── OffTick
│   ├── OutsideBand
│   ├── PostOnlyMustRest
│   ├── UnfitTraits                 what makes the order special does not fit it
│   │   ├── MustRest
│   │   ├── BadDisplay
│   │   ├── BadMinimum
│   │   ├── ConditionStandsAlone
│   │   ├── FillOrKillInstead
│   │   ├── StopTakes
│   │   ├── PegStandsAlone
│   │   ├── PegOffTick
│   │   ├── DecayIsForSales
│   │   ├── DecayStandsAlone
│   │   └── BadDecay
│   └── BadExpiry
│       ├── ExpiryMissing
│       ├── ExpiryUnexpected
│       ├── ExpiryPassed
│       ├── ExpiryAfterClose
│       └── ExpiryTooFar
├── UnknownOrder
├── DuplicateOrder
├── NoReference
├── UnfitLink
├── AmendBelowFilled
├── AmendWouldCross
└── CrossedBook                     stored orders contradict each other: nobody may trade on them
"""

from typing import ClassVar


class Refusal(Exception):
    """A rule said no, and nothing was changed.

    `code` is stable, for programs. `str` is the sentence in English; `words` and `values` are its parts, for a page
    that says it in the reader's language.
    """

    code: ClassVar[str] = "refused"
    words: ClassVar[str] = "This cannot be done."

    def __init__(self, **values: int | str) -> None:
        super().__init__(self.words.format(**values))
        self.values = values


class NotAdmitted(Refusal):
    code = "not_admitted"
    words = "This order cannot be accepted. Change it and send it again."


class MarketNotOpen(NotAdmitted):
    code = "market_not_open"
    words = "This market has not opened yet. Send the order again once it opens."


class MarketClosed(NotAdmitted):
    code = "market_closed"
    words = "This market is closed. Choose one that expires later."


class MarketHalted(NotAdmitted):
    code = "market_halted"
    words = "Trading is halted in this market. Wait until it resumes; your open orders can still be cancelled."


class MarketCancelOnly(NotAdmitted):
    code = "market_cancel_only"
    words = "This market takes no new orders now. You can still cancel the ones you have."


class MarketCollecting(NotAdmitted):
    code = "market_collecting"
    words = "This market is collecting orders for an auction. Send an order that can wait, or wait until it trades."


class BadQuantity(NotAdmitted):
    code = "bad_quantity"
    words = "The quantity is {quantity} lots. Choose between 1 and {maximum} lots."


class OffTick(NotAdmitted):
    code = "off_tick"
    words = "The price {price} is between two price steps. Choose a multiple of {tick} minor units per lot."


class OutsideBand(NotAdmitted):
    code = "outside_band"
    words = "The price {price} is outside this market's limits. Choose {minimum} to {maximum} minor units per lot."


class PostOnlyMustRest(NotAdmitted):
    code = "post_only_must_rest"
    words = "A post-only order has to wait in the book. Choose good-till-cancelled or an expiry, or drop post-only."


class UnfitTraits(NotAdmitted):
    code = "unfit_traits"
    words = "These conditions do not fit this order. Change them and send it again."


class MustRest(UnfitTraits):
    code = "must_rest"
    words = (
        "An iceberg, a pegged, a falling or a linked order has to wait in the book. "
        "Name a price, and choose good-till-cancelled or an expiry."
    )


class BadDisplay(UnfitTraits):
    code = "bad_display"
    words = "This iceberg would show {display} lots at a time. Choose {minimum} to {maximum} lots."


class BadMinimum(UnfitTraits):
    code = "bad_minimum"
    words = "The smallest fill of {minimum} lots does not fit this order. Choose 1 to {quantity} lots."


class ConditionStandsAlone(UnfitTraits):
    code = "condition_stands_alone"
    words = (
        "An order with a smallest fill, or for all or none, waits unseen. "
        "It cannot be post-only, an iceberg, pegged or falling, nor both of the two."
    )


class FillOrKillInstead(UnfitTraits):
    code = "fill_or_kill_instead"
    words = (
        "An order for all at once or nothing is a fill-or-kill order. Choose that, and leave the other condition out."
    )


class StopTakes(UnfitTraits):
    code = "stop_takes"
    words = "A stop order may trade at once when its price is reached. Leave out post-only."


class PegStandsAlone(UnfitTraits):
    code = "peg_stands_alone"
    words = "A pegged order follows the market's price. It cannot have a stop price or a falling price too."


class PegOffTick(UnfitTraits):
    code = "peg_off_tick"
    words = "The distance {offset} is between two price steps. Choose a multiple of {tick} minor units per lot."


class DecayIsForSales(UnfitTraits):
    code = "decay_is_for_sales"
    words = "Only the price of a sale can fall. Choose a fixed price for what you buy."


class DecayStandsAlone(UnfitTraits):
    code = "decay_stands_alone"
    words = "A falling price cannot be combined with a stop price, an iceberg or post-only. Leave them out."


class BadDecay(UnfitTraits):
    code = "bad_decay"
    words = (
        "A price falls to a lower one in at most {steps} steps, each a multiple of {tick} minor units per lot, "
        "one a second at the most. Choose others."
    )


class BadExpiry(NotAdmitted):
    code = "bad_expiry"
    words = "The expiry time does not fit this order. Choose another."


class ExpiryMissing(BadExpiry):
    code = "expiry_missing"
    words = "A good-till-date order needs an expiry time. Say when it should end."


class ExpiryUnexpected(BadExpiry):
    code = "expiry_unexpected"
    words = "Only a good-till-date order has an expiry time. Leave it out, or choose good-till-date."


class ExpiryPassed(BadExpiry):
    code = "expiry_passed"
    words = "The expiry time has already passed. Choose a later one."


class ExpiryAfterClose(BadExpiry):
    code = "expiry_after_close"
    words = "The expiry time is after this market closes. Choose an earlier one, or good-till-cancelled."


class ExpiryTooFar(BadExpiry):
    code = "expiry_too_far"
    words = "The expiry time is too far ahead. Choose an earlier one; you can renew the order before it ends."


class UnknownOrder(Refusal):
    code = "unknown_order"
    words = "Order {order_id} is not open: it has been filled, cancelled or has expired. Look at your orders."


class DuplicateOrder(Refusal):
    code = "duplicate_order"
    words = "Order {order_id} is already in the book. Send a new order under a new number."


class NoReference(Refusal):
    code = "no_reference"
    words = "This market has no price yet that an order could follow. Name a price yourself, or wait for a trade."


class UnfitLink(Refusal):
    code = "unfit_link"
    words = "Order {order_id} cannot be linked with this one. Choose an order of your own that has no other sibling."


class AmendBelowFilled(Refusal):
    code = "amend_below_filled"
    words = "{filled} lots of this order are already filled. Choose a quantity above that, or cancel the rest."


class AmendWouldCross(Refusal):
    code = "amend_would_cross"
    words = "At this price your post-only order would trade at once. It stays as it was; choose another price."


class CrossedBook(Refusal):
    code = "crossed_book"
    words = "Stored order {order_id} would trade with another stored order. Keep this market closed and repair them."
