"""While the database's volumes run full the web says so, first takes only cancellations, and then nothing new (F7)."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from market.storage import Storage, tell
from tests.faults.waiting import until
from tests.web.making import Market, Visitor

Say = Callable[[Storage], Awaitable[None]]


@pytest.fixture
async def say(market: Market) -> AsyncIterator[Say]:
    """Say how full it is, and wait until the web has heard."""
    venue = market.venue

    async def say(storage: Storage) -> None:
        await tell(venue.redis, storage)

        async def has_heard() -> bool:
            return venue.gateway.storage == storage

        await until(has_heard)

    yield say
    await say(Storage())


async def test_short_of_storage_only_cancellations_are_taken(market: Market, say: Say) -> None:
    partner = await market.partner()
    standing = (await partner.order("buy", 90)).json()["order_id"]

    await say(Storage("low", 8.5))
    refused = await partner.order("buy", 90)
    page = await market.client.get("/market", headers={"Accept": "text/html", "Accept-Language": "en"})
    let_go = await partner.send("DELETE", f"/orders/{standing}", headers={"Idempotency-Key": "let-go-1"})

    problem = refused.json()
    assert (refused.status_code, problem["code"], refused.headers["retry-after"]) == (503, "short_of_storage", "60")
    assert refused.headers["content-type"] == "application/problem+json"
    assert problem["type"] == "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
    assert "can be cancelled" in problem["detail"]
    assert page.status_code == 200
    assert "You can look at everything and cancel orders" in page.text
    assert let_go.status_code == 200


async def test_with_its_storage_full_the_market_is_only_read(market: Market, visitor: Visitor, say: Say) -> None:
    partner = await market.partner()
    standing = (await partner.order("buy", 90)).json()["order_id"]

    await say(Storage("full", 3))
    asked = [
        await partner.order("buy", 90),
        await partner.send("DELETE", f"/orders/{standing}", headers={"Idempotency-Key": "let-go-2"}),
        await market.client.post(
            "/sign-in", data={"number": "1"}, headers={"origin": visitor.origin, "x-csrftoken": visitor.token}
        ),
    ]
    read = await partner.get(f"/orders/{standing}")
    page = await market.client.get("/market", headers={"Accept": "text/html", "Accept-Language": "en"})
    event = await market.client.post("/webhooks/carriers/CMCC", content=b"{}")

    assert [(answer.status_code, answer.headers.get("retry-after")) for answer in asked] == [(503, "60")] * 3
    assert read.status_code == 200
    assert "The market can only be looked at just now" in page.text
    assert event.status_code != 503  # what settlement waits for still comes in
    await say(Storage())
    assert (await partner.order("buy", 90)).status_code == 201


async def test_whoever_watches_the_web_sees_how_much_is_free_and_it_stays_ready(market: Market, say: Say) -> None:
    await say(Storage("low", 8.5))
    ready = await market.client.get("/health/ready")
    figures = (await market.client.get("/metrics")).text
    await say(Storage())
    unwatched = await market.client.get("/health/ready")

    told = ready.json()["information"]["storage"]
    assert ready.status_code == 200
    assert told == {"ok": False, "note": "8.5 % free, orders can only be cancelled"}
    assert "surplusflow_storage_free_ratio 0.085" in figures
    assert "surplusflow_storage_level 1.0" in figures
    assert "storage" not in unwatched.json()["information"]
