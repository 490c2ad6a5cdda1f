"""What a ticket would come to before it is sent: the total, the fee, and what the carrier itself would charge."""

from dataclasses import dataclass

from market.pricing import Quote, charge_minor, fee_minor, quote
from market.refusals import BadInput
from market.views import BookView, InstrumentView
from web.pages.forms import Form
from web.pages.ticket_amounts import lots_of
from web.pages.tickets import Ticket


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
        lots = lots_of(form, view)
        price = _worst(view, ticket) if ticket.has_no_price else form.amount("price", view.currency, "-")
    except BadInput:
        return None
    if not ticket.is_priced_by_book:
        return Preview(lots, price, _quoted(view, lots, price), 0)
    total, found = _swept(book, lots, is_sale=ticket.is_sale)
    if not found:
        return None
    fee = fee_minor(total, basis_points=view.fee_basis_points, minimum_minor=view.fee_minimum_minor)
    fee += charge_minor(view.charges, quantity_mb=found * view.lot_units, left_minor=total - fee)
    top_up = found * view.ceiling_minor
    return Preview(found, total // found, Quote(total, fee, total - fee, top_up, top_up - total), lots - found)


def _worst(view: InstrumentView, ticket: Ticket) -> int:
    """What an order without a price of its own may come to: the most that anybody pays, or the least."""
    if ticket.is_sale:
        return -(-view.floor_minor // view.tick_minor) * view.tick_minor
    return view.ceiling_minor // view.tick_minor * view.tick_minor


def _quoted(view: InstrumentView, lots: int, price_minor: int) -> Quote:
    return quote(
        lots=lots,
        price_minor=price_minor,
        ceiling_minor=view.ceiling_minor,
        fee_basis_points=view.fee_basis_points,
        fee_minimum_minor=view.fee_minimum_minor,
        charges=view.charges,
        lot_units=view.lot_units,
    )


def _swept(book: BookView, lots: int, *, is_sale: bool) -> tuple[int, int]:
    """What taking the best levels would come to, and how many lots they hold of those wanted."""
    total = found = 0
    for level in book.bids if is_sale else book.asks:
        taken = min(level.lots, lots - found)
        total += taken * level.price
        found += taken
    return total, found
