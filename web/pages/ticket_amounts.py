"""How much a ticket asks for: lots in the pro one, GB or coins in the simple one, and what its buttons fill in."""

import unicodedata

from market.refusals import BadInput
from market.views import InstrumentView
from web.i18n import N_
from web.pages.forms import MOST, Form

SHARES = (25, 50, 75, 100)
"""Percent of what is there."""
CHIPS = {"data": (5, 10, 20, 50), "coin": (1, 5, 10, 50)}
"""Lots that the simple ticket offers at a touch."""
DECIMALS = {"data": 3}
"""A GB is 1,000 MB; coins are not divided."""


def lots_of(form: Form, view: InstrumentView) -> int:
    """How many lots a form asks for.

    Raises:
        BadInput: it does not say, or what it says is no such amount.
    """
    if "lots" in form.values or "amount" not in form.values:
        return form.whole("lots", N_("Please enter how many lots."))
    if not form.text("amount"):
        raise BadInput("Please enter how much.", field="amount")
    units = _units(form.text("amount"), DECIMALS.get(view.kind, 0))
    if not 0 < units < MOST:
        raise BadInput("Please enter an amount above zero.", field="amount")
    if units % view.lot_units:
        raise BadInput(f"Please choose an amount in steps of {amount_of(1, view)}.", field="amount")
    return units // view.lot_units


def amount_of(lots: int, view: InstrumentView) -> str:
    """Lots as the simple ticket's field holds them: ``1.5`` for GB, ``300`` for coins."""
    units = lots * view.lot_units
    decimals = DECIMALS.get(view.kind, 0)
    whole, rest = divmod(units, 10**decimals)
    return f"{whole}.{rest:0{decimals}}".rstrip("0").rstrip(".") if rest else str(whole)


def share(percent: int, *, there_lots: int, maximum_lots: int) -> int:
    """So many percent of what is there, in whole lots, and never more than one order may have."""
    return min(there_lots * percent // 100, maximum_lots)


def _units(text: str, decimals: int) -> int:
    """An amount as people type it, full-width digits too, in MB or coins; 0 for what is none."""
    cleaned = unicodedata.normalize("NFKC", text).replace(",", "").strip()
    whole, _, rest = cleaned.partition(".")
    if not (whole + rest).isdecimal() or len(rest) > decimals or len(whole) > len(str(MOST)):
        return 0
    return int(whole + rest.ljust(decimals, "0"))
