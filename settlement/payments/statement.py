"""The provider's own books as reconciliation reads them: by the page, each line with the object that it is about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from settlement.payments.errors import PaymentMismatch
from settlement.payments.reading import REFERENCE

Minor = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]


class Source(msgspec.Struct, frozen=True):
    """What a line is about: a charge, a refund, a transfer, its reversal, a dispute, a payout."""

    id: str
    object: str = ""
    payment_intent: str | None = None
    metadata: dict[str, str] | None = None


class Line(msgspec.Struct, frozen=True, rename={"kind": "type"}):
    """A balance transaction, in minor units: `net = amount - fee`, and what is negative takes away."""

    id: str
    kind: str
    amount: Minor
    fee: Minor
    net: Minor
    currency: str
    created: Annotated[int, msgspec.Meta(ge=0, le=2**40)]
    source: Source | str | None = None

    def __post_init__(self) -> None:
        if self.amount - self.fee != self.net:
            raise ValueError("net is not amount less fee")

    @property
    def reference(self) -> str:
        """Our own name for it, if it carries one."""
        return (self.source.metadata or {}).get(REFERENCE, "") if isinstance(self.source, Source) else ""

    @property
    def about(self) -> str:
        """The payment that it belongs to, or else the id of what it is about."""
        if isinstance(self.source, Source):
            return self.source.payment_intent or self.source.id
        return self.source or self.id

    @property
    def source_id(self) -> str:
        """The id of what it is about."""
        return self.source.id if isinstance(self.source, Source) else self.source or self.id


@dataclass(frozen=True, slots=True)
class StatementPage:
    """Some of the books, newest first. ``unreadable`` says of each line that makes no sense what is wrong with it."""

    lines: Sequence[Line]
    unreadable: Sequence[str]
    last_id: str | None
    """Where to go on; none at the end."""


class _Head(msgspec.Struct):
    data: list[Any]
    has_more: bool


class _Amount(msgspec.Struct):
    amount: Minor
    currency: str


class _Balance(msgspec.Struct):
    available: list[_Amount]
    pending: list[_Amount]


def page(document: Any) -> StatementPage:
    """A decoded page.

    Raises:
        PaymentMismatch: it is no page, or it says that there is more and not where.
    """
    head = _convert(document, _Head)
    last_id = head.data[-1].get("id") if head.data and isinstance(head.data[-1], Mapping) else None
    if head.has_more and not isinstance(last_id, str):
        raise PaymentMismatch("a page that is not the last has no line to go on from")
    further = last_id if head.has_more else None
    try:
        return StatementPage(msgspec.convert(head.data, list[Line]), (), further)
    except msgspec.ValidationError:
        return StatementPage(*_one_by_one(head.data), further)


def balance(document: Any) -> dict[str, int]:
    """Minor units by upper-case currency, whether they can be paid out yet or not.

    Raises:
        PaymentMismatch: it is no balance.
    """
    found = _convert(document, _Balance)
    total: dict[str, int] = {}
    for part in (*found.available, *found.pending):
        currency = part.currency.upper()
        total[currency] = total.get(currency, 0) + part.amount
    return total


def _one_by_one(items: Sequence[Any]) -> tuple[list[Line], list[str]]:
    good: list[Line] = []
    bad: list[str] = []
    for item in items:
        try:
            good.append(msgspec.convert(item, Line))
        except msgspec.ValidationError as error:
            bad.append(f"{item.get('id') if isinstance(item, Mapping) else 'a line'}: {error}")
    return good, bad


def _convert(document: Any, shape: Any) -> Any:
    try:
        return msgspec.convert(document, shape)
    except msgspec.ValidationError as error:
        raise PaymentMismatch(f"unreadable answer: {error}") from error
