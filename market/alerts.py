"""Alerts: a price that a member waits for, data that is running out, data that is about to expire. Each fires once."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from market.alert_tables import AlertSettingRow, PriceAlertRow
from market.announcing import announce
from market.engine.commands import party_channel
from market.parties import Member
from market.purses import lock_party
from market.refusals import BadInput, NotAllowed, NotFound
from market.resting import IS_SEEN
from market.rounds import Rounds, beside
from market.tables import InstrumentRow, LineRow
from market.venue import Venue
from settlement.carriers.errors import CarrierError
from settlement.carriers.values import Bucket
from settlement.notices import tell

log = structlog.get_logger()

MOST_ALERTS = 20
"""Prices that one party may wait for at a time."""
MARKS = (100, 80, 50)
"""Percent of a plan's data that is gone."""
EXPIRES_WITHIN = timedelta(days=3)
WORTH_MB = 100
"""What expires is told from one lot on."""
LOOK_SECONDS = 5.0
ASK_SECONDS = 60.0
ASKED_EVERY = timedelta(hours=1)
LIVELY = timedelta(days=60)
"""Lines that nobody has signed in with for longer are not asked about."""
BATCH = 50


@dataclass(frozen=True, slots=True)
class Setting:
    """What a party wants to be told; the hours are those of the carriers' clock."""

    usage: bool = True
    expiry: bool = True
    texts: bool = False
    quiet_from: int = 22
    quiet_until: int = 8


@dataclass(frozen=True, slots=True)
class PriceAlert:
    """A price that is waited for, with its instrument."""

    id: int
    symbol: str
    direction: str
    price_minor: int
    currency: str


# What members set.


async def setting_of(session: AsyncSession, party_id: int) -> Setting:
    """A party's setting; the usual one when nothing was ever set."""
    row = await session.get(AlertSettingRow, party_id)
    return Setting() if row is None else Setting(row.usage, row.expiry, row.texts, row.quiet_from, row.quiet_until)


async def change(session: AsyncSession, member: Member, wanted: Setting) -> None:
    """Set what a member is told. The caller commits.

    Raises:
        BadInput: an hour is none.
    """
    hours = range(24)
    for name, hour in (("quiet_from", wanted.quiet_from), ("quiet_until", wanted.quiet_until)):
        if hour not in hours:
            raise BadInput("Please choose an hour from 0 to 23.", field=name)
    values = {name: getattr(wanted, name) for name in ("usage", "expiry", "texts", "quiet_from", "quiet_until")}
    made = insert(AlertSettingRow).values(party_id=member.party_id, **values)
    await session.execute(made.on_conflict_do_update(index_elements=["party_id"], set_=values))


async def wait_for(session: AsyncSession, member: Member, symbol: str, direction: str, price_minor: int) -> None:
    """Wait for a price; the same wish twice is one. The caller commits.

    Raises:
        NotFound: there is no such instrument.
        BadInput: the price can't come about there, or falls and rises are meant otherwise.
        NotAllowed: the member waits for too many prices.
    """
    if direction not in {"falls", "rises"}:
        raise BadInput("Please choose whether the price falls or rises.", field="direction")
    instrument = await session.scalar(select(InstrumentRow).where(InstrumentRow.symbol == symbol))
    if instrument is None or instrument.state == "closed":
        raise NotFound("There is no instrument of that name.")
    if not instrument.floor_minor <= price_minor <= instrument.ceiling_minor:
        raise BadInput("No order can have this price here.", field="price")
    await lock_party(session, member)
    mine = select(PriceAlertRow).where(PriceAlertRow.party_id == member.party_id, PriceAlertRow.state == "open")
    waiting = list(await session.scalars(mine))
    wish = (instrument.id, direction, price_minor)
    if any((each.instrument_id, each.direction, each.price_minor) == wish for each in waiting):
        return
    if len(waiting) >= MOST_ALERTS:
        raise NotAllowed(f"You wait for {MOST_ALERTS} prices already. Please remove one first.")
    session.add(
        PriceAlertRow(
            party_id=member.party_id,
            instrument_id=instrument.id,
            direction=direction,
            price_minor=price_minor,
            fired_at=None,
        )
    )


async def remove(session: AsyncSession, member: Member, alert_id: int) -> None:
    """Wait no longer; removing twice is as good as once. The caller commits."""
    await session.execute(
        update(PriceAlertRow)
        .where(PriceAlertRow.id == alert_id, PriceAlertRow.party_id == member.party_id, PriceAlertRow.state == "open")
        .values(state="removed")
    )


async def waiting(session: AsyncSession, party_id: int) -> Sequence[PriceAlert]:
    """The prices that a party waits for."""
    query = (
        select(
            PriceAlertRow.id,
            InstrumentRow.symbol,
            PriceAlertRow.direction,
            PriceAlertRow.price_minor,
            InstrumentRow.currency,
        )
        .join(InstrumentRow, InstrumentRow.id == PriceAlertRow.instrument_id)
        .where(PriceAlertRow.party_id == party_id, PriceAlertRow.state == "open")
        .order_by(PriceAlertRow.id)
    )
    return [PriceAlert(*row) for row in await session.execute(query)]


# Firing.

# An offer of the member's own does not count; whoever waits for a closed market waits no longer.
_REACHED = text(
    f"""
with reached as (
    select alert.id, alert.party_id, alert.direction, alert.price_minor, instrument.symbol, best.price_minor as best
    from price_alert alert join instrument on instrument.id = alert.instrument_id
    cross join lateral (
        select o.price_minor from open_order o
        where o.instrument_id = alert.instrument_id and o.party_id <> alert.party_id and {IS_SEEN}
            and (case alert.direction when 'falls' then o.side = 2 and o.price_minor <= alert.price_minor
                 else o.side = 1 and o.price_minor >= alert.price_minor end)
        order by case alert.direction when 'falls' then o.price_minor else -o.price_minor end limit 1
    ) best
    where alert.state = 'open' and instrument.state = 'open'
    order by alert.id limit :limit for update of alert skip locked
), fired as (
    update price_alert set state = 'fired', fired_at = now() from reached where price_alert.id = reached.id
)
insert into notice (party_id, kind, about, facts, once, text_state)
select party_id, case direction when 'falls' then 'price_fell' else 'price_rose' end, '/instruments/' || symbol,
    jsonb_build_object('symbol', symbol, 'price_minor', price_minor, 'best_minor', best), 'price-' || id, 'due'
from reached on conflict do nothing returning party_id
"""  # noqa: S608 - the fragment is our own
)
_OVER = text("""
update price_alert set state = 'over' from instrument
where instrument.id = instrument_id and price_alert.state = 'open' and instrument.state = 'closed'
""")


async def fire(venue: Venue) -> int:
    """Tell all who wait for a price that has come; says how many."""
    async with venue.sessions.begin() as session:
        told = list(await session.scalars(_REACHED, {"limit": 500}))
        await session.execute(_OVER)
    await announce(venue.redis, *map(party_channel, sorted(set(told))))
    return len(told)


@dataclass(frozen=True, slots=True)
class Warned:
    """Something to tell of a line's data, and the name under which it is told once."""

    kind: str
    once: str
    left_mb: int
    percent: int | None = None
    expires_at: str | None = None


def warnings(
    line_id: int, base_mb: int, buckets: Iterable[Bucket], setting: Setting, now: datetime
) -> Sequence[Warned]:
    """What there is to tell of a line's data. Only the highest mark that is passed counts."""
    own = [each for each in buckets if each.transferable and each.expires_at > now and each.app_scope is None]
    found: list[Warned] = []
    if setting.usage and base_mb > 0 and own:
        first = min(each.expires_at for each in own)
        left = sum(each.remaining_mb + each.reserved_mb for each in own if each.expires_at == first)
        gone = max(0, base_mb - left) * 100 // base_mb
        mark = next((each for each in MARKS if gone >= each), None)
        if mark is not None:
            once = f"usage-{line_id}-{first:%Y%m%d}-{mark}"
            found.append(Warned("usage", once, left, mark, first.isoformat()))
    for each in own if setting.expiry else ():
        if each.remaining_mb >= WORTH_MB and each.expires_at - now <= EXPIRES_WITHIN:
            once = f"expiry-{line_id}-{each.id}"
            found.append(Warned("expires_soon", once, each.remaining_mb, None, each.expires_at.isoformat()))
    return found


_DUE = (
    select(LineRow)
    .where(
        LineRow.state == "active",
        LineRow.verified_at > func.now() - LIVELY,
        (LineRow.looked_at.is_(None)) | (LineRow.looked_at < func.now() - ASKED_EVERY),
    )
    .order_by(LineRow.looked_at.nulls_first(), LineRow.id)
    .limit(BATCH)
    .with_for_update(skip_locked=True)
)


async def look(venue: Venue, now: datetime) -> int:
    """Ask the carriers about the lines whose turn it is, and tell what there is to tell; says how many heard of it."""
    async with venue.sessions.begin() as session:
        lines = list(await session.scalars(_DUE))
        asked = update(LineRow).where(LineRow.id.in_([line.id for line in lines]))
        await session.execute(asked.values(looked_at=func.now()))
    told = set()
    for line in lines:
        if await _warn(venue, line, now):
            told.add(line.party_id)
    await announce(venue.redis, *map(party_channel, sorted(told)))
    return len(told)


async def _warn(venue: Venue, line: LineRow, now: datetime) -> bool:
    """Tell what there is to tell of one line; says whether any of it was news."""
    port = venue.carriers.get(line.carrier)
    if port is None:
        return False
    try:
        buckets = await port.buckets(venue.vault.open(line.number_sealed))
    except CarrierError as error:
        log.info("line_not_looked_at", line=line.id, error=type(error).__name__)
        return False
    async with venue.sessions.begin() as session:
        setting = await setting_of(session, line.party_id)
        news = [
            await tell(
                session, line.party_id, each.kind, "/", once=each.once, texted=True,
                left_mb=each.left_mb, percent=each.percent, expires_at=each.expires_at,
            )
            for each in warnings(line.id, line.base_mb, buckets, setting, now)
        ]  # fmt: skip
    return any(news)


def watching(venue: Venue) -> AbstractAsyncContextManager[None]:
    """Watch prices and lines beside whatever else a program does."""
    return beside(
        venue,
        Rounds("price alerts", fire, LOOK_SECONDS),
        Rounds("data alerts", lambda venue: look(venue, datetime.now(UTC)), ASK_SECONDS),
    )
