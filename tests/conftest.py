"""Fixtures for every test: one embedded PostgreSQL and one embedded Valkey for the whole run."""

import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from web.embedded import PostgresServer, ValkeyServer, free_port, start, stop


@pytest.fixture(scope="session")
def server_directory() -> Iterator[Path]:
    """A folder with a short path, which sockets need, and open enough for a server that does not run as root."""
    with tempfile.TemporaryDirectory(prefix="surplusflow-", dir="/tmp") as directory:
        yield Path(directory)


@pytest.fixture(scope="session")
def postgres(server_directory: Path) -> Iterator[PostgresServer]:
    server = PostgresServer(server_directory / "postgres", durable=False)
    process = start(server, server_directory / "postgres.log", dict(os.environ))
    yield server
    stop(server, process)


@pytest.fixture(scope="session")
def postgres_server(postgres: PostgresServer) -> str:
    """The URL of a running PostgreSQL's maintenance database."""
    return postgres.url()


@pytest.fixture(scope="session")
def new_database(postgres: PostgresServer) -> Callable[[str], str]:
    """Create a fresh, empty database and return its URL."""
    counter = itertools.count(1)

    def create(prefix: str) -> str:
        name = f"{prefix}_{next(counter)}"
        postgres.create_database(name)
        return postgres.url(name)

    return create


@pytest.fixture(scope="session")
def valkey_url(server_directory: Path) -> Iterator[str]:
    """The URL of a running Valkey; nothing in it outlives the run."""
    server = ValkeyServer(server_directory / "valkey", port=free_port())
    process = start(server, server_directory / "valkey.log", dict(os.environ))
    yield server.url
    stop(server, process)
