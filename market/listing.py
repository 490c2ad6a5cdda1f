"""What is traded, and by whose rules: the house is founded, instruments are listed, rule profiles take effect.

Doing it twice changes nothing; a listed instrument keeps its terms.
"""

import tomllib
from datetime import UTC, datetime
from typing import Literal

import msgspec
from sqlalchemy import exists, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from market.assets import COIN
from market.pricing import BASIS, fee_minor
from market.refusals import BadInput
from market.rules import RuleProfile
from market.sessions import COLLECTS_FOR, Session, add_plan, check_plan, closing, opening
from market.tables import InstrumentRow, RuleProfileRow
from settlement.ledger_tables import AssetRow

FIRST_MEMBER = 100
"""Parties below this number are the house's own."""
MOST_CLOSING_DAYS = 28
EVER = datetime(1970, 1, 1, tzinfo=UTC)
"""Before every session: a plan that is checked is checked as a whole."""


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
    band_basis_points: int = 1_000
    """How far a trade may be from the last price, in hundredths of a percent; 0 for no dynamic band."""
    pre_opens_at: datetime | None = None
    """From here on orders are collected for the opening auction."""
    closing_days: int = 3
    """On how many of the last days a closing auction is held. Coins never expire and have none."""
    session: list[Session] = []
    """Sessions in place of the usual ones of their kind."""

    def plan(self, now: datetime) -> list[Session]:
        """Its sessions in the order of time, without those that are over."""
        named = {kind: [each for each in self.session if each.kind == kind] for kind in COLLECTS_FOR}
        if self.opens_at is None or self.opens_at <= now:
            named["opening"] = []
        elif not named["opening"]:
            named["opening"] = [opening(self.opens_at, self.pre_opens_at)]
        if not named["closing"] and self.kind == "data":
            first = named["opening"][0].over_at if named["opening"] else now
            usual = closing(self.closes_at, self.closing_days)
            named["closing"] = [each for each in usual if each.begins_at >= first]
        every = sorted([*named["opening"], *named["closing"]], key=lambda each: each.begins_at)
        return [each for each in every if each.over_at > now]


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
    _check_bands(listing)
    _check_sessions(listing)


def _check_bands(listing: Listing) -> None:
    if not 0 <= listing.fee_basis_points < BASIS or listing.fee_minimum_minor < 0:
        raise BadInput(f"{listing.symbol}: the fee is 0 to {BASIS - 1} basis points, and its minimum not below 0.")
    least = _least_floor(listing)
    if listing.floor_minor < least:
        raise BadInput(f"{listing.symbol}: the floor must be the least fee and 1 more, {least}: nobody pays to sell.")
    if not 0 <= listing.band_basis_points <= BASIS:
        raise BadInput(f"{listing.symbol}: the dynamic band is 1 to {BASIS} basis points, or 0 for none.")


def _check_sessions(listing: Listing) -> None:
    if not 0 <= listing.closing_days <= MOST_CLOSING_DAYS:
        raise BadInput(f"{listing.symbol}: closing_days is 0 to {MOST_CLOSING_DAYS}.")
    if listing.opens_at is not None and listing.opens_at >= listing.closes_at:
        raise BadInput(f"{listing.symbol}: it must open before it closes.")
    try:
        check_plan(listing.plan(EVER), listing.opens_at, listing.closes_at)
    except BadInput as refusal:
        raise BadInput(f"{listing.symbol}: {refusal.detail}") from refusal


def _least_floor(listing: Listing) -> int:
    """The lowest price of a lot that leaves its seller something.

    Above the least fee a fee grows slower than its price, so what holds here holds at any higher price.
    """
    price = listing.fee_minimum_minor + 1
    while fee_minor(price, basis_points=listing.fee_basis_points, minimum_minor=listing.fee_minimum_minor) >= price:
        price += 1
    return price


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
    """List one instrument with its asset and its plan; one that is listed already stays as it is.

    It is halted until orders are collected for its opening auction. Without one it is open at once, unless
    the switch for the whole market is thrown: it then opens, by an auction, when that is let go.
    """
    asset = {
        "code": listing.symbol, "kind": listing.kind, "carrier": listing.carrier, "scope": listing.scope,
        "app_scope": listing.app_scope, "expires_at": listing.expires_at,
    }  # fmt: skip
    await session.execute(insert(AssetRow).values(asset).on_conflict_do_nothing())
    asset_id = await session.scalar(select(AssetRow.id).where(AssetRow.code == listing.symbol))
    own = ("symbol", "lot_units", "tick_minor", "floor_minor", "ceiling_minor", "reference_minor", "maximum_lots",
           "fee_basis_points", "fee_minimum_minor", "closes_at")  # fmt: skip
    plan = listing.plan(now)
    if all(each.kind != "opening" for each in plan) and await _is_switched_off(session):
        plan = [opening(now, None), *(each for each in plan if each.begins_at > now)]
    state = "halted" if plan and plan[0].kind == "opening" else "open"
    instrument = {name: getattr(listing, name) for name in own} | {
        "asset_id": asset_id,
        "currency": currency,
        "opens_at": listing.opens_at or now,
        "state": state,
        "listed_state": state,
        "band_basis_points": listing.band_basis_points or None,
    }
    added = insert(InstrumentRow).values(instrument).on_conflict_do_nothing().returning(InstrumentRow.id)
    instrument_id = await session.scalar(added)
    if instrument_id is not None:
        add_plan(session, instrument_id, plan)
        await session.flush()


async def _is_switched_off(session: AsyncSession) -> bool:
    return await session.scalar(select(exists().where(InstrumentRow.stopped_by == "switch"))) or False
