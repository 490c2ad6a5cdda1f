"""Limits: how often is how often, whoever counts, and with or without Redis."""

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from market import limits
from market.limits import Floor, Limit, LimitReached
from market.vault import Vault

THREE_A_MINUTE = Limit("test number", count=3, seconds=60)
TEN_A_MINUTE = Limit("test client", count=10, seconds=60)


@pytest.fixture(name="vault")
def a_vault() -> Vault:
    """A secret of its own, so that no count is shared with another test."""
    return Vault(secrets.token_urlsafe(32))


@pytest.fixture(name="redis")
async def a_redis(valkey_url: str) -> AsyncIterator[Redis]:
    redis = Redis.from_url(valkey_url)
    yield redis
    await redis.aclose()


async def taken(redis: Redis, vault: Vault, times: int, *uses: limits.Use) -> int:
    """How many of so many uses at once were granted."""
    answers = await asyncio.gather(*(limits.take(redis, vault, *uses) for _ in range(times)), return_exceptions=True)
    assert all(answer is None or isinstance(answer, LimitReached) for answer in answers)
    return answers.count(None)


async def test_twenty_at_once_get_no_more_than_the_limit(redis: Redis, vault: Vault) -> None:
    assert await taken(redis, vault, 20, THREE_A_MINUTE.of("138")) == 3


async def test_each_subject_has_a_limit_of_its_own(redis: Redis, vault: Vault) -> None:
    await taken(redis, vault, 3, THREE_A_MINUTE.of("138"))

    assert await taken(redis, vault, 3, THREE_A_MINUTE.of("139")) == 3


async def test_a_refused_use_counts_against_no_limit(redis: Redis, vault: Vault) -> None:
    both = (THREE_A_MINUTE.of("138"), TEN_A_MINUTE.of("client"))

    await taken(redis, vault, 20, *both)

    assert await taken(redis, vault, 20, TEN_A_MINUTE.of("client")) == 7


async def test_processes_count_together(redis: Redis, vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    await taken(redis, vault, 2, THREE_A_MINUTE.of("138"))
    monkeypatch.setattr(limits, "_floor", Floor())

    assert await taken(redis, vault, 5, THREE_A_MINUTE.of("138")) == 1


async def test_the_limit_survives_a_flush_of_redis(redis: Redis, vault: Vault) -> None:
    await taken(redis, vault, 3, THREE_A_MINUTE.of("138"))
    await redis.delete(THREE_A_MINUTE.of("138").key(vault))

    assert await taken(redis, vault, 5, THREE_A_MINUTE.of("138")) == 0


async def test_the_limit_holds_without_redis(vault: Vault) -> None:
    nobody = Redis.from_url("redis://127.0.0.1:1/0")

    assert await taken(nobody, vault, 20, THREE_A_MINUTE.of("138")) == 3
    await nobody.aclose()


async def test_an_honest_use_is_given_back(redis: Redis, vault: Vault) -> None:
    await taken(redis, vault, 3, THREE_A_MINUTE.of("138"))

    await limits.give_back(redis, vault, THREE_A_MINUTE.of("138"))
    await limits.give_back(redis, vault, THREE_A_MINUTE.of("nobody"))

    assert await taken(redis, vault, 5, THREE_A_MINUTE.of("138")) == 1
    assert await taken(redis, vault, 5, THREE_A_MINUTE.of("nobody")) == 3


async def test_a_refusal_says_how_long_to_wait(redis: Redis, vault: Vault) -> None:
    await taken(redis, vault, 3, THREE_A_MINUTE.of("138"))

    with pytest.raises(LimitReached, match="in 20 s") as caught:
        await limits.take(redis, vault, THREE_A_MINUTE.of("138"))

    assert caught.value.headers == {"Retry-After": "20"}


async def test_no_number_and_no_client_stands_in_a_key(vault: Vault) -> None:
    assert "13800138000" not in THREE_A_MINUTE.of("+8613800138000").key(vault)


def test_uses_come_back_one_by_one() -> None:
    floor, uses = Floor(), [("a", THREE_A_MINUTE)]
    granted = [floor.take(uses, now_ms=0) for _ in range(3)]

    assert granted == [0, 0, 0]
    assert floor.take(uses, now_ms=19_999) == 1
    assert floor.take(uses, now_ms=20_000) == 0
    assert floor.take(uses, now_ms=20_001) > 0


def test_the_memory_of_a_process_is_bounded_and_keeps_the_most_used() -> None:
    floor = Floor(most_keys=10)
    for _ in range(3):
        floor.take([("busy", THREE_A_MINUTE)], now_ms=0)

    for number in range(100):
        floor.take([(f"other {number}", THREE_A_MINUTE)], now_ms=0)

    assert len(floor._due_ms) <= 10
    assert floor.take([("busy", THREE_A_MINUTE)], now_ms=0) > 0
