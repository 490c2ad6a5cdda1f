"""Reading what people type into forms: each field by name, refused with words beside it."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from market.refusals import BadInput, OutcomeUnknown, Refusal
from web.edge import typed
from web.i18n import minor_units
from web.pages.rendering import Page, new_key
from web.pages.words import said

MOST_CHARACTERS = 200
KEY_CHARACTERS = 64
MOST = 10**12
"""No count, amount or id in a form is larger."""
ALIASES = {
    "price_minor": "price",
    "amount_minor": "amount",
    "stop_minor": "stop",
    "display_lots": "display",
    "minimum_lots": "minimum",
    "peg_offset_minor": "offset",
    "decay": "fall_to",
}
"""Fields that the market names otherwise than the forms do."""


@dataclass(frozen=True)
class Form:
    """The text fields of one request; fields that were not sent are empty."""

    values: Mapping[str, str]

    def text(self, name: str) -> str:
        return self.values.get(name, "").strip()

    def whole(self, name: str, missing: str) -> int:
        """A whole number above zero; full-width digits too.

        Raises:
            BadInput: nothing was entered (``missing`` says so), or no such number.
        """
        text = unicodedata.normalize("NFKC", self.text(name)).replace(",", "")
        if not text:
            raise BadInput(missing, field=name)
        if not (text.isascii() and text.isdigit()) or not 0 < int(text) < MOST:
            raise BadInput("Please enter a whole number above zero.", field=name)
        return int(text)

    def amount(self, name: str, currency: str, missing: str) -> int:
        """An amount of money in minor units.

        Raises:
            BadInput: nothing was entered (``missing`` says so), or no such amount.
        """
        text = unicodedata.normalize("NFKC", self.text(name))
        if not text:
            raise BadInput(missing, field=name)
        try:
            minor = minor_units(text, currency)
        except ValueError:
            raise BadInput("Please enter an amount such as 3.50.", field=name) from None
        if minor <= 0:
            raise BadInput("Please enter an amount above zero.", field=name)
        return minor

    def key(self) -> str:
        """The idempotency key that the page was made with.

        Raises:
            BadInput: the form did not bring one.
        """
        key = self.text("key")
        if not key or len(key) > KEY_CHARACTERS or not key.isascii() or not key.isalnum():
            raise BadInput("This page has been open for too long. Please load it again.", code="csrf")
        return key

    def same_key(self, refusal: Refusal) -> str:
        """The key of the form as it is shown again: what may have taken effect must be sent under its own."""
        return self.key() if isinstance(refusal, OutcomeUnknown) else new_key()

    def optional_id(self, name: str) -> int | None:
        """An id chosen from a list, or none."""
        text = self.text(name)
        return int(text) if text.isascii() and text.isdigit() and int(text) < MOST else None


async def read(request: Page) -> Form:
    """The form of a request, its texts cut to what any field could need."""
    sent = await request.form()
    return Form({name: text[:MOST_CHARACTERS] for name, text in sent.items() if isinstance(text, str)})


def queried(request: Page) -> Form:
    """The query of a request, read like a form; with it what was typed before a sign-in or a proof came between."""
    asked = {name: str(text)[:MOST_CHARACTERS] for name, text in request.query_params.items()}
    return Form({**asked, **typed.take(request)})


def errors_of(refusal: Refusal, locale: str, fields: tuple[str, ...]) -> dict[str, str]:
    """A refusal beside the field that it is about; what is about none of them stands above the form, under ``form``."""
    field = ALIASES.get(refusal.field or "", refusal.field or "")
    return {field if field in fields else "form": said(refusal, locale)}


def number_of(text: str, prefix: str) -> int | None:
    """The id in ``trd_45``; none when it is not of that form."""
    digits = text.removeprefix(prefix + "_")
    if digits == text or not (digits.isascii() and digits.isdigit()) or len(digits) > len(str(2**63)) - 1:
        return None
    return int(digits)
