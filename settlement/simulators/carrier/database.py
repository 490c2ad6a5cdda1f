"""The program's own PostgreSQL: a pool that comes up when the server does, and comes back when the server does."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg

from settlement.simulators.carrier import billing_schema
from settlement.simulators.carrier.refusals import Refusal
from settlement.simulators.carrier.schema import LOCK_ID, TABLES

ACQUIRE_SECONDS = 5
ACQUIRE_TRIES = 3
COMMAND_SECONDS = 20
TRUSTED_SECONDS = 1.0
"""How long after one connection answered the others are taken to answer as well."""

Connection = Any
Page = tuple[int, int]  # offset, limit

# What asyncpg raises when the server goes away, is going away, or has not come back yet.
LOST = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


class _Plain(asyncpg.Connection):  # type: ignore[misc]  # asyncpg is not typed
    """A connection that leaves nothing behind when it is given back: all locks here end with their transaction."""

    def get_reset_query(self) -> str:
        return ""


class Database:
    """Connections and transactions; a server that is gone is a refusal UNAVAILABLE, never a crash."""

    def __init__(self, url: str, pool_size: int) -> None:
        self._url = url.replace("+asyncpg", "", 1)
        self._pool_size = pool_size
        self._pool: Any = None
        self._opening = asyncio.Lock()
        self._trusted_until = 0.0

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()
            self._pool = None

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        pool = await self._opened()
        connection = await self._acquire(pool)
        try:
            yield connection
        except LOST as error:
            self._trusted_until = 0.0
            raise Refusal("UNAVAILABLE") from error
        finally:
            with contextlib.suppress(*LOST):
                await pool.release(connection)

    @contextlib.asynccontextmanager
    async def transaction(self, name: str | None = None) -> AsyncIterator[Connection]:
        """One transaction; others of the same `name` wait until it has ended, so take no other lock before it."""
        async with self.connection() as connection:
            try:
                await connection.execute("BEGIN" if name is None else f"BEGIN; {_lock(name)}")
                yield connection
            except BaseException:
                await connection.execute("ROLLBACK")
                raise
            await connection.execute("COMMIT")

    async def _acquire(self, pool: Any) -> Connection:
        """A connection that answers.

        After a restart of the server the pool still holds the dead ones; each try drops one, so they are all asked.
        """
        for _ in range(self._pool_size + ACQUIRE_TRIES):
            try:
                connection = await pool.acquire(timeout=ACQUIRE_SECONDS)
            except (*LOST, asyncpg.PostgresError) as error:
                raise Refusal("UNAVAILABLE") from error
            now = asyncio.get_running_loop().time()
            if now < self._trusted_until:
                return connection
            if await _answers(connection):
                self._trusted_until = now + TRUSTED_SECONDS
                return connection
            with contextlib.suppress(*LOST):
                await pool.release(connection)
        raise Refusal("UNAVAILABLE")

    async def _opened(self) -> Any:
        async with self._opening:
            if self._pool is None:
                self._pool = await self._open()
            return self._pool

    async def _open(self) -> Any:
        try:
            pool = await asyncpg.create_pool(
                self._url,
                min_size=0,  # none is kept up in vain while the server is away
                max_size=self._pool_size,
                timeout=ACQUIRE_SECONDS,
                command_timeout=COMMAND_SECONDS,
                connection_class=_Plain,
            )
        except (*LOST, asyncpg.PostgresError) as error:
            raise Refusal("UNAVAILABLE") from error
        try:
            await _create_tables(pool)
        except BaseException:
            pool.terminate()
            raise
        return pool


async def fetch_page(
    connection: Connection,
    source: str,
    order: str,
    values: Sequence[Any],
    page: Page,
) -> tuple[list[Any], int]:
    """A page of the rows of `source` (a table and its condition, constants of this program), and how many there are.

    One statement tells both: with two, what is written between them would be shown but not counted.
    """
    offset, limit = page
    rows = await connection.fetch(
        f"SELECT page.*, (SELECT count(*) FROM {source}) AS total_of_all"  # noqa: S608 - constants and two integers
        f" FROM (SELECT * FROM {source} ORDER BY {order} OFFSET {offset:d} LIMIT {limit:d}) AS page",
        *values,
    )
    if rows or not offset:
        return rows, rows[0]["total_of_all"] if rows else 0
    total: int = await connection.fetchval(f"SELECT count(*) FROM {source}", *values)  # noqa: S608 - the same constants
    return rows, total


def _lock(name: str) -> str:
    number = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), signed=True)
    return f"SELECT pg_advisory_xact_lock({number})"


async def _answers(connection: Connection) -> bool:
    try:
        await connection.execute("SELECT 1")
    except LOST:
        return False
    return True


async def _create_tables(pool: Any) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK_ID)
        await connection.execute(TABLES)
        await connection.execute(billing_schema.TABLES)
