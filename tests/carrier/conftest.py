"""The simulated carrier for the run, and the port that talks to it."""

from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from settlement.carriers.client import Carrier
from tests.carrier.simulator import CarrierProcess, free_port


@pytest.fixture(scope="session")
def carrier_process(new_database: Callable[[str], str]) -> Iterator[CarrierProcess]:
    process = CarrierProcess(new_database("carrier"), free_port())
    try:
        process.start()
        yield process
    finally:
        process.stop()


@pytest.fixture
def sim(carrier_process: CarrierProcess) -> CarrierProcess:
    """The simulator, well behaved until the test says otherwise."""
    carrier_process.faults()
    return carrier_process


@pytest.fixture(scope="module")
def own_sim(new_database: Callable[[str], str]) -> Iterator[CarrierProcess]:
    """A simulator of the module's own, to be stopped, started and cut off."""
    process = CarrierProcess(new_database("carrier"), free_port())
    try:
        process.start()
        yield process
    finally:
        process.stop()


@pytest.fixture(scope="session")
async def patient_port(carrier_process: CarrierProcess) -> AsyncIterator[Carrier]:
    async with Carrier(carrier_process.profile()) as port:
        yield port


@pytest.fixture(scope="session")
async def hasty_port(carrier_process: CarrierProcess) -> AsyncIterator[Carrier]:
    async with Carrier(carrier_process.profile(timeout_seconds=0.5)) as port:
        yield port


@pytest.fixture
def carrier(sim: CarrierProcess, patient_port: Carrier) -> Carrier:
    return patient_port


@pytest.fixture
def hasty(sim: CarrierProcess, hasty_port: Carrier) -> Carrier:
    """The same port with little patience."""
    return hasty_port
