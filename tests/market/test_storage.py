"""The database's volumes run full (F7): what is still taken, decided before anything fails."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from market.engine.commands import CancelAll, ExpireOrders, PrepareLegs, SetState
from market.storage import (
    BACK_PERCENT,
    COUNTED_BYTES,
    FULL_PERCENT,
    LEVELS,
    LOW_PERCENT,
    TOLD,
    Level,
    ShortOfStorage,
    Space,
    Storage,
    check_command,
    level_of,
    tell,
    told,
)
from market.trading import OrderRequest, amend, cancel, place
from market.venue import Venue
from market.volume import Watch
from tests.engine.factories import running_engine
from tests.faults.volumes import Volume, small_volume
from tests.faults.waiting import until
from tests.market.town import Town, a_key

SALE = OrderRequest(symbol="CMCC-CN-3001", side="sell", lots=20, price_minor=900)
GIB = 2**30
PERCENT = st.floats(0, 100)


@pytest.mark.parametrize(
    ("free_percent", "was", "level"),
    [
        (100, "ok", "ok"),
        (10, "ok", "ok"),
        (9.9, "ok", "low"),
        (5, "ok", "low"),
        (4.9, "ok", "full"),
        (0, "ok", "full"),
        (11.9, "low", "low"),  # a little above the mark is not yet back
        (12, "low", "ok"),
        (6.9, "full", "full"),
        (7, "full", "low"),
        (11.9, "full", "low"),
        (12, "full", "ok"),
    ],
)
def test_a_mark_is_passed_downwards_at_once_and_upwards_only_well_above_it(
    free_percent: float, was: Level, level: Level
) -> None:
    assert level_of(free_percent, was) == level


@given(PERCENT, PERCENT, st.sampled_from(LEVELS))
def test_less_room_is_never_a_better_level(one: float, other: float, was: Level) -> None:
    less, more = sorted((one, other))

    assert LEVELS.index(level_of(less, was)) >= LEVELS.index(level_of(more, was))


@given(PERCENT, st.sampled_from(LEVELS))
def test_a_level_stays_when_nothing_changes_and_below_a_mark_the_past_does_not_matter(
    free_percent: float, was: Level
) -> None:
    level = level_of(free_percent, was)

    assert level_of(free_percent, level) == level
    assert (level == "full") if free_percent < FULL_PERCENT else level != "full" or was == "full"
    assert level != "ok" if free_percent < LOW_PERCENT else True
    assert level == "ok" if free_percent >= LOW_PERCENT + BACK_PERCENT else True


@given(st.floats(0, 100), st.floats(0, BACK_PERCENT - 0.01), st.lists(st.booleans(), max_size=30))
def test_a_file_that_comes_and_goes_changes_the_level_once_at_most(
    free_percent: float, file: float, there: list[bool]
) -> None:
    levels: list[Level] = ["ok"]
    for is_there in there:
        levels.append(level_of(free_percent - file * is_there, levels[-1]))

    changes = [pair for pair in pairwise(levels) if pair[0] != pair[1]]
    assert all(LEVELS.index(after) > LEVELS.index(before) for before, after in changes)


@pytest.mark.parametrize(
    ("free", "total", "percent"),
    [
        (5 * GIB, 50 * GIB, 10),
        (5 * GIB, 4000 * GIB, 10),  # of a large volume five GiB are room enough
        (4000 * GIB, 4000 * GIB, 100),
        (0, 1, 0),
        (0, 0, 100),
    ],
)
def test_a_share_of_a_large_volume_is_counted_of_fifty_gib(free: int, total: int, percent: float) -> None:
    assert COUNTED_BYTES == 50 * GIB
    assert Space(free, total).free_percent == percent


@pytest.mark.parametrize("level", ["low", "full"])
def test_what_lets_go_or_finishes_passes_at_every_level(level: Level) -> None:
    storage = Storage(level, 1)

    check_command(storage, CancelAll(1, "key", b"", 1, 1))
    check_command(storage, ExpireOrders(1, "key", b"", 1))
    check_command(storage, SetState(1, "key", b"", 1, "halted"))
    check_command(storage, PrepareLegs(1, "key", b"", 1, 1, ()))


@pytest.fixture(scope="module")
def volume() -> Iterator[Volume]:
    with small_volume(64) as volume:
        yield volume


@pytest.fixture(autouse=True, scope="module")
async def _engine(town: Town) -> AsyncIterator[None]:
    async with running_engine(town.venue.settings.database_dsn, town.venue.redis):
        yield


@pytest.fixture
async def watched(town: Town, volume: Volume) -> AsyncIterator[Venue]:
    """The town's venue, told where its database lies; another day for it when the test ends."""
    volume.make_room()
    yield replace(town.venue, settings=replace(town.venue.settings, volumes=(volume.path,)))
    volume.make_room()
    await hear(town.venue, Storage())


async def hear(venue: Venue, storage: Storage) -> None:
    """Say it, and wait until the gateway has heard."""
    await tell(venue.redis, storage)

    async def has_heard() -> bool:
        return venue.gateway.storage == storage

    await until(has_heard)


async def reach(venue: Venue, watch: Watch, level: Level) -> None:
    """One look of the watch, which must find this level, and its way to the gateway."""
    await watch.look(venue)
    assert watch.level == level
    await hear(venue, await told(venue.redis))


async def test_a_volume_that_runs_full_ends_new_orders_before_it_is_full_and_opens_again(
    town: Town, watched: Venue, volume: Volume
) -> None:
    watch = Watch()
    member = await town.enter(await town.line())
    orders = [await place(watched, member, SALE, a_key()) for _ in range(2)]
    numbers = [placed.answer.order_id for placed in orders if placed.answer is not None]
    reserved = "select count(*) from custody where status <> 'released'"
    before = await town.value(reserved)
    await reach(watched, watch, "ok")

    volume.leave_percent(8)
    await reach(watched, watch, "low")
    for refused in (
        place(watched, member, SALE, a_key()),
        place(watched, member, structs.replace(SALE, side="buy", price_minor=100), a_key()),
        amend(watched, member, numbers[1] or 0, price_minor=950, lots=20, key=a_key()),
    ):
        with pytest.raises(ShortOfStorage):
            await refused
    assert await town.value(reserved) == before  # nothing was asked of the carrier for a sale that is not taken
    await cancel(watched, member, numbers[0] or 0, a_key())

    volume.leave_percent(4)
    await reach(watched, watch, "full")
    with pytest.raises(ShortOfStorage):
        await place(watched, member, SALE, a_key())
    volume.leave_percent(6)
    await reach(watched, watch, "full")

    volume.make_room()
    await reach(watched, watch, "ok")
    assert (await place(watched, member, SALE, a_key())).answer is not None


async def test_an_order_that_was_taken_before_has_its_answer_when_it_is_asked_again(town: Town, watched: Venue) -> None:
    member, key = await town.enter(await town.line()), a_key()
    first = await place(watched, member, SALE, key)

    await hear(watched, Storage("full", 1))

    assert await place(watched, member, SALE, key) == first


async def test_where_no_volume_is_named_nobody_watches_and_everything_is_taken(town: Town, volume: Volume) -> None:
    await town.venue.redis.delete(TOLD)
    member = await town.enter(await town.line())
    volume.leave_percent(4)

    await Watch().look(town.venue)

    assert await told(town.venue.redis) == Storage()
    assert (await place(town.venue, member, SALE, a_key())).answer is not None
    volume.make_room()
