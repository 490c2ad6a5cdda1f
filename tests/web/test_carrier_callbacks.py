"""What carriers push: taken when signed and fresh, stored once; anything else changes nothing (F20)."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import urlencode

import pytest
from httpx import ASGITransport, AsyncClient, Response
from sqlalchemy import select

from market.installation import mark
from market.settings import Settings
from settlement.carriers.recharge.signing import sign
from settlement.carriers.values import CarrierProfile
from settlement.naming import external_id
from settlement.push_tables import CarrierPushRow
from settlement.tables import InstructionRow
from tests.settlement.making import instruct
from tests.web.making import NEXT, Market
from web.app import create_app
from web.carrier_callbacks import PUSH_BYTES

SECRET = "a-gateways-secret"
GATEWAY = CarrierProfile(
    "GATE", "网关", "Gateway", "http://127.0.0.1:9/gateway", SECRET, dialect="recharge", partner_no="P7"
)


@asynccontextmanager
async def a_market(settings: Settings) -> AsyncIterator[Market]:
    """The web application with a gateway among its carriers."""
    app = create_app(replace(settings, carriers=(GATEWAY,)))
    transport = ASGITransport(app=app)  # type: ignore[arg-type]
    async with app.lifespan(), AsyncClient(transport=transport, base_url=settings.public_url) as client:
        yield Market(client, app.state.venue)


def a_push(secret: str = SECRET, **changes: str) -> bytes:
    form = {
        "partner_no": "P7",
        "order_no": f"or-{next(NEXT)}",
        "serial_no": "somebody-else",
        "status": "2",
        "phone": "13800000000",
        "timestamp": str(int(time.time())),
        **changes,
    }
    return urlencode({**form, "sign": sign(form, secret)}).encode()


async def send(market: Market, body: bytes, code: str = "GATE") -> Response:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return await market.client.post(f"/webhooks/carriers/{code}", content=body, headers=headers)


async def stored(market: Market) -> list[str | None]:
    async with market.venue.sessions() as session:
        return list(await session.scalars(select(CarrierPushRow.outcome).order_by(CarrierPushRow.id)))


async def a_delivery(market: Market, status: str) -> tuple[int, str]:
    """An instruction that would be asked about in an hour, and its name at the carrier."""
    subject_id = 10**9 + next(NEXT)
    async with market.venue.sessions.begin() as session:
        await instruct(session, "deliver", subject_id, "GATE")
        row = (await session.scalars(select(InstructionRow).where(InstructionRow.subject_id == subject_id))).one()
        row.status, row.not_before = status, row.not_before.replace(year=row.not_before.year + 1)
        return row.id, external_id(await mark(session), "deliver", subject_id)


async def is_due(market: Market, instruction_id: int) -> bool:
    async with market.venue.sessions() as session:
        row = await session.get_one(InstructionRow, instruction_id)
        return row.not_before.timestamp() <= time.time()


async def test_a_push_makes_its_instruction_due_and_is_answered_with_ok(settings: Settings, engine: None) -> None:
    async with a_market(settings) as market:
        instruction_id, name = await a_delivery(market, "unknown")

        answer = await send(market, a_push(serial_no=name))

        assert (answer.status_code, answer.text) == (200, "ok")
        assert await is_due(market, instruction_id)
        assert (await stored(market))[-1] == "asked"


async def test_the_same_push_is_stored_once(settings: Settings, engine: None) -> None:
    async with a_market(settings) as market:
        body, before = a_push(), await stored(market)

        answers = await asyncio.gather(*(send(market, body) for _ in range(4)))

        assert {answer.text for answer in answers} == {"ok"}
        assert await stored(market) == [*before, "quarantined"]


async def test_an_early_push_is_kept_until_its_request_is_answered(settings: Settings, engine: None) -> None:
    async with a_market(settings) as market:
        instruction_id, name = await a_delivery(market, "claimed")

        answer = await send(market, a_push(serial_no=name))

        assert answer.text == "ok"
        assert (await stored(market))[-1] is None
        assert not await is_due(market, instruction_id)


FORGED: dict[str, Callable[[], bytes]] = {
    "another secret": lambda: a_push(secret="another"),
    "another partner": lambda: a_push(partner_no="P8"),
    "no status": lambda: a_push(status="5"),
    "no serial number": lambda: a_push(serial_no=""),
    "old": lambda: a_push(timestamp=str(int(time.time()) - 86_400)),
    "no moment": lambda: a_push(timestamp="soon"),
    "a field twice": lambda: a_push() + b"&status=3",
    "empty": lambda: b"",
    "no text": lambda: b"\xff",
}
"""They are signed when their turn comes: a push grows old, and an old one is refused whatever it says."""


@pytest.mark.parametrize("name", FORGED)
async def test_a_forged_push_changes_nothing(settings: Settings, engine: None, name: str) -> None:
    async with a_market(settings) as market:
        before = await stored(market)

        answer = await send(market, FORGED[name]())

        assert (answer.status_code, answer.json()["code"]) == (400, "forged")
        assert await stored(market) == before


async def test_a_push_under_another_carriers_name_changes_nothing(settings: Settings, engine: None) -> None:
    async with a_market(settings) as market:
        before = await stored(market)

        answer = await send(market, a_push(), "CMCC")

        assert (answer.status_code, answer.json()["code"]) == (400, "forged")
        assert await stored(market) == before


async def test_a_huge_push_is_not_read(settings: Settings, engine: None) -> None:
    async with a_market(settings) as market:
        assert (await send(market, b"a" * (PUSH_BYTES + 1))).status_code == 413
