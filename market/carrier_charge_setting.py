"""Setting carriers' charges from a TOML file: checked as a whole, shown first if wanted, in force from its date on."""

import asyncio
import tomllib
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from market import audit, fees
from market.carrier_charge_tables import CarrierChargeRow
from market.database import connect, sessions
from market.pricing import charge_minor, fee_minor
from market.refusals import BadInput
from market.settings import Settings
from market.tables import InstrumentRow
from settlement.ledger_tables import AssetRow

LARGEST_MINOR = 100_000


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A step: from so many MB on, one delivery costs so much."""

    minor: Annotated[int, msgspec.Meta(ge=0, le=LARGEST_MINOR)]
    from_mb: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = 0


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"effective_from": "from"}):
    """A `[[charge]]` table: flat with `minor`, or with `steps` by the size of a delivery."""

    effective_from: Annotated[datetime, msgspec.Meta(tz=True)]
    carrier: str
    minor: Annotated[int, msgspec.Meta(ge=0, le=LARGEST_MINOR)] | None = None
    steps: Annotated[list[Step], msgspec.Meta(min_length=1, max_length=20)] | None = None

    @property
    def kept(self) -> str:
        """The steps as orders keep them, from the smallest size up."""
        steps = self.steps or [Step(self.minor or 0)]
        return " ".join(f"{step.from_mb}:{step.minor}" for step in sorted(steps, key=lambda step: step.from_mb))


class Programme(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    charge: Annotated[list[Entry], msgspec.Meta(min_length=1, max_length=1000)]


def read(text: str) -> list[Entry]:
    """The charges of a TOML text.

    Raises:
        BadInput: saying what is wrong with it.
    """
    try:
        entries = msgspec.convert(tomllib.loads(text), Programme).charge
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise BadInput(f"The charges can't be read: {error}") from error
    for entry in entries:
        if (entry.minor is None) == (entry.steps is None):
            raise BadInput("A charge is either flat or in steps: give `minor` or `steps`.")
        sizes = [step.from_mb for step in entry.steps or ()]
        if len(set(sizes)) < len(sizes):
            raise BadInput("Two steps begin at the same size.")
    return entries


def set_charges(settings: Settings, text: str, *, dry_run: bool) -> str:
    """Put the charges of a TOML text in force from their dates on, or only say what would come of it."""
    return asyncio.run(_set(settings, read(text), dry_run=dry_run))


async def _set(settings: Settings, entries: list[Entry], *, dry_run: bool) -> str:
    engine = connect(settings.database_url, pool_size=2)
    try:
        async with sessions(engine).begin() as session:
            return await add(session, entries, datetime.now(UTC), dry_run=dry_run)
    finally:
        await engine.dispose()


async def add(session: AsyncSession, entries: list[Entry], now: datetime, *, dry_run: bool = False) -> str:
    """Add charges; those that stand already change nothing, and orders that are open keep theirs.

    Raises:
        BadInput: one begins in the past, is for a carrier without instruments, or would take all of the lowest price.
    """
    lines = []
    for entry in entries:
        lines.append(await _describe(session, entry))
        if dry_run:
            continue
        values = {"carrier": entry.carrier, "effective_from": entry.effective_from, "steps": entry.kept}
        added = insert(CarrierChargeRow).values(values).on_conflict_do_nothing().returning(CarrierChargeRow.id)
        made = await session.scalar(added)
        if made is None:
            await _check_same(session, entry)
            continue
        if entry.effective_from < now:
            raise BadInput("A charge can't begin in the past.")
        detail: audit.Detail = {"carrier": entry.carrier, "steps": entry.kept}
        await audit.append(session, "operator", "set_carrier_charge", f"carrier_charge:{made}", detail)
    return "\n".join(lines)


async def _check_same(session: AsyncSession, entry: Entry) -> None:
    """What stands is never changed: orders were placed by it."""
    known = select(CarrierChargeRow.steps).where(
        CarrierChargeRow.carrier == entry.carrier, CarrierChargeRow.effective_from == entry.effective_from
    )
    if await session.scalar(known) != entry.kept:
        raise BadInput("There is another charge for the same carrier and moment. Give it a later moment.")


async def _describe(session: AsyncSession, entry: Entry) -> str:
    """What the entry says; at the lowest price of each instrument a sale of one lot must leave its seller something."""
    covered = list(
        await session.execute(
            select(InstrumentRow, AssetRow.carrier)
            .join(AssetRow, AssetRow.id == InstrumentRow.asset_id)
            .where(InstrumentRow.state != "closed", AssetRow.carrier == entry.carrier)
        )
    )
    if not covered:
        raise BadInput(f"Nothing is listed for {entry.carrier}.")
    schedule = await fees.schedule(session)
    groups = {fee.party_group for fee in schedule} | {None}
    sellers = [fees.Seller(kind, group) for kind in fees.KINDS for group in groups]
    for row, carrier in covered:
        for seller in sellers:
            terms = fees.terms_in_force(schedule, entry.effective_from, seller, carrier=carrier, symbol=row.symbol)
            share, least = (
                (row.fee_basis_points, row.fee_minimum_minor)
                if terms is None
                else (terms.basis_points, terms.minimum_minor)
            )
            fee = fee_minor(row.floor_minor, basis_points=share, minimum_minor=least)
            charge = charge_minor(entry.kept, quantity_mb=row.lot_units, left_minor=LARGEST_MINOR * 2)
            if fee + charge + 1 > row.floor_minor:
                lowest = f"At the lowest price of {row.symbol}, {row.floor_minor}"
                raise BadInput(f"{lowest}, this charge would leave the seller nothing.")
    return f"{entry.effective_from.isoformat()}  {entry.carrier} ({len(covered)}): {entry.kept}"
