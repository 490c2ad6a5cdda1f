"""A database that ends connections: whoever is hit is told to come again, and the next one gets a new connection."""

from collections.abc import Callable

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from market.database import connect, raw_dsn, reads
from web.edge.problems import problem_of

END_ALL = "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and datname = $1"
ROUNDS = 30


@pytest.mark.parametrize("refused", [asyncpg.CannotConnectNowError, asyncpg.TooManyConnectionsError])
def test_a_server_that_starts_or_is_full_is_an_outage(refused: type[asyncpg.PostgresError]) -> None:
    assert problem_of(refused("not now")).status == 503
    assert problem_of(asyncpg.UndefinedTableError("a mistake of ours")).status == 500


async def test_a_connection_that_the_server_ends_is_an_outage_for_one_request_alone(
    new_database: Callable[[str], str],
) -> None:
    url = new_database("outages")
    name = url.partition("?")[0].rpartition("/")[2]
    engine = connect(url, pool_size=2)
    server = await asyncpg.connect(raw_dsn(url))
    told = []
    for _ in range(ROUNDS):
        await server.execute(END_ALL, name)
        for _ in range(2):
            try:
                async with reads(engine)() as session:
                    assert await session.scalar(text("select 1")) == 1
            except SQLAlchemyError as error:
                told.append(problem_of(error).status)
                break
    await server.close()
    await engine.dispose()

    assert told, "no request was hit"
    assert set(told) == {503}


@pytest.mark.parametrize("place", ["/none?host=/nonexistent", "market.invalid/none"])
async def test_a_server_of_which_nothing_is_left_is_an_outage(place: str) -> None:
    engine = connect(f"postgresql+asyncpg://postgres@{place}")
    with pytest.raises(Exception) as failure:  # noqa: PT011 - whatever it is, the visitor is told the same
        async with reads(engine)() as session:
            await session.execute(text("select 1"))
    await engine.dispose()

    assert problem_of(failure.value).status == 503
