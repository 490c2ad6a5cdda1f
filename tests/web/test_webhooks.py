"""The provider's events: taken when signed and fresh, once; anything else changes nothing (F26)."""

import asyncio
import hashlib
import hmac
import json
import time
from typing import Any

import pytest
from httpx import Response
from sqlalchemy import func, select

from settlement.tables import ProviderEventRow
from tests.web.making import NEXT, WEBHOOK_SECRET, Market


def an_event(**changes: Any) -> bytes:
    event = {
        "id": f"evt_{next(NEXT)}",
        "object": "event",
        "api_version": "2025-01-01",
        "type": "payment_intent.succeeded",
        "created": int(time.time()),
        "data": {"object": {"id": f"pi_{next(NEXT)}", "object": "payment_intent"}},
    }
    return json.dumps({**event, **changes}).encode()


def signature(body: bytes, *, secret: str = WEBHOOK_SECRET, at: float | None = None) -> str:
    moment = int(time.time() if at is None else at)
    signed = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={moment},v1={signed}"


async def send(market: Market, body: bytes, *signatures: str) -> Response:
    headers = [("Content-Type", "application/json"), *(("Stripe-Signature", each) for each in signatures)]
    return await market.client.post("/webhooks/payments", content=body, headers=headers)


async def stored(market: Market) -> int:
    async with market.venue.sessions() as session:
        return await session.scalar(select(func.count()).select_from(ProviderEventRow)) or 0


async def test_a_signed_event_is_stored_and_answered(market: Market) -> None:
    body, before = an_event(), await stored(market)

    response = await send(market, body, signature(body))

    assert (response.status_code, await stored(market)) == (200, before + 1)


async def test_an_event_that_comes_again_is_stored_once(market: Market) -> None:
    body, before = an_event(), await stored(market)

    answers = await asyncio.gather(*(send(market, body, signature(body)) for _ in range(4)))

    assert ({answer.status_code for answer in answers}, await stored(market)) == ({200}, before + 1)


@pytest.mark.parametrize("age_seconds", [301, 86_400])
async def test_an_old_event_changes_nothing(market: Market, age_seconds: int) -> None:
    body, before = an_event(), await stored(market)

    response = await send(market, body, signature(body, at=time.time() - age_seconds))

    assert (response.status_code, response.json()["code"]) == (400, "forged")
    assert await stored(market) == before


@pytest.mark.parametrize("header", [None, "", "t=1,v1=00", "v1=abc", "t=x,v1=y", "garbage", "t=,v1="])
async def test_an_event_without_its_signature_changes_nothing(market: Market, header: str | None) -> None:
    before = await stored(market)

    response = await send(market, an_event(), *([] if header is None else [header]))

    assert (response.status_code, await stored(market)) == (400, before)


async def test_another_secret_another_body_or_a_second_signature_is_forged(market: Market) -> None:
    body, before = an_event(), await stored(market)
    good = signature(body)

    answers = [
        await send(market, body, signature(body, secret="whsec_somebody_elses")),
        await send(market, body.replace(b"succeeded", b"canceled!"), good),
        await send(market, body, good, good),
    ]

    assert [answer.status_code for answer in answers] == [400, 400, 400]
    assert await stored(market) == before


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b"not json", b'{"id": 5}', b"\xff\xfe"])
async def test_a_signed_body_that_is_no_event_changes_nothing(market: Market, body: bytes) -> None:
    before = await stored(market)

    response = await send(market, body, signature(body))

    assert (response.status_code, await stored(market)) == (400, before)


async def test_a_huge_event_is_not_read(market: Market) -> None:
    body = an_event(padding="x" * 70_000)

    assert (await send(market, body, signature(body))).status_code == 413


async def test_a_signed_event_needs_no_token_and_opens_no_session(market: Market) -> None:
    body = an_event()

    response = await send(market, body, signature(body))

    assert "set-cookie" not in response.headers
