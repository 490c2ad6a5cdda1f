"""Quotas are counted exactly, by all processes together, and told in headers (G5)."""

import asyncio

import pytest
from redis.asyncio import Redis

from tests.web.making import Market, a_key
from web.api import door
from web.edge.limits import Limit, Limiter

TEN = Limit("ten", quota=10, window_seconds=60)


async def test_g5_processes_that_count_at_once_lose_no_count(valkey_url: str) -> None:
    who = a_key()
    async with Redis.from_url(valkey_url) as first, Redis.from_url(valkey_url) as second:
        taken = await asyncio.gather(*(Limiter(redis).take(TEN, who) for redis in (first, second) for _ in range(15)))

    assert sum(each.allowed for each in taken) == 10
    assert min(each.remaining for each in taken) == 0


async def test_g5_a_counter_stays_small_and_goes_away(valkey_url: str) -> None:
    who = a_key()
    async with Redis.from_url(valkey_url) as redis:
        for _ in range(20):
            await Limiter(redis).take(TEN, who)

        key = f"surplusflow:limit:ten:{who}"
        assert await redis.get(key) == b"20"
        assert 0 < await redis.ttl(key) <= 60


async def test_every_answer_of_the_api_tells_what_is_left(market: Market) -> None:
    partner = await market.partner()

    first, second = await partner.get("/wallet"), await partner.get("/orders/none")

    assert first.headers["ratelimit-policy"] == '"party";q=6000;w=300'
    assert first.headers["ratelimit"].startswith('"party";r=5999;t=')
    assert second.headers["ratelimit"].startswith('"party";r=5998;t=')


async def test_beyond_the_quota_is_429_with_the_time_to_wait(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    partner, other = await market.partner(), await market.partner()
    monkeypatch.setattr(door, "PER_PARTY", Limit("party", quota=2, window_seconds=60))

    statuses = [(await partner.get("/wallet")).status_code for _ in range(2)]
    refused = await partner.get("/wallet")

    assert statuses == [200, 200]
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
    assert refused.json()["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert refused.headers["ratelimit"].startswith('"party";r=0;t=')
    assert (await other.get("/wallet")).status_code == 200


async def test_who_guesses_keys_gets_only_so_many_guesses(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    partner = await market.partner()
    assert (await partner.get("/wallet")).status_code == 200
    monkeypatch.setattr(door, "UNKNOWN_KEYS", Limit(a_key(), quota=3, window_seconds=60))

    guesses = [
        (
            await market.client.get("/api/v1/wallet", headers={"Authorization": f"Bearer sf_live_{'x' * 30}{n}"})
        ).status_code
        for n in range(5)
    ]

    assert guesses == [401, 401, 401, 429, 429]
    assert (await partner.get("/wallet")).status_code == 200
