"""What our connections ask of the server, so that a stopped process keeps nobody waiting for ever."""

from collections.abc import Callable

import asyncpg
import pytest
from sqlalchemy import text

from market import database

STALLED = "select wait_event from pg_stat_activity where pid = $1 and state = 'active'"


async def test_a_transaction_that_stalls_between_the_messages_of_a_query_loses_its_locks(
    new_database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a session is not idle to the server, and no statement of it runs: only its transaction's length tells."""
    monkeypatch.setattr(database, "TRANSACTION_TIMEOUT_MS", 500)
    url = new_database("stalled")
    other = await asyncpg.connect(database.raw_dsn(url))
    await other.execute("create table thing as select 1 as id")
    engine = database.connect(url)
    async with engine.connect() as connection:
        await connection.execute(text("select id from thing for update"))
        pooled = await connection.get_raw_connection()
        stopped = pooled.driver_connection
        assert stopped is not None
        await stopped.prepare("select id from thing")  # described, and then nothing more is sent
        assert await other.fetchval(STALLED, stopped.get_server_pid()) == "ClientRead"

        await other.execute("set lock_timeout = '20s'")
        assert await other.fetchval("select id from thing for update") == 1
        await connection.invalidate()
    await engine.dispose()
    await other.close()
