"""A real cluster of three servers carries commands, answers and the feed of two engines, and may lose a server."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.crc import key_slot
from redis.exceptions import RedisError

from market import gateway, limits, tickets
from market.announcing import announce
from market.engine.commands import decode_book, market_channel, party_channel, stream_of
from market.limits import Limit
from market.moving import move_unit
from market.transport import open_redis
from market.vault import Vault
from tests.engine.factories import Floor
from tests.shards.cluster import Cluster, running_cluster
from tests.shards.making import COIN, DATA, engines, judged, open_wide_floor, seat, shard_in_table, trading_crowds

pytestmark = pytest.mark.timeout(180)
HEARD_SECONDS = 10
NOBODY = "redis+cluster://127.0.0.1:1,127.0.0.1:2"


@pytest.fixture(autouse=True)
def _hasty_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "ANSWER_SECONDS", 2.0)


@pytest.fixture
def cluster(server_directory: Path, tmp_path: Path) -> Iterator[Cluster]:
    with running_cluster(server_directory / f"cluster-{tmp_path.name}") as cluster:
        yield cluster


@pytest.fixture
async def floor(url: str, cluster: Cluster) -> AsyncIterator[Floor]:
    async with open_wide_floor(url, cluster.url, shards=2) as floor:
        await seat(floor, COIN=0, CMCC=1)
        yield floor


def _slot(shard: int) -> int:
    return int(key_slot(stream_of(shard).encode()))


async def test_orders_go_through_both_shards_and_a_unit_moves_while_they_flow(floor: Floor, cluster: Cluster) -> None:
    assert cluster.number_of(_slot(0)) != cluster.number_of(_slot(1))
    async with engines(floor), trading_crowds(floor) as crowds:
        for shard in (1, 0):
            for crowd in crowds:
                await crowd.hear(30)
            assert await move_unit(floor.gateway, "COIN", shard)
            assert await shard_in_table(floor, COIN) == shard
        for crowd in crowds:
            await crowd.hear(30)

    assert await judged(floor, crowds) == []


async def test_the_feed_is_heard_whichever_server_a_reader_is_at(floor: Floor, cluster: Cluster) -> None:
    member = await floor.member()
    async with engines(floor):
        for _ in range(len(cluster.nodes) * 2):
            async with floor.redis.pubsub(ignore_subscribe_messages=True) as pubsub:
                await pubsub.subscribe(market_channel(COIN), market_channel(DATA))
                placed = await floor.place(member, "sell", 100, 1)
                message = await _next(pubsub)

                update = decode_book(message["data"])
                assert placed.accepted
                assert (update.instrument_id, update.asks[0][0]) == (COIN, 100)


async def test_what_is_announced_is_heard_whichever_server_a_reader_is_at(cluster: Cluster) -> None:
    channels = [party_channel(party) for party in range(len(cluster.nodes) * 4)]
    async with open_redis(cluster.url) as redis, redis.pubsub(ignore_subscribe_messages=True) as pubsub:
        await pubsub.subscribe(*channels)
        await pubsub.get_message(timeout=HEARD_SECONDS)

        await announce(redis, *channels)

        heard = [await _next(pubsub) for _ in channels]
    assert {message["channel"].decode() for message in heard} == set(channels)


async def _next(pubsub: object) -> dict[str, bytes]:
    async with asyncio.timeout(HEARD_SECONDS):
        while True:
            message = await pubsub.get_message(timeout=1)  # type: ignore[attr-defined]
            if message is not None:
                return dict(message)


async def test_the_death_of_a_server_loses_nothing_that_was_acknowledged(floor: Floor, cluster: Cluster) -> None:
    async with engines(floor), trading_crowds(floor) as crowds:
        for shard in (0, 1):
            for crowd in crowds:
                await crowd.hear(30)
            server = cluster.mortals[cluster.number_of(_slot(shard))]
            await asyncio.to_thread(server.kill)
            await crowds[1 - shard].hear(10)  # the other shard goes on
            await asyncio.to_thread(server.start)
            for crowd in crowds:
                await crowd.hear(30)

    assert await judged(floor, crowds) == []
    assert sum(crowd.history.unknown for crowd in crowds)


async def test_a_stream_that_moves_to_another_server_is_followed(floor: Floor, cluster: Cluster) -> None:
    source = cluster.number_of(_slot(0))
    async with engines(floor), trading_crowds(floor) as crowds:
        await crowds[0].hear(30)
        await asyncio.to_thread(cluster.move_slot, _slot(0), source, (source + 1) % len(cluster.nodes))
        await crowds[0].hear(60)

    assert await judged(floor, crowds) == []


async def test_limits_and_tickets_need_one_slot_each(cluster: Cluster) -> None:
    redis, vault = open_redis(cluster.url), Vault("k" * 40)
    uses = [Limit(name, 1, 60).of("somebody") for name in ("one", "two", "three")]
    try:
        await limits.take(redis, vault, *uses)
        with pytest.raises(limits.LimitReached):
            await limits.take(redis, vault, *uses)
        await limits.give_back(redis, vault, *uses)

        ticket = tickets.Ticket(b"number", "client", "CMCC", "authentication")
        name = await tickets.issue(redis, ticket)
        assert await tickets.try_once(redis, name) == ticket
        assert await tickets.use_up(redis, name)
        assert not await tickets.use_up(redis, name)
    finally:
        await redis.aclose()


async def test_sessions_are_kept_wherever_their_slots_are(cluster: Cluster) -> None:
    redis = open_redis(cluster.url)
    names = [f"surplusflow:session:{number}" for number in range(20)]
    try:
        async with redis.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.set(name, b"session", ex=60)
                pipeline.sadd("surplusflow:sessions-of:party:1", name)
            pipeline.expire("surplusflow:sessions-of:party:1", 60)
            await pipeline.execute()

        assert len({cluster.number_of(key_slot(name.encode())) for name in names}) == len(cluster.nodes)
        assert await redis.delete(*await redis.smembers("surplusflow:sessions-of:party:1")) == len(names)
    finally:
        await redis.aclose()


async def test_a_cluster_that_is_not_there_is_an_error_like_a_server_that_is_not_there() -> None:
    redis = open_redis(NOBODY, socket_connect_timeout=1)
    try:
        with pytest.raises(RedisError):
            await redis.ping()
        with pytest.raises(RedisError):
            await redis.xread({"stream": "0-0"})
        with pytest.raises(RedisError):
            await _set_in_a_pipeline(redis)
        async with redis.pubsub() as pubsub:
            with pytest.raises(RedisError):
                await pubsub.subscribe("channel")
    finally:
        await redis.aclose()


async def _set_in_a_pipeline(redis: Redis) -> None:
    async with redis.pipeline(transaction=False) as pipeline:
        pipeline.set("key", b"value")
        await pipeline.execute()


@pytest.mark.parametrize("address", ["http://127.0.0.1", "redis+cluster://", "redis+cluster://:7000"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"scheme|names its nodes"):
        open_redis(address)
