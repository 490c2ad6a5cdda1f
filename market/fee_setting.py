"""Setting fees from a TOML file: checked as a whole, shown first if wanted, and in force from its date on."""

import asyncio
import tomllib
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from market import audit
from market.database import connect, sessions
from market.fee_tables import FeeRow
from market.fees import GROUP, KINDS, Fee
from market.pricing import BASIS, fee_minor
from market.refusals import BadInput
from market.settings import Settings
from market.tables import InstrumentRow
from settlement.ledger_tables import AssetRow


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"effective_from": "from"}):
    """A `[[fee]]` table."""

    effective_from: Annotated[datetime, msgspec.Meta(tz=True)]
    basis_points: Annotated[int, msgspec.Meta(ge=0, lt=BASIS)]
    minimum_minor: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 1
    group: Annotated[str, msgspec.Meta(pattern=GROUP)] | None = None
    carrier: str | None = None
    symbol: str | None = None


class Programme(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    fee: Annotated[list[Entry], msgspec.Meta(min_length=1, max_length=1000)]


def read(text: str) -> list[Fee]:
    """The fees of a TOML text.

    Raises:
        BadInput: saying what is wrong with it.
    """
    try:
        entries = msgspec.convert(tomllib.loads(text), Programme).fee
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise BadInput(f"The fees can't be read: {error}") from error
    for entry in entries:
        if entry.carrier is not None and entry.symbol is not None:
            raise BadInput("A fee is for a carrier or for an instrument, not for both.")
    return [_fee(entry) for entry in entries]


def _fee(entry: Entry) -> Fee:
    kind, named = (entry.group, None) if entry.group in KINDS else (None, entry.group)
    scope = kind, entry.carrier, entry.symbol, named
    return Fee(entry.effective_from, entry.basis_points, entry.minimum_minor, *scope)


def set_fees(settings: Settings, text: str, *, dry_run: bool) -> str:
    """Put the fees of a TOML text into the schedule, or only say what would come of it."""
    return asyncio.run(_set(settings, read(text), dry_run=dry_run))


async def _set(settings: Settings, fees: list[Fee], *, dry_run: bool) -> str:
    engine = connect(settings.database_url, pool_size=2)
    try:
        async with sessions(engine).begin() as session:
            return await add(session, fees, datetime.now(UTC), dry_run=dry_run)
    finally:
        await engine.dispose()


async def add(session: AsyncSession, fees: list[Fee], now: datetime, *, dry_run: bool = False) -> str:
    """Add fees to the schedule; those that stand in it already change nothing. Orders that are open keep theirs.

    Raises:
        BadInput: one begins in the past, names nothing that is listed, or would take all of the lowest price.
    """
    lines: list[str] = []
    set_now: list[tuple[int, Fee]] = []
    for fee in fees:
        lines.append(await _describe(session, fee))
        if dry_run:
            continue
        values = {name: getattr(fee, name) for name in Fee.__dataclass_fields__}
        added = insert(FeeRow).values(values).on_conflict_do_nothing().returning(FeeRow.id)
        made = await session.scalar(added)
        if made is None:
            await _check_same(session, fee)
            continue
        if fee.effective_from < now:
            raise BadInput("A fee can't begin in the past.")
        set_now.append((made, fee))
    for number, fee in set_now:
        detail: audit.Detail = {"basis_points": fee.basis_points, "minimum_minor": fee.minimum_minor}
        await audit.append(session, "operator", "set_fee", f"fee:{number}", detail)
    return "\n".join(lines)


async def _check_same(session: AsyncSession, fee: Fee) -> None:
    """What stands in the schedule is never changed: orders were placed by it."""
    row = await session.scalar(
        select(FeeRow).where(
            FeeRow.effective_from == fee.effective_from,
            FeeRow.party_kind.is_not_distinct_from(fee.party_kind),
            FeeRow.party_group.is_not_distinct_from(fee.party_group),
            FeeRow.carrier.is_not_distinct_from(fee.carrier),
            FeeRow.symbol.is_not_distinct_from(fee.symbol),
        )
    )
    if row is None or (row.basis_points, row.minimum_minor) != (fee.basis_points, fee.minimum_minor):
        raise BadInput("There is another fee for the same parties, instruments and moment. Give it a later moment.")


async def _describe(session: AsyncSession, fee: Fee) -> str:
    query = select(InstrumentRow.symbol, InstrumentRow.floor_minor).join(
        AssetRow, AssetRow.id == InstrumentRow.asset_id
    )
    query = query.where(InstrumentRow.state != "closed")
    if fee.symbol is not None:
        query = query.where(InstrumentRow.symbol == fee.symbol)
    if fee.carrier is not None:
        query = query.where(AssetRow.carrier == fee.carrier)
    covered = list(await session.execute(query))
    where = fee.symbol or fee.carrier or "all instruments"
    if not covered:
        raise BadInput(f"Nothing is listed for {where}.")
    for symbol, floor_minor in covered:
        if fee_minor(floor_minor, basis_points=fee.basis_points, minimum_minor=fee.minimum_minor) >= floor_minor:
            raise BadInput(f"At the lowest price of {symbol}, {floor_minor}, this fee would leave the seller nothing.")
    share = f"{fee.basis_points // 100}.{fee.basis_points % 100:02d} %, at least {fee.minimum_minor}"
    who = fee.party_group or fee.party_kind or "everybody"
    return f"{fee.effective_from.isoformat()}  {who}  {where} ({len(covered)}): {share}"
