"""The fee schedule: what a sale pays by group of party, carrier and instrument, dated, and frozen on each order."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession

from market.engine.commands import FeeTerms
from market.fee_tables import FeeRow

KINDS = ("subscriber", "partner")
"""Groups that a seller is in by what it is; any other is one that the operator puts parties into."""
GROUP = r"\A[a-z][a-z0-9-]{1,31}\Z"


@dataclass(frozen=True, slots=True)
class Seller:
    """What the schedule goes by: the kind of party, and the group that the operator put it into, if any."""

    kind: str
    fee_group: str | None = None


@dataclass(frozen=True, slots=True)
class Fee:
    """One entry of the schedule. What is empty stands for all.

    ``symbol`` and ``carrier`` are never both given, nor ``party_kind`` and ``party_group``.
    """

    effective_from: datetime
    basis_points: int
    minimum_minor: int
    party_kind: str | None = None
    carrier: str | None = None
    symbol: str | None = None
    party_group: str | None = None

    def covers(self, seller: Seller, *, carrier: str | None, symbol: str) -> bool:
        """Whether the entry is about a sale of this seller in this instrument."""
        return (
            self.party_kind in {None, seller.kind}
            and self.party_group in {None, seller.fee_group}
            and (self.carrier is None or self.carrier == carrier)
            and self.symbol in {None, symbol}
        )

    @property
    def precedence(self) -> tuple[bool, bool, bool, bool, datetime]:
        """The greater wins: an instrument's, then a carrier's, then a named group's, then a kind's, then the newer."""
        of_parties = self.party_group is not None, self.party_kind is not None
        return self.symbol is not None, self.carrier is not None, *of_parties, self.effective_from


def terms_in_force(
    fees: Iterable[Fee], at: datetime, seller: Seller, *, carrier: str | None, symbol: str
) -> FeeTerms | None:
    """The fee of a sale at a moment; none when the instrument's own fee applies."""
    known = [fee for fee in fees if fee.effective_from <= at and fee.covers(seller, carrier=carrier, symbol=symbol)]
    if not known:
        return None
    best = max(known, key=lambda fee: fee.precedence)
    return FeeTerms(best.basis_points, best.minimum_minor)


async def schedule(session: AsyncSession) -> list[Fee]:
    """The whole schedule, also what is over and what is to come."""
    return [_fee(row) for row in await session.scalars(select(FeeRow).order_by(FeeRow.id))]


_SCOPE = (FeeRow.party_kind, FeeRow.party_group, FeeRow.carrier, FeeRow.symbol)
_NEWEST = (
    select(FeeRow)
    .ext(distinct_on(*_SCOPE))
    .where(FeeRow.effective_from <= bindparam("at"))
    .order_by(*_SCOPE, FeeRow.effective_from.desc())
)


async def in_force(session: AsyncSession, at: datetime) -> list[Fee]:
    """Of each scope the entry that holds at a moment: as many rows, however often the schedule was changed."""
    return [_fee(row) for row in await session.scalars(_NEWEST, {"at": at})]


async def seller_terms(
    session: AsyncSession, at: datetime, seller: Seller, *, carrier: str | None, symbol: str
) -> FeeTerms | None:
    """What a seller pays when it sells in an instrument; none when the instrument's own fee applies."""
    return terms_in_force(await in_force(session, at), at, seller, carrier=carrier, symbol=symbol)


def _fee(row: FeeRow) -> Fee:
    scope = row.party_kind, row.carrier, row.symbol, row.party_group
    return Fee(row.effective_from, row.basis_points, row.minimum_minor, *scope)
