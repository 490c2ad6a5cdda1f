"""The simulated provider's own database: its tables and the ways to reach them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]

SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    position bigint GENERATED ALWAYS AS IDENTITY,
    id text PRIMARY KEY,
    kind text NOT NULL,
    account text NOT NULL,
    created bigint NOT NULL,
    data jsonb NOT NULL,
    hidden jsonb NOT NULL
);
CREATE INDEX IF NOT EXISTS objects_in_order ON objects (account, kind, position DESC);
CREATE INDEX IF NOT EXISTS objects_by_created ON objects (account, kind, created);
CREATE INDEX IF NOT EXISTS objects_by_customer ON objects ((data->>'customer'));
CREATE INDEX IF NOT EXISTS objects_by_payment ON objects ((data->>'payment_intent'));
CREATE INDEX IF NOT EXISTS objects_by_source ON objects ((data->>'source'));
CREATE INDEX IF NOT EXISTS objects_by_source_transaction ON objects ((data->>'source_transaction'));
CREATE INDEX IF NOT EXISTS objects_by_group ON objects ((data->>'transfer_group'));
CREATE INDEX IF NOT EXISTS objects_by_transfer ON objects ((data->>'transfer'));
CREATE UNIQUE INDEX IF NOT EXISTS objects_by_token ON objects ((hidden->>'token'));
CREATE INDEX IF NOT EXISTS money_by_availability ON objects (account, ((data->>'available_on')::bigint))
    WHERE kind = 'balance_transaction';

CREATE TABLE IF NOT EXISTS movements (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    payer text NOT NULL,
    payee text NOT NULL,
    currency text NOT NULL,
    amount bigint NOT NULL CHECK (amount > 0),
    reason text NOT NULL,
    source text NOT NULL,
    created bigint NOT NULL,
    CHECK (payer <> payee)
);
CREATE TABLE IF NOT EXISTS balances (
    account text NOT NULL,
    currency text NOT NULL,
    total bigint NOT NULL,
    PRIMARY KEY (account, currency)
);
CREATE TABLE IF NOT EXISTS answered (
    account text NOT NULL,
    key text NOT NULL,
    fingerprint text NOT NULL,
    status integer NOT NULL,
    body text NOT NULL,
    request_id text NOT NULL,
    created bigint NOT NULL,
    PRIMARY KEY (account, key)
);
CREATE TABLE IF NOT EXISTS deliveries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event text NOT NULL,
    endpoint text NOT NULL,
    status text NOT NULL CHECK (status IN ('pending', 'delivered', 'given_up')),
    attempts integer NOT NULL DEFAULT 0,
    due_at double precision NOT NULL,
    last_result text NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (due_at) WHERE status = 'pending';
CREATE INDEX IF NOT EXISTS deliveries_by_event ON deliveries (event);
CREATE TABLE IF NOT EXISTS jobs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    due_at bigint NOT NULL,
    action text NOT NULL,
    account text NOT NULL,
    object text NOT NULL
);
CREATE INDEX IF NOT EXISTS jobs_due ON jobs (due_at);
CREATE TABLE IF NOT EXISTS state (
    name text PRIMARY KEY,
    value jsonb NOT NULL
);
"""
SCHEMA_LOCK = 7_202_611
CONNECTIONS = 6
WAIT_SECONDS = 5
STATEMENT_SECONDS = 15

LOST = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.exceptions.OperatorInterventionError,
    asyncpg.exceptions.InsufficientResourcesError,
    asyncpg.exceptions.ObjectNotInPrerequisiteStateError,
    asyncpg.InvalidCatalogNameError,
)
"""How a database that is away shows itself; it may be back for the next request."""


class Store:
    def __init__(self, database_url: str) -> None:
        self._url = database_url.replace("+asyncpg", "", 1)
        self._pool: Pool | None = None
        self._opening = asyncio.Lock()

    @asynccontextmanager
    async def transaction(self) -> "AsyncIterator[Connection]":
        pool = self._pool or await self._open()
        async with pool.acquire(timeout=WAIT_SECONDS) as connection, connection.transaction():
            yield connection

    async def close(self) -> None:
        if self._pool is not None:
            await asyncio.wait_for(self._pool.close(), WAIT_SECONDS)

    async def _open(self) -> "Pool":
        """Connect at the first need, so that the program also starts while its database is away."""
        async with self._opening:
            if self._pool is not None:
                return self._pool
            pool = await asyncpg.create_pool(
                self._url,
                min_size=0,
                max_size=CONNECTIONS,
                init=_speak_json,
                timeout=WAIT_SECONDS,
                command_timeout=STATEMENT_SECONDS,
            )
            try:
                async with pool.acquire(timeout=WAIT_SECONDS) as connection, connection.transaction():
                    await connection.execute("SELECT pg_advisory_xact_lock($1)", SCHEMA_LOCK)
                    await connection.execute(SCHEMA)
            except BaseException:
                pool.terminate()
                raise
            self._pool = pool
            return pool


async def _speak_json(connection: Any) -> None:
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
