"""Baskets across shards: all or nothing whoever dies, and as much as the limit allows; one shard needs no promises."""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from market import baskets
from market.basket_tables import BasketRow
from market.baskets import BasketLeg, BasketRequest, BasketResult, carry_out, find, open_basket, steps_of
from market.engine.commands import PlaceOrder
from market.parties import Member as Person
from market.refusals import NotFound, OutcomeUnknown
from settlement.failpoints import VARIABLE, Failed
from tests.engine.factories import Floor, Member, fresh_database, running_engine
from tests.faults.engines import REPOSITORY, environment
from tests.faults.judging import broken_invariants
from tests.faults.waiting import until
from tests.shards.making import open_wide_floor, seat

COIN, DATA = 1, 2
SYMBOLS = {COIN: "COIN", DATA: "CMCC-CN-3001"}
START_SECONDS = 20
COORDINATOR = """
import asyncio, sys
from redis.asyncio import Redis
from sqlalchemy import text
from market.baskets import carry_out
from market.database import connect, sessions
from market.gateway import Gateway

async def main():
    maker = sessions(connect(sys.argv[1]))
    async with Redis.from_url(sys.argv[2]) as redis, Gateway(redis, maker, 2) as gateway:
        async with maker.begin() as session:  # it took this program a while to start
            await session.execute(text("update basket set deadline = clock_timestamp() + interval '2 s'"))
        await carry_out(maker, gateway, int(sys.argv[3]))

asyncio.run(main())
"""


@dataclass
class Town:
    """A floor whose coins are matched by engine 0 and whose data by engine 1."""

    floor: Floor
    url: str
    valkey_url: str

    async def rests(self, instrument: int, price: int, lots: int, side: Literal["buy", "sell"] = "sell") -> Member:
        """Somebody's order in a book that has nobody on the other side."""
        member = await self.floor.member()
        placed = await self.floor.place(member, side, price, lots, instrument_id=instrument)
        assert placed.state == "open"
        return member

    async def begin(
        self,
        member: Member,
        legs: Sequence[tuple[int, Literal["buy", "sell"], int]],
        limit: int,
        *,
        all_or_none: bool = True,
        key: str = "basket",
    ) -> int:
        """A basket that is written down and not yet carried out; gives its id."""
        orders = [self._order(member, *leg) for leg in legs]
        asked = tuple(BasketLeg(SYMBOLS[instrument], side, lots) for instrument, side, lots in legs)
        request = BasketRequest(kind="basket", legs=asked, limit_minor=limit, all_or_none=all_or_none)
        async with self.floor.gateway.sessions() as session:
            row = await open_basket(session, self.floor.gateway, _person(member), request, orders, key, b"basket")
            assert row is not None
            return row.id

    def _order(self, member: Member, instrument: int, side: Literal["buy", "sell"], lots: int) -> PlaceOrder:
        worst = 1_000 if side == "buy" else 5
        return self.floor.order(member, side, worst, lots, instrument_id=instrument, time_in_force="ioc")

    async def carry_out(self, basket_id: int) -> None:
        await carry_out(self.floor.gateway.sessions, self.floor.gateway, basket_id)

    async def carried_out(self, basket_id: int) -> None:
        """Ask as often as a client does that was told that the outcome is not known yet."""
        for _ in range(5):
            try:
                return await self.carry_out(basket_id)
            except OutcomeUnknown:
                await asyncio.sleep(0.2)
        raise AssertionError

    async def result(self, member: Member, basket_id: int) -> BasketResult:
        async with self.floor.gateway.sessions() as session:
            return await find(session, _person(member), basket_id)

    async def trades(self) -> int:
        found: int = await self.floor.connection.fetchval("select count(distinct instrument_id) from trade")
        return found

    async def settled(self) -> None:
        """Wait until no shard has legs that wait for a decision."""
        query = "select not exists (select from basket_leg where state = 'prepared')"

        async def is_so() -> bool:
            return bool(await self.floor.connection.fetchval(query))

        await until(is_so)


def _person(member: Member) -> Person:
    return Person(member.id, member.group_id, "subscriber", "Somebody", "zh_CN")


@pytest.fixture
async def town(new_database: Callable[[str], str], valkey_url: str) -> AsyncIterator[Town]:
    url = await fresh_database(new_database, "baskets")
    async with Redis.from_url(valkey_url) as redis:
        await redis.flushall()
    async with open_wide_floor(url, valkey_url, shards=2) as floor:
        await seat(floor, COIN=0, CMCC=1)
        yield Town(floor, url, valkey_url)


@asynccontextmanager
async def engines(town: Town, shards: Sequence[int] = (0, 1)) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for shard in shards:
            await stack.enter_async_context(running_engine(town.floor.dsn, town.floor.redis, shard=shard, shards=2))
        yield


@asynccontextmanager
async def program(arguments: Sequence[str], settings: Mapping[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=REPOSITORY, env=dict(settings), stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@asynccontextmanager
async def doomed_engine(town: Town, shard: int, failpoint: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """An engine in a process of its own that dies at a failpoint, once it serves."""
    settings = environment(town.url, town.valkey_url) | {VARIABLE: failpoint}
    before = await _epoch(town, shard)
    async with program(["-m", "web.cli", "engine", "--shard", f"{shard}/2"], settings) as process:

        async def serves() -> bool:
            return await _epoch(town, shard) > before

        await until(serves)
        yield process


async def _epoch(town: Town, shard: int) -> int:
    query = "select epoch from engine_lease where shard = $1"
    return await town.floor.connection.fetchval(query, shard) or 0


async def _rest_on_both(town: Town) -> None:
    async with engines(town):
        await town.rests(COIN, 90, 10)
        await town.rests(DATA, 300, 10)


async def _assert_sound(town: Town) -> None:
    assert await broken_invariants(town.floor.dsn) == {}


async def test_all_legs_trade_across_shards_under_one_limit(town: Town) -> None:
    async with engines(town):
        await town.rests(COIN, 90, 10)
        await town.rests(DATA, 300, 10)
        buyer = await town.floor.member()
        basket_id = await town.begin(buyer, [(COIN, "buy", 4), (DATA, "buy", 2)], 960)
        await town.carry_out(basket_id)
        await town.carry_out(basket_id)  # once more changes nothing

        result = await town.result(buyer, basket_id)

    assert (result.state, result.net_minor) == ("committed", 960)
    assert [[(fill.price_minor, fill.quantity) for fill in leg.fills] for leg in result.legs] == [[(90, 4)], [(300, 2)]]
    assert all(fill.trade_id for leg in result.legs for fill in leg.fills)
    assert await town.floor.balance(buyer.money) == (1_000_000 - 960, 960)
    await _assert_sound(town)


@pytest.mark.parametrize(
    ("lots", "limit", "money", "code"),
    [((4, 2), 959, 10_000, "over_limit"), ((4, 11), 10_000, 10_000, "not_offered"),
     ((11, 2), 10_000, 10_000, "not_offered"), ((4, 2), 960, 959, "insufficient_money")],
)  # fmt: skip
async def test_nothing_at_all_happens_when_one_leg_or_the_sum_does_not_fit(
    town: Town, lots: tuple[int, int], limit: int, money: int, code: str
) -> None:
    async with engines(town):
        await town.rests(COIN, 90, 10)
        await town.rests(DATA, 300, 10)
        buyer = await town.floor.member(money=money)
        basket_id = await town.begin(buyer, [(COIN, "buy", lots[0]), (DATA, "buy", lots[1])], limit)
        await town.carry_out(basket_id)
        await town.settled()

        result = await town.result(buyer, basket_id)

    assert (result.state, result.code) == ("aborted", code)
    assert await town.trades() == 0
    assert await town.floor.balance(buyer.money) == (money, 0)
    await _assert_sound(town)


async def test_a_swap_sells_in_one_shard_and_buys_in_another(town: Town) -> None:
    async with engines(town):
        await town.rests(COIN, 100, 10, "buy")
        await town.rests(DATA, 300, 10)
        member = await town.floor.member()
        too_dear = await town.begin(member, [(COIN, "sell", 6), (DATA, "buy", 2)], 29, key="too dear")
        await town.carry_out(too_dear)
        await town.settled()
        swap = await town.begin(member, [(COIN, "sell", 6), (DATA, "buy", 2)], 30, key="fits")
        await town.carry_out(swap)

        refused, done = await town.result(member, too_dear), await town.result(member, swap)

    assert (refused.state, refused.code) == ("aborted", "over_limit")
    assert (done.state, done.net_minor) == ("committed", 30)  # 600 paid, 600 less a fee of 30 got
    assert await town.floor.balance(member.money) == (1_000_000 - 600, 600)
    assert await town.floor.balance(member.coins) == (100_000 - 600, 600)
    await _assert_sound(town)


async def test_a_best_effort_buys_the_cheapest_data_first_whatever_shard_it_is_in(town: Town) -> None:
    async with engines(town):
        for instrument, price, lots in [(COIN, 80, 3), (COIN, 400, 5), (DATA, 100, 2), (DATA, 500, 5)]:
            await town.rests(instrument, price, lots)
        buyer = await town.floor.member(money=1_300)
        basket_id = await town.begin(buyer, [(COIN, "buy", 6), (DATA, "buy", 6)], 1_300, all_or_none=False)
        await town.carry_out(basket_id)

        result = await town.result(buyer, basket_id)

    assert [leg.filled for leg in result.legs] == [5, 2]  # 240 and 200, then 800 for two more coins
    assert [leg.code for leg in result.legs] == ["not_offered", "not_offered"]
    assert result.net_minor == 1_240
    assert await town.floor.balance(buyer.money) == (60, 1_240)
    await _assert_sound(town)


async def test_a_best_effort_whose_coordinator_died_between_rounds_is_finished_once(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with engines(town):
        for instrument, price, lots in [(COIN, 80, 3), (DATA, 100, 2), (DATA, 500, 5)]:
            await town.rests(instrument, price, lots)
        buyer = await town.floor.member(money=1_300)
        basket_id = await town.begin(buyer, [(COIN, "buy", 6), (DATA, "buy", 6)], 1_300, all_or_none=False)
        monkeypatch.setenv(VARIABLE, "basket.before_round:raise")
        with pytest.raises(Failed):
            await town.carry_out(basket_id)
        monkeypatch.delenv(VARIABLE)
        await town.rests(COIN, 90, 9)
        await asyncio.gather(*(town.carry_out(basket_id) for _ in range(3)))

        result = await town.result(buyer, basket_id)

    assert [leg.filled for leg in result.legs] == [6, 3]  # 240, 200 and 500 first, then 270 of the 360 that were left
    assert result.net_minor == 1_210
    assert await town.floor.balance(buyer.money) == (90, 1_210)
    await _assert_sound(town)


async def test_one_shard_takes_a_basket_as_one_command(town: Town) -> None:
    async with engines(town):
        await town.rests(COIN, 90, 10)
        buyer = await town.floor.member()
        basket_id = await town.begin(buyer, [(COIN, "buy", 4)], 360)
        await town.carry_out(basket_id)

        result = await town.result(buyer, basket_id)

    assert (result.state, result.net_minor) == ("committed", 360)
    assert await town.floor.connection.fetchval("select count(*) from basket_leg") == 0
    with pytest.raises(NotFound):
        await town.result(await town.floor.member(), basket_id)
    await _assert_sound(town)


@pytest.mark.parametrize(
    ("failpoint", "committed", "at_last"),
    [
        ("basket.before_prepare", False, "committed"),
        ("basket.prepared_0", False, "aborted"),
        ("basket.before_commit", False, "aborted"),
        ("basket.after_commit", True, "committed"),
    ],
)
async def test_a_coordinator_that_is_killed_leaves_all_or_nothing(
    town: Town, failpoint: str, committed: bool, at_last: str
) -> None:
    async with engines(town):
        await town.rests(COIN, 90, 10)
        await town.rests(DATA, 300, 10)
        buyer = await town.floor.member()
        basket_id = await town.begin(buyer, [(COIN, "buy", 4), (DATA, "buy", 2)], 960)
        settings = environment(town.url, town.valkey_url) | {VARIABLE: f"{failpoint}:kill"}
        async with program(["-c", COORDINATOR, town.url, town.valkey_url, str(basket_id)], settings) as process:
            assert await process.wait() == -signal.SIGKILL
        began = time.monotonic()
        await town.rests(COIN, 200, 1)
        await town.rests(DATA, 400, 1)
        frozen_seconds = time.monotonic() - began
        await town.settled()

        assert await town.trades() == (2 if committed else 0)
        assert frozen_seconds < baskets.DEADLINE_SECONDS + 0.5
        await town.carry_out(basket_id)  # the client asks again
        assert (await town.result(buyer, basket_id)).state == at_last
    assert await town.trades() in {0, 2}
    await _assert_sound(town)


@pytest.mark.parametrize("shard", [0, 1])
@pytest.mark.parametrize(
    "failpoint", ["engine.before_batch", "engine.legs_prepared", "engine.basket_decided", "engine.legs_resolved"]
)
async def test_an_engine_that_is_killed_leaves_all_or_nothing(town: Town, shard: int, failpoint: str) -> None:
    await _rest_on_both(town)
    buyer = await town.floor.member()
    basket_id = await town.begin(buyer, [(COIN, "buy", 4), (DATA, "buy", 2)], 960)
    async with engines(town, [1 - shard]):
        async with doomed_engine(town, shard, f"{failpoint}:kill") as doomed:
            await town.floor.connection.execute("update basket set deadline = clock_timestamp() + interval '2 s'")
            asking = asyncio.create_task(town.carried_out(basket_id))
            assert await asyncio.wait_for(doomed.wait(), START_SECONDS) == -signal.SIGKILL
        async with engines(town, [shard]):
            await asking
            await town.settled()
            result = await town.result(buyer, basket_id)

    assert await town.trades() == (2 if result.state == "committed" else 0)
    assert await town.floor.balance(buyer.money) == (
        (1_000_000 - 960, 960) if result.state == "committed" else (1_000_000, 0)
    )
    await _assert_sound(town)


@pytest.mark.parametrize("compares", [True, False])
async def test_a_coordinator_that_does_not_compare_before_it_commits_is_caught(
    town: Town, monkeypatch: pytest.MonkeyPatch, compares: bool
) -> None:
    late = "update basket set state = 'committed' from (select pg_sleep(0.6)) wait where id = :id"
    monkeypatch.setattr(baskets, "_COMMIT", text(late + (" and state = 'deciding'" if compares else "")))
    async with engines(town):
        await town.rests(COIN, 90, 10)
        await town.rests(DATA, 300, 10)
        buyer = await town.floor.member()
        basket_id = await town.begin(buyer, [(COIN, "buy", 4), (DATA, "buy", 2)], 960)
        await town.floor.connection.execute("update basket set deadline = clock_timestamp() + interval '0.3 s'")
        with contextlib.suppress(OutcomeUnknown):
            await town.carry_out(basket_id)
        await town.settled()

    assert set(await broken_invariants(town.floor.dsn)) == (set() if compares else {"B11"})


async def test_orders_meanwhile_wait_for_the_decision_and_no_longer_than_the_deadline(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "basket.prepared_0:raise")
    async with engines(town):
        await town.rests(COIN, 90, 10)
        buyer, other = await town.floor.member(), await town.floor.member()
        basket_id = await town.begin(buyer, [(COIN, "buy", 4), (DATA, "buy", 2)], 960)
        with pytest.raises(Failed):
            await town.carry_out(basket_id)
        began = time.monotonic()

        answer = await town.floor.place(other, "buy", 90, 10)

        assert 0.5 < time.monotonic() - began < baskets.DEADLINE_SECONDS + 0.5
        assert answer.filled == 10  # what was promised was given back first
    await _assert_sound(town)


async def test_many_baskets_both_ways_and_orders_between_them_all_end(town: Town) -> None:
    async with engines(town):
        await town.rests(COIN, 90, 60)
        await town.rests(DATA, 300, 60)
        buyers = [await town.floor.member(money=2_000) for _ in range(6)]
        ids = []
        for number, buyer in enumerate(buyers):
            legs: list[Any] = [(COIN, "buy", 3 + number), (DATA, "buy", 2)]
            ids.append(await town.begin(buyer, legs if number % 2 else legs[::-1], 900 + 30 * number))
        await town.floor.connection.execute("update basket set deadline = clock_timestamp() + interval '2 s'")
        other = await town.floor.member()
        await asyncio.gather(
            *(town.carry_out(basket_id) for basket_id in ids),
            *(town.floor.place(other, "buy", 90, 1) for _ in range(20)),
        )
        await town.settled()
        states = [(await town.result(buyer, basket)).state for buyer, basket in zip(buyers, ids, strict=True)]

    done = [600 + 90 * (3 + number) for number, state in enumerate(states) if state == "committed"]
    assert done
    held = sum([(await town.floor.balance(buyer.money))[1] for buyer in buyers])
    assert held == sum(done)
    await _assert_sound(town)


async def test_what_the_shards_are_asked_goes_in_ascending_order(town: Town) -> None:
    buyer = await town.floor.member()
    basket_id = await town.begin(buyer, [(DATA, "buy", 2), (COIN, "buy", 4)], 960)

    async with town.floor.gateway.sessions() as session:
        row = await session.get_one(BasketRow, basket_id)

    assert [(step.shard, step.numbers, step.command.key) for step in steps_of(row)] == [
        (0, (1,), "basket"),
        (1, (0,), "basket/shard/1"),
    ]
