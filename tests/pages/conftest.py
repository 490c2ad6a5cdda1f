"""The pages on a real market: PostgreSQL, Valkey and an engine; nobody outside is asked."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import pytest
from httpx import ASGITransport, AsyncClient, Response
from litestar import Litestar
from redis.asyncio import Redis
from sqlalchemy import event

from market.database import raw_dsn
from market.settings import Settings
from tests.engine.factories import fresh_database, running_engine
from tests.web.making import Market, settings_of
from tests.web.pages_for_tests import pages
from web.app import create_app, page_router
from web.edge.hosts import Hosts


class Fields(HTMLParser):
    """The fields of every form of a page, by the form's action, as a browser without script would send them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.forms: dict[str, dict[str, str]] = {}
        self._form: dict[str, str] = {}
        self._select = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._form = self.forms.setdefault(found.get("action", ""), {})
        elif tag == "select":
            self._select = found["name"]
        elif tag == "option" and ("selected" in found or self._select not in self._form):
            self._form[self._select] = found["value"]
        elif tag == "input" and (found.get("type") not in {"radio", "checkbox"} or "checked" in found):
            self._form[found["name"]] = found.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = {}


@dataclass
class Browser:
    """Somebody at a page, without script unless it says so."""

    client: AsyncClient
    party_id: int = 0
    page: Response | None = None
    shown: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def text(self) -> str:
        assert self.page is not None
        return self.page.text

    async def get(self, path: str, *, htmx: bool = False, language: str = "en") -> Response:
        headers = self._headers({"Accept-Language": language}, htmx=htmx)
        return self._see(await self.client.get(path, headers=headers))

    async def send(
        self, action: str, changes: dict[str, str] | None = None, *, htmx: bool = False, **more: str
    ) -> Response:
        """Send a form of the present page as it stands, with a few fields filled in."""
        fields = {**self.shown[action], **(changes or {}), **more}
        return await self.post(action, fields, htmx=htmx)

    async def post(self, action: str, fields: dict[str, str], *, htmx: bool = False) -> Response:
        headers = self._headers({"Origin": settings_of().public_url}, htmx=htmx)
        return self._see(await self.client.post(action, data=fields, headers=headers))

    def _headers(self, more: dict[str, str], *, htmx: bool) -> dict[str, str]:
        asked = {"HX-Request": "true"} if htmx else {}
        return {"Accept": "text/html", "Accept-Language": "en", **asked, **more}

    def _see(self, response: Response) -> Response:
        self.page = response
        if "text/html" in response.headers.get("content-type", ""):
            self.shown |= Fields(response.text).forms
        return response


@pytest.fixture(scope="session")
async def page_settings(new_database: Callable[[str], str], valkey_url: str) -> Settings:
    url = await fresh_database(new_database, "pages")
    return settings_of(database_url=url, redis_url=valkey_url.replace("/0", "/1"))


@pytest.fixture(scope="session")
async def page_app(page_settings: Settings) -> AsyncIterator[Litestar]:
    """The application in the tests' own loop, with an engine behind it."""
    async with running_pages(page_settings) as app:
        yield app


@asynccontextmanager
async def running_pages(settings: Settings) -> AsyncIterator[Litestar]:
    """An application with an engine behind it. One task holds it open: a fixture is begun and ended by two."""
    app = create_app(settings)
    app.register(page_router(settings, Hosts(settings), pages))
    ready, over = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with (
            Redis.from_url(settings.redis_url) as redis,
            running_engine(raw_dsn(settings.database_url), redis),
            app.lifespan(),
        ):
            ready.set()
            await over.wait()

    holder = asyncio.create_task(hold())
    await asyncio.wait({holder, asyncio.create_task(ready.wait())}, return_when=asyncio.FIRST_COMPLETED)
    yield app
    over.set()
    await holder


@pytest.fixture
async def browsers(page_app: Litestar) -> AsyncIterator[Callable[[], Browser]]:
    """Opens one browser after another, each with cookies of its own."""
    transport = ASGITransport(app=page_app)  # type: ignore[arg-type]
    async with AsyncExitStack() as stack:
        opened = [
            await stack.enter_async_context(
                AsyncClient(transport=transport, base_url=settings_of().public_url, follow_redirects=True)
            )
            for _ in range(6)
        ]
        yield lambda: Browser(opened.pop())


@pytest.fixture
def browser(browsers: Callable[[], Browser]) -> Browser:
    """A stranger."""
    return browsers()


@pytest.fixture
def anybody(browsers: Callable[[], Browser]) -> Callable[[], Browser]:
    """Opens a browser for whoever is needed beside the members."""
    return browsers


@pytest.fixture
def signed_in(page_app: Litestar, browsers: Callable[[], Browser]) -> Callable[..., Any]:
    """Sign somebody new in, with money and coins."""

    async def enter(**changes: Any) -> Browser:
        return await somebody_new(page_app, browsers(), **changes)

    return enter


async def somebody_new(app: Litestar, browser: Browser, **changes: Any) -> Browser:
    """Sign a new party in at a browser."""
    party = await Market(browser.client, app.state.venue).partner(**{"kind": "subscriber", **changes})
    await browser.get("/sign-in")
    await browser.post(f"/tests/sign-in/{party.party_id}", browser.shown["/preferences"])
    browser.party_id = party.party_id
    return browser


@pytest.fixture
def count_statements(page_app: Litestar) -> Callable[[], AbstractContextManager[list[str]]]:
    """Gathers the statements that the application sends to the database while it is entered."""

    @contextmanager
    def counting() -> Iterator[list[str]]:
        sent: list[str] = []

        def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            sent.append(statement)

        engine = page_app.state.venue.engine.sync_engine
        event.listen(engine, "before_cursor_execute", note)
        try:
            yield sent
        finally:
            event.remove(engine, "before_cursor_execute", note)

    return counting
