"""One running market and one browser for all browser tests."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.async_api import Browser, Error, async_playwright, expect

from tests.browser.people import CHROMIUM_ARGUMENTS, close
from tests.stack import Running, running_market

HERE = Path(__file__).parent
HAS_FAILED = pytest.StashKey[bool]()
LOOK_SECONDS = 5
expect.set_options(timeout=15_000)  # a machine that has much to do is slow, and not wrong


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser that `make test` found or installed."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium")
    assert found, "There is no Chromium: `make test` installs one, or set CHROMIUM."
    return found


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The market without traders of its own, so that the books hold only what the tests put there.

    Its tank is open all month long: the tests run on every day of it.
    """
    directory: Path = tmp_path_factory.mktemp("market")
    for folder in (directory, *directory.parents):
        if folder.stat().st_uid == os.getuid() and folder.is_relative_to(tmp_path_factory.getbasetemp().parent):
            folder.chmod(folder.stat().st_mode | 0o011)
    with running_market(directory / "data", "--no-demo", settings={"SURPLUSFLOW_TANK_FROM_DAY": "1"}) as running:
        yield running


@pytest.fixture(scope="session")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_ARGUMENTS))
        yield launched
        await launched.close()


@pytest.fixture(autouse=True)
async def last_sight(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """Of a test that fails, tell where its people were and what they read; nobody else sees their pages."""
    yield
    if "browser" not in request.fixturenames or not request.node.stash.get(HAS_FAILED, False):
        return
    launched: Browser = request.getfixturevalue("browser")
    for context in launched.contexts:
        for page in context.pages:
            with suppress(Error, TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    print(page.url, await page.inner_text("body"), sep="\n", end="\n\n")  # noqa: T201 - pytest shows it
        await close(context)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.stash[HAS_FAILED] = item.stash.get(HAS_FAILED, False) or report.failed
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow ones come last, and of them the main job first: it counts everything at carrier and provider.

    That the market starts has a time limit of its own, so the first of them is not charged with it.
    """
    for item in items:
        if item.path.parent == HERE and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(120, func_only=True))
    items.sort(key=lambda item: 0 if item.path.parent != HERE else 1 if item.path.stem == "test_main_job" else 2)
