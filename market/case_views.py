"""Cases as members and officers may see them."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from market.case_tables import CaseEntryRow, CaseRow
from market.cases import MOST_ENTRIES, side_of, unknown
from market.parties import Member, Officer
from market.refusals import NotFound
from market.tables import InstrumentRow, TradeRow
from settlement.ledger_tables import AssetRow

SHOWN = 100


@dataclass(frozen=True, slots=True)
class CaseView:
    """A case with its trade and what was said, as one of those concerned may see it."""

    case: CaseRow
    entries: Sequence[CaseEntryRow]
    trade: TradeRow
    currency: str
    carrier: str | None

    @property
    def price_minor(self) -> int:
        """What the buyer paid."""
        return self.trade.price_minor * self.trade.quantity


async def kept_back(session: AsyncSession, party_id: int) -> int:
    """What a seller can't withdraw while cases are open, in minor units."""
    of_buyers = (CaseRow.status == "open", CaseRow.other_id == party_id, CaseRow.opener_side == "buy")
    return int(await session.scalar(select(func.coalesce(func.sum(CaseRow.wanted_minor), 0)).where(*of_buyers)) or 0)


async def of_party(session: AsyncSession, party_id: int, before: int | None, limit: int) -> Sequence[CaseRow]:
    """The cases that a party is part of, newest first."""
    query = select(CaseRow).where(or_(CaseRow.opener_id == party_id, CaseRow.other_id == party_id))
    if before is not None:
        query = query.where(CaseRow.id < before)
    return list(await session.scalars(query.order_by(CaseRow.id.desc()).limit(limit)))


async def of_trade(session: AsyncSession, trade_id: int) -> CaseRow | None:
    """The newest case about a trade."""
    query = select(CaseRow).where(CaseRow.trade_id == trade_id).order_by(CaseRow.id.desc()).limit(1)
    row: CaseRow | None = await session.scalar(query)
    return row


async def of_officer(session: AsyncSession, officer: Officer, *, ended: bool, limit: int = SHOWN) -> Sequence[CaseView]:
    """Cases for an officer, those that must be decided first on top; one of a carrier sees that carrier's alone."""
    query = _views().where((CaseRow.status != "open") if ended else (CaseRow.status == "open"))
    if officer.carrier is not None:
        query = query.where(AssetRow.carrier == officer.carrier)
    order = CaseRow.ended_at.desc() if ended else CaseRow.decide_by
    rows = await session.execute(query.order_by(order).limit(limit))
    return [CaseView(case, (), trade, currency, carrier) for case, trade, currency, carrier in rows]


async def view(session: AsyncSession, case_id: int) -> CaseView:
    """One case with all that was said. The caller checks who may see it.

    Raises:
        NotFound: there is no such case.
    """
    row = (await session.execute(_views().where(CaseRow.id == case_id))).one_or_none()
    if row is None:
        raise unknown()
    said = select(CaseEntryRow).where(CaseEntryRow.case_id == case_id).order_by(CaseEntryRow.id).limit(MOST_ENTRIES)
    return CaseView(row[0], list(await session.scalars(said)), row[1], row[2], row[3])


async def own(session: AsyncSession, member: Member, case_id: int) -> tuple[CaseView, str]:
    """A case that the member is part of, and which side the member is.

    Raises:
        NotFound: there is none.
    """
    found = await view(session, case_id)
    return found, side_of(found.case, member)


async def file_of(session: AsyncSession, case_id: int, entry_id: int, author: str | None) -> tuple[str, str, bytes]:
    """Name, media type and content of a file; ``author`` is the only side whose files may be seen.

    Raises:
        NotFound: there is none.
    """
    query = select(CaseEntryRow.file_name, CaseEntryRow.file_type, CaseEntryRow.file).where(
        CaseEntryRow.id == entry_id, CaseEntryRow.case_id == case_id, CaseEntryRow.file.is_not(None)
    )
    if author is not None:
        query = query.where(CaseEntryRow.author == author)
    row = (await session.execute(query)).one_or_none()
    if row is None:
        raise NotFound("There is no such file.")
    return row.file_name, row.file_type, row.file


def _views() -> Select[CaseRow, TradeRow, str, str | None]:
    return (
        select(CaseRow, TradeRow, InstrumentRow.currency, AssetRow.carrier)
        .join(TradeRow, TradeRow.id == CaseRow.trade_id)
        .join(InstrumentRow, InstrumentRow.id == TradeRow.instrument_id)
        .join(AssetRow, AssetRow.id == InstrumentRow.asset_id)
    )
