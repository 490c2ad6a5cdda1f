"""The order ticket: what a member typed, as the form keeps it and as the market takes it."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from market.pricing import Quote, fee_minor, quote
from market.refusals import BadInput
from market.trading import OrderRequest
from market.views import BookView, InstrumentView
from web.i18n import N_, plain
from web.pages.forms import Form
from web.pages.rendering import new_key

STANDS = timedelta(hours=24)
"""How long an order with a time stands."""
FIELDS = ("lots", "price", "line_id", "time_in_force", "post_only", "payment", "payment_method")
TIMES_IN_FORCE = ("gtc", "gtd", "ioc", "fok")

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

    side: str = "buy"
    market: bool = False
    lots: str = ""
    price: str = ""
    time_in_force: str = "gtc"
    expires_at: str = ""
    post_only: bool = False
    line_id: int | None = None
    payment: str = "wallet"
    payment_method: str = ""
    key: str = field(default_factory=new_key)
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def is_sale(self) -> bool:
        return self.side == "sell"


def typed(form: Form, view: InstrumentView, now: datetime) -> Ticket:
    """What a form or a link says, with the defaults of an empty ticket."""
    ticket = Ticket(
        side="sell" if form.text("side") == "sell" else "buy",
        market=form.text("type") == "market",
        lots=form.text("lots"),
        price=form.text("price"),
        time_in_force=form.text("time_in_force") or "gtc",
        expires_at=form.text("expires_at") or (now + STANDS).isoformat(timespec="seconds"),
        post_only=form.text("post_only") == "yes",
        line_id=form.optional_id("line_id"),
        payment=form.text("payment") if form.text("payment") == "card" else "wallet",
        payment_method=form.text("payment_method"),
    )
    if ticket.price or ticket.market:
        return ticket
    return replace(ticket, price=plain(_best(view, ticket), view.currency))


def asked(form: Form, ticket: Ticket, view: InstrumentView) -> OrderRequest:
    """The order that a ticket asks for.

    Raises:
        BadInput: naming the field that is missing or wrong.
    """
    if ticket.time_in_force not in TIMES_IN_FORCE:
        raise BadInput("Please choose how long the order stands.", field="time_in_force")
    lots = form.whole("lots", N_("Please enter how many lots."))
    price = None if ticket.market else form.amount("price", view.currency, N_("Please enter a price."))
    by_card = not ticket.is_sale and ticket.payment == "card"
    if by_card and not ticket.payment_method:
        raise BadInput("Please choose a card.", field="payment_method")
    at_once = ticket.market or (by_card and ticket.time_in_force != "fok")
    time_in_force = "ioc" if at_once else ticket.time_in_force
    return OrderRequest(
        symbol=view.symbol,
        side="sell" if ticket.is_sale else "buy",
        lots=lots,
        price_minor=price,
        time_in_force=time_in_force,  # type: ignore[arg-type]
        expires_at=_moment(ticket.expires_at) if time_in_force == "gtd" else None,
        post_only=ticket.post_only and time_in_force in {"gtc", "gtd"},
        line_id=ticket.line_id,
        payment="card" if by_card else "wallet",
        payment_method=ticket.payment_method if by_card else None,
    )


@dataclass(frozen=True)
class Preview:
    """What a ticket would come to, or nothing while its fields don't say."""

    lots: int
    price_minor: int
    """Per lot; of a market order the average over what rests now."""
    quote: Quote
    short_lots: int
    """How much of a market order nothing rests for now."""


def preview(form: Form, ticket: Ticket, view: InstrumentView, book: BookView) -> Preview | None:
    """Price the ticket as it stands; nothing when it can't be priced yet."""
    try:
        lots = form.whole("lots", "-")
        price = 0 if ticket.market else form.amount("price", view.currency, "-")
    except BadInput:
        return None
    if not ticket.market:
        return Preview(lots, price, _quoted(view, lots, price), 0)
    total, found = _swept(book, lots, is_sale=ticket.is_sale)
    if not found:
        return None
    fee = fee_minor(total, basis_points=view.fee_basis_points, minimum_minor=view.fee_minimum_minor)
    top_up = found * view.ceiling_minor
    return Preview(found, total // found, Quote(total, fee, total - fee, top_up, top_up - total), lots - found)


def _quoted(view: InstrumentView, lots: int, price_minor: int) -> Quote:
    return quote(
        lots=lots,
        price_minor=price_minor,
        ceiling_minor=view.ceiling_minor,
        fee_basis_points=view.fee_basis_points,
        fee_minimum_minor=view.fee_minimum_minor,
    )


def _swept(book: BookView, lots: int, *, is_sale: bool) -> tuple[int, int]:
    """What taking the best levels would come to, and how many lots they hold of those wanted."""
    total = found = 0
    for level in book.bids if is_sale else book.asks:
        taken = min(level.lots, lots - found)
        total += taken * level.price
        found += taken
    return total, found


def _best(view: InstrumentView, ticket: Ticket) -> int:
    """The price to start from: the other side's best, else the last one, else the reference."""
    other = view.best_bid if ticket.is_sale else view.best_ask
    return other or view.last_minor or view.reference_minor


def _moment(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput("The time until which the order stands is not valid.", field="time_in_force") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
