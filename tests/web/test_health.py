"""Whether the web lives and is ready, and who may read its figures."""

import dataclasses

import pytest
from httpx import ASGITransport, AsyncClient
from litestar import Litestar

from market.settings import Settings
from tests.web.making import Market, settings_of
from web.app import create_app
from web.metrics import metrics_token


async def test_ready_names_every_part(market: Market) -> None:
    response = await market.client.get("/health/ready")

    assert response.status_code == 200
    assert response.json()["status"] == "ready"
    assert {name: part["ok"] for name, part in response.json()["parts"].items()} == {
        "database": True,
        "valkey": True,
        "engine": True,
    }


async def test_a_web_that_drains_is_not_ready(market: Market, opened: Litestar) -> None:
    opened.state.drain.set()
    try:
        assert (await market.client.get("/health/ready")).status_code == 503
        assert (await market.client.get("/health/live")).status_code == 200
    finally:
        opened.state.drain.clear()


@pytest.fixture
def broken(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    """Settings with one server where nobody answers."""
    return dataclasses.replace(settings, **{request.param: getattr(settings_of(), request.param)})


@pytest.mark.parametrize(
    ("broken", "part"), [("database_url", "database"), ("redis_url", "valkey")], indirect=["broken"]
)
async def test_the_part_that_is_down_is_named_and_requests_are_503(broken: Settings, part: str) -> None:
    app = create_app(broken)
    transport = ASGITransport(app=app)  # type: ignore[arg-type]
    async with app.lifespan(), AsyncClient(transport=transport, base_url=broken.public_url) as client:
        ready = await client.get("/health/ready")
        asked = await client.get("/api/v1/wallet", headers={"Authorization": "Bearer sf_live_" + "x" * 30})
        alive = await client.get("/health/live")

    assert (ready.status_code, ready.json()["parts"][part]["ok"]) == (503, False)
    assert (asked.status_code, asked.json()["code"], "retry-after" in asked.headers) == (503, "unavailable", True)
    assert alive.status_code == 200
    assert "127.0.0.1:1" not in ready.text + asked.text


async def test_figures_are_counted_by_route_template(market: Market) -> None:
    partner = await market.partner()
    await partner.get("/orders/ord_4711")

    page = (await market.client.get("/metrics")).text

    assert 'route="/api/v1/orders/{order_id}",status="404"' in page
    assert "ord_4711" not in page


async def test_figures_are_for_operators_alone(market: Market, settings: Settings, opened: Litestar) -> None:
    from_afar = ASGITransport(app=opened, client=("203.0.113.9", 4000))  # type: ignore[arg-type]
    async with AsyncClient(transport=from_afar, base_url=settings.public_url) as stranger:
        refused = await stranger.get("/metrics")
        wrong = await stranger.get("/metrics", headers={"Authorization": "Bearer x"})
        forged = await stranger.get("/metrics", headers={"X-Forwarded-For": "127.0.0.1"})
        told = await stranger.get("/metrics", headers={"Authorization": f"Bearer {metrics_token(settings)}"})
    proxied = await market.client.get("/metrics", headers={"X-Forwarded-For": "203.0.113.9"})

    assert [answer.status_code for answer in (refused, wrong, forged, told, proxied)] == [404, 404, 404, 200, 404]
