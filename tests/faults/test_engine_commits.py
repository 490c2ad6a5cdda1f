"""The link to the database cut exactly at a COMMIT: every command is classified right, however it went."""

import random
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.engine.factories import Floor, running_engine
from tests.faults.conftest import Tally
from tests.faults.crowd import trading_crowd
from tests.faults.judging import broken_invariants, judge
from tests.faults.proxy import Cut, open_proxy
from tests.faults.waiting import until

CUTS: tuple[Cut, ...] = ("before", "after", "late")
TIMES = 10
_SOMEBODY_WAITS = "select exists (select from pg_locks where not granted)"
_NOW = "select (select coalesce(max(seq), 0) from journal), epoch from engine_lease where shard = 0"
_CAME_LATER = "select exists (select from journal where seq > $1 and epoch = $2)"


class NaiveReader:
    """Reads the journal at once when the link is lost, as a program would that takes this for the outcome."""

    def __init__(self, floor: Floor) -> None:
        self._connection = floor.connection
        self._seen: list[tuple[int, int]] = []

    async def read(self) -> None:
        """Look; then let the COMMIT come, but only when its sender is back and waits for its lease."""
        self._seen.append(tuple(await self._connection.fetchrow(_NOW)))
        await until(lambda: self._connection.fetchval(_SOMEBODY_WAITS))

    async def wrong(self) -> int:
        """How often something was committed that was not there, under the epoch of the lost link."""
        return sum([await self._connection.fetchval(_CAME_LATER, seq, epoch) for seq, epoch in self._seen])


async def test_every_cut_at_a_commit_is_classified_right_where_a_naive_reader_is_wrong(
    floor: Floor, server_directory: Path, tally: Tally
) -> None:
    (sockets,) = parse_qs(urlsplit(floor.dsn).query)["host"]
    place = server_directory / "cut"
    naive = NaiveReader(floor)
    cuts = list(CUTS * TIMES)
    random.Random(1).shuffle(cuts)

    async with open_proxy(Path(sockets), place) as proxy:
        proxy.while_late = naive.read
        async with running_engine(floor.dsn.replace(sockets, str(place)), floor.redis), trading_crowd(floor) as crowd:
            for cut in cuts:
                await crowd.hear(5)
                await proxy.cut(cut)
            await crowd.hear(5)

    assert await judge(crowd) == []
    assert await broken_invariants(floor.dsn) == {}
    wrong = await naive.wrong()
    tally(**proxy.met, naive_reader_wrong=wrong, commands=len(crowd.commands), unknown=crowd.history.unknown)
    assert proxy.met == dict.fromkeys(CUTS, TIMES)
    assert wrong > TIMES / 2  # a batch of nothing but repeated keys has nothing to commit
