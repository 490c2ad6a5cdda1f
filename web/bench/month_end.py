"""The end of a month: how soon all open asks of three carriers are ended, and given back at the carriers and here.

The real programs: scheduler, engine, settlement, and simulated carriers that take 20 ms for each answer.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any

import httpx

from market.database import connect, sessions
from market.engine.commands import ExpireOrders
from market.engine.desk import NUMBERS
from market.gateway import Gateway
from market.refusals import Refusal
from market.vault import Vault
from settlement.accounts import HOUSE
from settlement.carriers.values import CarrierProfile
from settlement.naming import external_id
from web.bench.settlement import _Place, _place, _program

ASKS = 20_000
GOAL_ASKS = 200_000
LOADED_AT_ONCE = 10_000
QUANTITY_MB = 100
FIRST_ASSET = 11
"""The data of the first carrier, as the measure of settlement numbers it."""
START_SECONDS = 120
LONGEST_SECONDS = 3_600
LOOK_SECONDS = 1.0
"""Each look reads the tables whole, so it is a rare one."""

_INSTRUMENT = """
insert into instrument (id, symbol, asset_id, currency, lot_units, tick_minor, floor_minor, ceiling_minor,
    reference_minor, maximum_lots, fee_basis_points, fee_minimum_minor, opens_at, closes_at) overriding system value
values ($1::bigint, 'MONTH-' || $1::bigint, $1::bigint, 'CNY', 100, 1, 2, 1000, 300, 1000, 500, 1, '2020-01-01',
    '2100-01-01')
"""
_ASKS = f"""
with asked as (select * from unnest($3::bigint[], $4::text[]) as asked (id, reservation_id)
), party as (
    insert into party (id, kind, name, group_id) overriding system value
    select id, 'subscriber', 'Member', id from asked
), line as (
    insert into line (id, party_id, carrier, province, plan, base_mb, number_hash, number_sealed)
    overriding system value select id, id, $1, 'GD', 'prepaid', 1000, int8send(id), $6 from asked
), account as (
    insert into account (id, party_id, asset_id, kind, reference, held) overriding system value
    select id, id, $2, 'custody', 'bench', {QUANTITY_MB} from asked
), custody as (
    insert into custody (id, party_id, key, line_id, account_id, carrier, bucket_id, quantity_mb, status,
        reservation_id, expires_at) overriding system value
    select id, id, 'bench', id, id, $1, 'bucket', {QUANTITY_MB}, 'reserved', reservation_id, $5 from asked
)
insert into open_order (id, instrument_id, party_id, group_id, side, price_minor, quantity, open, time_in_force, market,
    post_only, self_trade, fee_basis_points, fee_minimum_minor, account_id, proceeds_account_id, line_id, custody_id,
    version, priority, created_at, updated_at)
select -id * {NUMBERS}, $2, id, id, 2, 300 + id % 100, 1, 1, 'gtc', false, false, 'cancel_newest', 500, 1, id, id, id,
    id, 1, -id * {NUMBERS}, now(), now() from asked
"""  # noqa: S608 - our own figures
_STAND = """
select (select count(*) from open_order) as open,
    (select count(*) from custody where status <> 'released') as kept
"""


async def run(asks: int = ASKS) -> tuple[dict[str, Any], dict[str, float]]:
    """Load the asks, close their markets, and wait until nothing of them is left anywhere."""
    async with _place() as place:
        for asset, profile in enumerate(place.profiles, start=FIRST_ASSET):
            await place.connection.execute(_INSTRUMENT, asset)
            await _load(place, profile, asset, asks // len(place.profiles))
        await place.connection.execute("analyze")
        with (
            _program(["engine", "--shard", "0/1"], place.environment),
            _program(["settle"], place.environment),
            _program(["schedule"], place.environment),
        ):
            await _until_served(place)
            ended_seconds, released_seconds = await _close(place)
        left_mb = [await _reserved_mb(profile) for profile in place.profiles]
    made = asks // len(place.profiles) * len(place.profiles)
    rate = made / released_seconds
    figures = {
        "asks": made,
        "orders_ended_seconds": round(ended_seconds, 1),
        "released_seconds": round(released_seconds, 1),
        "released_per_second": round(rate),
        f"minutes_for_{GOAL_ASKS}_extrapolated": round(GOAL_ASKS / rate / 60, 1),
        "left_reserved_mb": sum(left_mb),
    }
    return figures, {}


async def _load(place: _Place, profile: CarrierProfile, asset: int, number: int) -> None:
    """Lines, reservations and asks of one carrier: set aside there, held here, resting in the book."""
    first = asset * 10_000_000
    expires_at = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
    sealed = Vault(place.environment["SURPLUSFLOW_SECRET_KEY"]).seal("+8613000000000")  # nobody calls it
    headers = {"Authorization": f"Bearer {profile.credential}"}
    async with httpx.AsyncClient(base_url=profile.base_url, timeout=120, headers=headers, trust_env=False) as client:
        for start in range(first, first + number, LOADED_AT_ONCE):
            ids = range(start, min(start + LOADED_AT_ONCE, first + number))
            lines = [_line(one, expires_at) for one in ids]
            (await client.post("/admin/lines", json={"lines": lines})).raise_for_status()
            names = {external_id(place.mark, "reserve", one): one for one in ids}
            wanted = [
                {"msisdn": _number(one), "amount_mb": QUANTITY_MB, "external_id": name} for name, one in names.items()
            ]
            answer = await client.post("/admin/reservations", json={"reservations": wanted})
            answer.raise_for_status()
            made: dict[str, str] = answer.json()["reservations"]
            rows = [(names[name], reservation) for name, reservation in made.items()]
            columns = [one for one, _ in rows], [reservation for _, reservation in rows]
            await place.connection.execute(_ASKS, profile.code, asset, *columns, expires_at, sealed)


async def _until_served(place: _Place) -> None:
    """Wait until the engine answers for each market, its books loaded."""
    engine = connect(place.at.database_url)
    async with asyncio.timeout(START_SECONDS), Gateway(place.redis, sessions(engine), 1) as gateway:
        for asset, _ in enumerate(place.profiles, start=FIRST_ASSET):
            while not await _answers(gateway, asset):  # noqa: ASYNC110 - an engine tells nobody when it is ready
                await asyncio.sleep(LOOK_SECONDS)
    await engine.dispose()


async def _answers(gateway: Gateway, instrument_id: int) -> bool:
    try:
        return (await gateway.submit(ExpireOrders(HOUSE, f"ready-{instrument_id}", b"", instrument_id))).accepted
    except Refusal:
        return False


async def _close(place: _Place) -> tuple[float, float]:
    """Seconds from the close of all markets until no order is open, and until nothing is set aside any more."""
    started, ended_seconds = perf_counter(), 0.0
    await place.connection.execute("update instrument set closes_at = now() where id >= $1", FIRST_ASSET)
    async with asyncio.timeout(LONGEST_SECONDS):
        while True:
            stand = await place.connection.fetchrow(_STAND)
            if not stand["open"] and not ended_seconds:
                ended_seconds = perf_counter() - started
            if not stand["kept"]:
                return ended_seconds, perf_counter() - started
            await asyncio.sleep(LOOK_SECONDS)


async def _reserved_mb(profile: CarrierProfile) -> int:
    """What the carrier itself still holds for anybody."""
    headers = {"Authorization": f"Bearer {profile.credential}"}
    async with httpx.AsyncClient(trust_env=False, headers=headers) as client:
        answer = await client.get(f"{profile.base_url}/admin/totals")
    answer.raise_for_status()
    found: int = answer.json()["reserved_mb"]
    return found


def _number(ask: int) -> str:
    """A number that chooses no fault by its last digits."""
    return f"+861{300_000_000 + ask}0"


def _line(ask: int, expires_at: datetime) -> dict[str, Any]:
    bucket = {
        "scope": "CN",
        "expires_at": expires_at.isoformat(),
        "remaining_mb": QUANTITY_MB,
        "total_mb": QUANTITY_MB,
        "transferable": True,
    }
    return {
        "msisdn": _number(ask),
        "name": "测试",
        "id_document": "440101199001011234",
        "plan_name": "59",
        "payment": "prepaid",
        "province": "GD",
        "buckets": [bucket],
    }
