"""A market of its own for a measure: durable embedded servers in a directory that is thrown away, and rich members."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import psutil

from market.database import migrate, raw_dsn
from web import embedded

MEMBERS = 10_000
RICHES = 10**12

_OPENING = f"""
insert into party (id, kind, name, group_id) overriding system value values (1, 'operator', 'House', 1);
insert into asset (id, code, kind) overriding system value values (1, 'CNY', 'money'), (2, 'COIN', 'coin');
insert into instrument (id, symbol, asset_id, currency, lot_units, tick_minor, floor_minor, ceiling_minor,
    reference_minor, maximum_lots, fee_basis_points, fee_minimum_minor, opens_at, closes_at) overriding system value
values (1, 'COIN', 2, 'CNY', 100, 1, 1, 2000, 500, 1000000, 500, 1, '2020-01-01', '2100-01-01');
insert into party (id, kind, name, group_id) overriding system value
    select n, 'subscriber', 'Member', n from generate_series(101, 100 + {MEMBERS}) n;
insert into account (id, party_id, asset_id, kind, available) overriding system value
    select n * 2 + asset - 1, n, asset, 'wallet', {RICHES}
    from generate_series(101, 100 + {MEMBERS}) n, generate_series(1, 2) asset;
analyze;
"""  # noqa: S608 - our own figures


@dataclass(frozen=True)
class Stack:
    """Where the measure's servers are."""

    database_url: str
    redis_url: str

    @property
    def dsn(self) -> str:
        return raw_dsn(self.database_url)


def member(account: int) -> tuple[int, int, int]:
    """The party, money account and coin account of the n-th rich member."""
    party = 101 + account % MEMBERS
    return party, party * 2, party * 2 + 1


def cpu_seconds(process: psutil.Process) -> float:
    """Processor time of a process, with that of its children that have ended; none if it has just ended itself."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def family_seconds(process: psutil.Process) -> float:
    """Processor time of a process with all its children."""
    return sum(map(cpu_seconds, [process, *process.children(recursive=True)]))


def postgres_seconds(connection: asyncpg.Connection) -> float:
    """Processor time of a connection's server with all its processes."""
    postmaster = psutil.Process(connection.get_server_pid()).parent()
    assert postmaster is not None
    return family_seconds(postmaster)


@asynccontextmanager
async def stack() -> AsyncIterator[Stack]:
    """Start PostgreSQL (fsync on) and Valkey, make the schema and the members; stop and delete all of it afterwards."""
    with tempfile.TemporaryDirectory(prefix="surplusflow-bench-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        postgres = embedded.PostgresServer(home / "postgres")
        valkey = embedded.ValkeyServer(home / "valkey", port=embedded.free_port())
        running = []
        try:
            for server in (postgres, valkey):
                process = await asyncio.to_thread(embedded.start, server, home / f"{server.name}.log", dict(os.environ))
                running.append((server, process))
            await asyncio.to_thread(postgres.create_database, "bench")
            made = Stack(postgres.url("bench"), valkey.url)
            await asyncio.to_thread(migrate, made.database_url)
            connection = await asyncpg.connect(made.dsn)
            await connection.execute(_OPENING)
            await connection.close()
            yield made
        finally:
            for server, process in reversed(running):
                await asyncio.to_thread(embedded.stop, server, process)
