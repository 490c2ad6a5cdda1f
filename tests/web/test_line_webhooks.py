"""Carriers' events of numbers: taken under the carrier's own bearer, small and well formed, stored once (F26)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from httpx import ASGITransport, AsyncClient, Response
from sqlalchemy import func, select

from market.line_events import token_of
from market.parties import line_or_invitation
from market.settings import Settings
from market.venue import Venue
from settlement.carriers.line_checks import SWAPPED
from settlement.carriers.values import CarrierProfile
from settlement.line_event_tables import LineEventRow
from tests.web.making import NEXT
from web.app import create_app

CARRIERS = tuple(CarrierProfile(code, code, code, "http://127.0.0.1:1", "credential") for code in ("CMCC", "CTCC"))


@dataclass
class Door:
    """The webhook, and a number of ours that it may speak of."""

    client: AsyncClient
    venue: Venue
    number: str

    def event(self, **changes: Any) -> dict[str, Any]:
        values = {
            "id": f"event-{next(NEXT)}",
            "source": "https://cmcc.example/line-events",
            "type": SWAPPED,
            "specversion": "1.0",
            "datacontenttype": "application/json",
            "time": datetime.now(UTC).isoformat(),
            "data": {"phoneNumber": self.number, "subscriptionId": "subscription"},
        }
        return {**values, **changes}

    async def send(self, body: Any, code: str = "CMCC", token: str | None = None) -> Response:
        bearer = token_of(self.venue.settings.secret_key, code) if token is None else token
        authorization = f"Bearer {bearer}".encode("latin-1")
        headers = {b"Content-Type": b"application/cloudevents+json", b"Authorization": authorization}
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        return await self.client.post(f"/webhooks/lines/{code}", content=content, headers=headers)

    async def stored(self) -> int:
        async with self.venue.sessions() as session:
            return await session.scalar(select(func.count()).select_from(LineEventRow)) or 0


@asynccontextmanager
async def a_door(settings: Settings) -> AsyncIterator[Door]:
    app = create_app(replace(settings, carriers=CARRIERS))
    transport = ASGITransport(app=app)  # type: ignore[arg-type]
    async with app.lifespan(), AsyncClient(transport=transport, base_url=settings.public_url) as client:
        venue, number = app.state.venue, f"+861390{next(NEXT):07d}"
        async with venue.sessions.begin() as session:
            await line_or_invitation(session, venue.vault, number, "CMCC")
        yield Door(client, venue, number)


async def test_an_event_is_stored_once_and_answered_alike(settings: Settings, engine: None) -> None:
    async with a_door(settings) as door:
        before, event = await door.stored(), door.event()

        answers = [await door.send(event) for _ in range(3)]
        answers.append(await door.send(door.event(data={"phoneNumber": "+8613800000000"})))
        answers.append(await door.send(door.event(type="org.camaraproject.sim-swap-subscriptions.v0.unheard-of")))

        assert {answer.status_code for answer in answers} == {204}
        assert {answer.content for answer in answers} == {b""}
        assert await door.stored() == before + 1


async def test_who_has_not_the_carriers_own_bearer_changes_nothing(settings: Settings, engine: None) -> None:
    async with a_door(settings) as door:
        before = await door.stored()
        secret = door.venue.settings.secret_key

        answers = [
            await door.send(door.event(), token=""),
            await door.send(door.event(), token="made-up"),
            await door.send(door.event(), token="é"),
            await door.send(door.event(), token=token_of(secret, "CTCC")),
            await door.send(door.event(), code="NONE"),
            await door.client.post("/webhooks/lines/CMCC", json=door.event()),
        ]

        assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(401, "not_the_carrier")}
        assert await door.stored() == before


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b"{}", b"not json", b"\xff", b"[" * 30_000,
        {"time": "yesterday"}, {"time": "2026-11-27T10:00:00"}, {"specversion": "0.3"}, {"id": ""}, {"id": "x" * 301},
        {"data": {"phoneNumber": "13900000000"}}, {"data": {"phoneNumber": "+86139", "plan": "eternal"}},
        {"source": 5}, {"type": None},
    ],
)  # fmt: skip
async def test_what_is_no_event_is_refused(settings: Settings, engine: None, body: Any) -> None:
    async with a_door(settings) as door:
        before = await door.stored()

        answer = await door.send(body if isinstance(body, bytes) else door.event(**body))

        assert (answer.status_code, await door.stored()) == (400, before)


async def test_a_huge_event_is_not_read(settings: Settings, engine: None) -> None:
    async with a_door(settings) as door:
        assert (await door.send(door.event(padding="x" * 70_000))).status_code == 413
