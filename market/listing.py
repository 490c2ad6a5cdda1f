"""What is traded, and by whose rules: the house is founded, instruments are listed, rule profiles take effect.

Doing it twice changes nothing; a listed instrument keeps its terms.
"""

import tomllib
from datetime import datetime
from typing import Literal

import msgspec
from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from market.assets import COIN
from market.refusals import BadInput
from market.rules import RuleProfile
from market.tables import InstrumentRow, RuleProfileRow
from settlement.ledger_tables import AssetRow

FIRST_MEMBER = 100
"""Parties below this number are the house's own."""


class Listing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One instrument with its asset. Prices are minor units a lot; ``lot_units`` are MB or coins."""

    symbol: str
    kind: Literal["data", "coin"]
    closes_at: datetime
    ceiling_minor: int
    reference_minor: int
    carrier: str | None = None
    scope: str | None = None
    app_scope: str | None = None
    expires_at: datetime | None = None
    opens_at: datetime | None = None
    lot_units: int = 100
    tick_minor: int = 1
    floor_minor: int = 2
    maximum_lots: int = 1_000
    fee_basis_points: int = 500
    fee_minimum_minor: int = 1


class Rules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A carrier's rule profile from a moment on."""

    carrier: str
    effective_from: datetime
    terms: RuleProfile


class Programme(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of what is to be listed."""

    instrument: list[Listing] = []
    rules: list[Rules] = []


def programme(content: str) -> Programme:
    """Read a TOML file of ``[[instrument]]`` and ``[[rules]]`` tables.

    Raises:
        BadInput: saying in words what is wrong with it.
    """
    try:
        read = msgspec.convert(tomllib.loads(content), Programme)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise BadInput(f"The file can't be listed: {error}.") from error
    for listing in read.instrument:
        _check(listing)
    return read


def _check(listing: Listing) -> None:
    """What the database would refuse, in words; and that a lot never outlives its data."""
    times = [listing.closes_at, listing.expires_at or listing.closes_at, listing.opens_at or listing.closes_at]
    if any(moment.tzinfo is None for moment in times):
        raise BadInput(f"{listing.symbol}: times need their zone.")
    if listing.kind == "data" and None in {listing.carrier, listing.scope, listing.expires_at}:
        raise BadInput(f"{listing.symbol}: data needs carrier, scope and expires_at.")
    if listing.expires_at is not None and listing.closes_at >= listing.expires_at:
        raise BadInput(f"{listing.symbol}: trading must close before the data expires.")
    if not 0 < listing.floor_minor <= listing.reference_minor <= listing.ceiling_minor:
        raise BadInput(f"{listing.symbol}: floor, reference and ceiling must be in this order.")


async def found(session: AsyncSession, currency: str) -> None:
    """Found the house, with its money and its coins."""
    await session.execute(
        text(
            "insert into party (id, kind, name, group_id) overriding system value "
            "values (1, 'operator', 'Surplusflow', 1) on conflict do nothing"
        )
    )
    newest = "greatest(:first, (select max(id) from party))"
    await session.execute(
        text(f"select setval(pg_get_serial_sequence('party', 'id'), {newest})"),
        {"first": FIRST_MEMBER},
    )
    await session.execute(insert(AssetRow).values(code=currency, kind="money").on_conflict_do_nothing())
    await session.execute(insert(AssetRow).values(code=COIN, kind="coin").on_conflict_do_nothing())


async def enact(session: AsyncSession, rules: Rules) -> None:
    """Let a carrier's rules take effect from their moment on."""
    values = {
        "carrier": rules.carrier,
        "effective_from": rules.effective_from,
        "terms": msgspec.to_builtins(rules.terms),
    }
    await session.execute(insert(RuleProfileRow).values(values).on_conflict_do_nothing())


async def list_instrument(session: AsyncSession, listing: Listing, currency: str, now: datetime) -> None:
    """List one instrument with its asset; one that is listed already stays as it is."""
    asset = {
        "code": listing.symbol, "kind": listing.kind, "carrier": listing.carrier, "scope": listing.scope,
        "app_scope": listing.app_scope, "expires_at": listing.expires_at,
    }  # fmt: skip
    await session.execute(insert(AssetRow).values(asset).on_conflict_do_nothing())
    asset_id = await session.scalar(select(AssetRow.id).where(AssetRow.code == listing.symbol))
    own = ("symbol", "lot_units", "tick_minor", "floor_minor", "ceiling_minor", "reference_minor", "maximum_lots",
           "fee_basis_points", "fee_minimum_minor", "closes_at")  # fmt: skip
    instrument = {name: getattr(listing, name) for name in own} | {
        "asset_id": asset_id,
        "currency": currency,
        "opens_at": listing.opens_at or now,
        "state": "open",
    }
    await session.execute(insert(InstrumentRow).values(instrument).on_conflict_do_nothing())
