"""The database: its engine, its sessions, and its migrations."""

from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

MIGRATIONS = Path(__file__).parent / "migrations"
STATEMENT_TIMEOUT_MS = 15_000
LOCK_TIMEOUT_MS = 5_000
POOL_SIZE = 10
TRANSACTION_TIMEOUT_MS = 30_000
"""A process that was stopped inside a transaction loses it by then, and its locks keep nobody waiting any longer.

The server's time-out of idle transactions would not do: one that waits for the rest of a query's messages is active.
"""


def connect(database_url: str, *, pool_size: int = POOL_SIZE) -> AsyncEngine:
    """Open a pool of at most so many connections. Each program has its own; together they stay below the server's.

    What was opened stays open: to begin a connection, and prepare all statements on it, costs more than a page. With
    some that come and go, a moment's crowd would grow into a lasting one. The warmest is used first.
    """
    limits = {
        "statement_timeout": STATEMENT_TIMEOUT_MS,
        "lock_timeout": LOCK_TIMEOUT_MS,
        "transaction_timeout": TRANSACTION_TIMEOUT_MS,
    }
    engine = create_async_engine(
        database_url,
        pool_size=pool_size,
        max_overflow=0,
        pool_use_lifo=True,
        hide_parameters=True,  # an error's text goes to logs, what was asked for does not
        connect_args={
            "server_settings": {name: str(limit) for name, limit in limits.items()},
            "async_creator_fn": _open_connection,
        },
    )
    event.listen(engine.sync_engine, "checkout", _check_open)
    return engine


async def _open_connection(*address: Any, **options: Any) -> asyncpg.Connection:
    """A server that has ended leaves no socket behind, and its host may have no address: it is away all the same.

    Raises:
        ConnectionError: nobody answers there.
    """
    try:
        return await asyncpg.connect(*address, **options)
    except (ConnectionError, TimeoutError):
        raise
    except OSError as error:
        raise ConnectionRefusedError(error.errno, error.strerror) from error


def _check_open(connection: Any, _record: Any, _proxy: Any) -> None:
    """Leave a connection that its server has ended. A ping would tell the same for three round trips each time.

    Raises:
        DisconnectionError: the pool opens another in its place.
    """
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def sessions(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    """Sessions whose values stay readable after the commit; nothing is committed but by an explicit commit."""
    return async_sessionmaker(engine, expire_on_commit=False)


def reads(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    """Sessions for reading: each statement stands alone, as it would in a transaction that sees what is committed."""
    return async_sessionmaker(engine.execution_options(isolation_level="AUTOCOMMIT"), expire_on_commit=False)


def raw_dsn(database_url: str) -> str:
    """The same address for asyncpg alone."""
    return database_url.replace("postgresql+asyncpg://", "postgresql://", 1)


def migrate(database_url: str) -> None:
    """Bring the schema to its newest revision; a second caller waits for the first."""
    from alembic import command  # only the one program that migrates has to load it
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["database_url"] = database_url
    command.upgrade(config, "head")
