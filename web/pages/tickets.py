"""The order ticket: what a member typed, as the form keeps it and as the market takes it."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec

from market.refusals import BadInput
from market.together import PairRequest
from market.trading import Falling, OrderRequest
from market.views import InstrumentView
from web.i18n import CLOCK, N_, plain
from web.pages.forms import Form
from web.pages.rendering import new_key
from web.pages.ticket_amounts import amount_of, lots_of
from web.pages.words import ORDER_KINDS, SELF_TRADES

MODES = ("simple", "pro")
"""A simple ticket has an amount and a price; a pro one all that there is."""
STANDS = timedelta(hours=24)
"""How long an order with a time stands, unless another time is chosen."""
FIELDS = (
    "lots", "amount", "price", "line_id", "time_in_force", "expires_at", "post_only", "payment", "payment_method",
    "kind", "stop", "stop_limit", "display", "minimum", "offset", "fall_by", "fall_every", "fall_to", "destiny",
    "friend_phone",
)  # fmt: skip
WAITING = ("gtc", "day", "gtd")
TIMES_IN_FORCE = (*WAITING, "ioc", "fok")
KINDS = tuple(ORDER_KINDS)
COLLECTING = frozenset({"pre_open", "auction", "paused"})
OFFSETS = ("same", "above", "below")
MINUTES = {"minutes": 1, "hours": 60}
MOST_MINUTES = 10_080
PRO_FIELDS = {"time_in_force", "expires_at", "post_only", "kind", "stop", "stop_limit", "display", "minimum", "offset"}

DEMO_CARDS = {
    "pm_card_visa": "Visa ···· 4242",
    "pm_card_unionpay": "UnionPay ···· 0005",
    "pm_card_threeDSecure2Required": "Visa ···· 3220 · 3-D Secure",
    "pm_card_visa_chargeDeclined": "Visa ···· 0002 · ✕",
}
"""Test cards of the simulated provider: one that works twice over, one that asks its bank, one that is declined."""


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """An order as its form holds it: texts as they were typed, and what was wrong with them."""

    mode: str = "pro"
    side: str = "buy"
    market: bool = False
    lots: str = ""
    amount: str = ""
    """What the simple ticket has instead of lots: GB, or coins."""
    price: str = ""
    time_in_force: str = "gtc"
    expires_at: str = ""
    post_only: bool = False
    line_id: int | None = None
    payment: str = "wallet"
    payment_method: str = ""
    kind: str = "plain"
    stop: str = ""
    stop_limit: str = ""
    display: str = ""
    minimum: str = ""
    offset: str = ""
    offset_side: str = "same"
    falling: bool = False
    fall_by: str = ""
    fall_every: str = ""
    fall_unit: str = "hours"
    fall_to: str = ""
    self_trade: str = "cancel_newest"
    key: str = field(default_factory=new_key)
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def is_sale(self) -> bool:
        return self.side == "sell"

    @property
    def is_simple(self) -> bool:
        """Whether two fields are enough for it; what says more is shown whole."""
        return self.mode == "simple" and self.is_plain and not (self.market or self.falling)

    @property
    def is_priced_by_book(self) -> bool:
        """Whether it comes to what rests now."""
        return self.market and self.kind != "stop"

    @property
    def has_no_price(self) -> bool:
        return self.market or self.kind == "pegged"

    @property
    def is_plain(self) -> bool:
        """Whether nothing was chosen beyond the price."""
        chosen = (self.kind, self.time_in_force, self.self_trade, self.post_only)
        return chosen == ("plain", "gtc", "cancel_newest", False) and not PRO_FIELDS & self.errors.keys()


def takes(view: InstrumentView, now: datetime) -> str:
    """Which orders a market takes now: ``all``, ``waiting`` ones, or ``nothing``."""
    if view.state in COLLECTING and now < view.closes_at:
        return "waiting"
    return "all" if view.state == "open" and view.opens_at <= now < view.closes_at else "nothing"


def typed(form: Form, view: InstrumentView, now: datetime, mode: str = "pro") -> Ticket:
    """What a form or a link says, with the defaults of an empty ticket."""
    ticket = Ticket(
        mode=mode,
        side="sell" if form.text("side") == "sell" else "buy",
        market=form.text("type") == "market",
        lots=form.text("lots"),
        amount=form.text("amount"),
        price=form.text("price"),
        time_in_force=form.text("time_in_force") or "gtc",
        expires_at=form.text("expires_at") or f"{(now + STANDS).astimezone(CLOCK):%Y-%m-%dT%H:%M}",
        post_only=form.text("post_only") == "yes",
        line_id=form.optional_id("line_id"),
        payment=form.text("payment") if form.text("payment") == "card" else "wallet",
        payment_method=form.text("payment_method"),
        kind=_one_of(KINDS, form.text("kind")),
        stop=form.text("stop"),
        stop_limit=form.text("stop_limit"),
        display=form.text("display"),
        minimum=form.text("minimum"),
        offset=form.text("offset"),
        offset_side=_one_of(OFFSETS, form.text("offset_side")),
        falling=form.text("falling") == "yes" and form.text("side") == "sell",
        fall_by=form.text("fall_by"),
        fall_every=form.text("fall_every"),
        fall_unit=_one_of(("hours", "minutes"), form.text("fall_unit")),
        fall_to=form.text("fall_to"),
        self_trade=_one_of(tuple(SELF_TRADES), form.text("self_trade")),
    )
    ticket = _told_both_ways(replace(ticket, mode="simple" if ticket.is_simple else "pro"), view)
    if ticket.price or ticket.market:
        return ticket
    return replace(ticket, price=plain(_best(view, ticket), view.currency))


def asked(form: Form, ticket: Ticket, view: InstrumentView) -> OrderRequest | PairRequest:
    """The order, or the pair of orders, that a ticket asks for.

    Raises:
        BadInput: naming the field that is missing or wrong.
    """
    if ticket.time_in_force not in TIMES_IN_FORCE:
        raise BadInput("Please choose how long the order stands.", field="time_in_force")
    lots = lots_of(form, view)
    price = None if ticket.has_no_price else form.amount("price", view.currency, N_("Please enter a price."))
    by_card = not ticket.is_sale and ticket.payment == "card"
    if by_card and not ticket.payment_method:
        raise BadInput("Please choose a card.", field="payment_method")
    at_once = ticket.market or (by_card and ticket.time_in_force != "fok")
    time_in_force = "ioc" if at_once else ticket.time_in_force
    request = OrderRequest(
        symbol=view.symbol,
        side="sell" if ticket.is_sale else "buy",
        lots=lots,
        price_minor=price,
        time_in_force=time_in_force,  # type: ignore[arg-type]
        expires_at=_moment(ticket.expires_at) if time_in_force == "gtd" else None,
        post_only=ticket.post_only and time_in_force in WAITING,
        line_id=ticket.line_id,
        payment="card" if by_card else "wallet",
        payment_method=ticket.payment_method if by_card else None,
        self_trade=ticket.self_trade,  # type: ignore[arg-type]
    )
    if ticket.kind == "pair":
        return _paired(form, ticket, view, request)
    special = _special(form, ticket, view)
    if ticket.falling:
        special["decay"] = _falling(form, ticket, view)
    return msgspec.structs.replace(request, **special)


def _told_both_ways(ticket: Ticket, view: InstrumentView) -> Ticket:
    """The amount in the ticket's own unit, when it came in the other."""
    if ticket.mode == "simple" and not ticket.amount and ticket.lots.isascii() and ticket.lots.isdigit():
        return replace(ticket, amount=amount_of(int(ticket.lots), view))
    if ticket.mode == "pro" and ticket.amount and not ticket.lots:
        try:
            lots = lots_of(Form({"amount": ticket.amount}), view)
        except BadInput:
            return ticket
        return replace(ticket, lots=str(lots))
    return ticket


def _special(form: Form, ticket: Ticket, view: InstrumentView) -> dict[str, Any]:
    """What the kind of order asks for beyond its price."""
    match ticket.kind:
        case "stop":
            return {"stop_minor": form.amount("stop", view.currency, N_("Please enter the price to wait for."))}
        case "iceberg":
            return {"display_lots": form.whole("display", N_("Please enter how many lots to show at a time."))}
        case "minimum":
            return {"minimum_lots": form.whole("minimum", N_("Please enter the smallest number of lots."))}
        case "all_or_none":
            return {"all_or_none": True}
        case "pegged":
            return {"peg_offset_minor": _offset(form, ticket, view)}
        case _:
            return {}


def _offset(form: Form, ticket: Ticket, view: InstrumentView) -> int:
    if ticket.offset_side == "same":
        return 0
    distance = form.amount("offset", view.currency, N_("Please enter the distance from the last price."))
    return distance if ticket.offset_side == "above" else -distance


def _falling(form: Form, ticket: Ticket, view: InstrumentView) -> Falling:
    step = form.amount("fall_by", view.currency, N_("Please enter by how much the price falls."))
    every = form.whole("fall_every", N_("Please enter how often the price falls.")) * MINUTES[ticket.fall_unit]
    if every > MOST_MINUTES:
        raise BadInput("A price falls at least once a week. Choose a shorter time.", field="fall_every")
    floor = form.amount("fall_to", view.currency, N_("Please enter the lowest price."))
    return Falling(floor_minor=floor, step_minor=step, every_minutes=every)


def _paired(form: Form, ticket: Ticket, view: InstrumentView, order: OrderRequest) -> PairRequest:
    """The pair of an order that waits at its price and a stop."""
    if order.price_minor is None or order.time_in_force not in WAITING:
        raise BadInput("A pair waits in the book: name a price, and let it stand.", field="kind")
    if order.post_only or ticket.falling:
        raise BadInput("A pair can't be combined with the other choices.", field="kind")
    limited = bool(ticket.stop_limit)
    return PairRequest(
        symbol=order.symbol,
        side=order.side,
        lots=order.lots,
        price_minor=order.price_minor,
        stop_minor=form.amount("stop", view.currency, N_("Please enter the price to wait for.")),
        stop_price_minor=form.amount("stop_limit", view.currency, "-") if limited else None,
        time_in_force=order.time_in_force,  # type: ignore[arg-type]
        expires_at=order.expires_at,
        line_id=order.line_id,
    )


def _best(view: InstrumentView, ticket: Ticket) -> int:
    """The price to start from: the other side's best, else the last one, else the reference."""
    other = view.best_bid if ticket.is_sale else view.best_ask
    return other or view.last_minor or view.reference_minor


def _moment(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput("The time until which the order stands is not valid.", field="expires_at") from None
    return at if at.tzinfo else at.replace(tzinfo=CLOCK)


def _one_of(known: tuple[str, ...], text: str) -> str:
    """The choice that was made, or the first when it is none of those that are known."""
    return text if text in known else known[0]
