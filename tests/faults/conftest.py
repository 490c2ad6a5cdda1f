"""A floor whose engine runs in processes of its own, and servers that may be killed."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from market import gateway
from tests.engine.factories import Floor, fresh_database, open_floor
from tests.faults.engines import Nursery, open_nursery
from tests.faults.servers import Mortal
from web.embedded import PostgresServer, ValkeyServer, free_port

Tally = Callable[..., None]
_TALLIES = pytest.StashKey[list[str]]()


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    """Write down how often a test met what it is about: one that never met its fault has shown nothing."""
    lines = request.config.stash.setdefault(_TALLIES, [])

    def count(**counted: int) -> None:
        figures = ", ".join(f"{number} {what.replace('_', ' ')}" for what, number in counted.items())
        lines.append(f"{request.node.name}: {figures}")

    return count


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if lines := config.stash.get(_TALLIES, []):
        terminalreporter.section("faults met")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(autouse=True)
def _impatient_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that gives up sooner, so that what is lost is asked for again sooner."""
    monkeypatch.setattr(gateway, "ANSWER_SECONDS", 1.0)
    monkeypatch.setattr(gateway, "ASK_SECONDS", 0.2)


@pytest.fixture
def transport(tmp_path: Path, server_directory: Path) -> Iterator[Mortal]:
    """A Valkey for one test."""
    server = ValkeyServer(server_directory / f"valkey-{tmp_path.name}", port=free_port())
    mortal = Mortal(server, tmp_path / "valkey.log")
    mortal.start()
    yield mortal
    mortal.stop()


@pytest.fixture
def transport_url(transport: Mortal) -> str:
    assert isinstance(transport.server, ValkeyServer)
    return transport.server.url


@pytest.fixture
async def url(new_database: Callable[[str], str]) -> str:
    """A database with the factories' instruments."""
    return await fresh_database(new_database, "faults")


@pytest.fixture
async def floor(url: str, transport_url: str) -> AsyncIterator[Floor]:
    """A market floor that nobody serves yet."""
    async with open_floor(url, transport_url) as floor:
        yield floor


@pytest.fixture
async def nursery(url: str, transport_url: str, tmp_path: Path) -> AsyncIterator[Nursery]:
    """Where engines for the floor come from."""
    async with open_nursery(url, transport_url, tmp_path / "engines.log") as nursery:
        yield nursery


@pytest.fixture(scope="module")
def durable_postgres(server_directory: Path) -> Iterator[Mortal]:
    """A PostgreSQL that keeps what it acknowledges, as in production, and that may be killed."""
    mortal = Mortal(PostgresServer(server_directory / "durable"), server_directory / "durable.log")
    mortal.start()
    yield mortal
    mortal.stop()
