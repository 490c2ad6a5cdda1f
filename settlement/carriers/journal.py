"""A carrier's journal as reconciliation reads it: by the thousand, only what is compared, every figure checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from settlement.carriers import reading
from settlement.carriers.errors import CarrierMismatch
from settlement.carriers.reading import MAX_MB

FIELDS = "externalIdentifier,actionType,amount,requestedDate"
"""What is asked for; TMF630 lets a client choose. A carrier that sends everything is read just as well."""


class Quantity(msgspec.Struct, frozen=True, gc=False):
    """Whole MB and nothing else: another unit, a fraction or a negative amount is no amount."""

    amount: Annotated[int, msgspec.Meta(ge=0, le=MAX_MB)]
    units: Literal["MB"]


class Line(
    msgspec.Struct,
    frozen=True,
    gc=False,
    rename={"external_id": "externalIdentifier", "kind": "actionType", "at": "requestedDate"},
):
    """One line of a carrier's journal; `kind` is the carrier's word for it."""

    kind: Annotated[str, msgspec.Meta(min_length=1)]
    amount: Quantity
    at: Annotated[datetime, msgspec.Meta(tz=True)]
    external_id: str | None = None

    @property
    def amount_mb(self) -> int:
        return self.amount.amount


@dataclass(frozen=True, slots=True)
class LinePage:
    """Some of the journal, oldest first, and how many lines the span has in all.

    ``unreadable`` says of each line that makes no sense what is wrong with it: the rest of the page is as good as ever.
    """

    lines: Sequence[Line]
    unreadable: Sequence[str]
    total_count: int

    def __len__(self) -> int:
        return len(self.lines) + len(self.unreadable)


def page(body: Any, total_count: int) -> LinePage:
    """A decoded page: read at once when every figure is as it should be, else line by line.

    Raises:
        CarrierMismatch: it is no list.
    """
    try:
        return LinePage(msgspec.convert(body, list[Line]), (), total_count)
    except msgspec.ValidationError:
        return _one_by_one(reading.records(body, "balanceAction"), total_count)


def _one_by_one(documents: Sequence[Mapping[str, Any]], total_count: int) -> LinePage:
    good: list[Line] = []
    bad: list[str] = []
    for document in documents:
        try:
            good.append(_line(document))
        except CarrierMismatch as error:
            bad.append(f"{document.get('externalIdentifier') or document.get('id')}: {error}")
    return LinePage(good, bad, total_count)


def _line(document: Mapping[str, Any]) -> Line:
    return Line(
        kind=reading.text(document, "actionType"),
        amount=Quantity(reading.whole_mb(document, "amount"), "MB"),
        at=reading.moment(document, "requestedDate"),
        external_id=reading.optional_text(document, "externalIdentifier"),
    )
