"""Logs name routes, never values: no body, no token, no number, no query (G4)."""

import json
from collections.abc import Iterator
from io import StringIO

import pytest
import structlog

from tests.web.making import Market, Visitor
from web.edge.logs import configure_logs

CANARY = "canary4711"
NUMBER = "13912345678"


@pytest.fixture
def written() -> Iterator[StringIO]:
    log = StringIO()
    configure_logs(log)
    yield log
    structlog.reset_defaults()


async def test_g4_no_value_of_a_request_reaches_the_log(written: StringIO, visitor: Visitor) -> None:
    partner = await visitor.market.partner()
    form = {"_csrf_token": visitor.token, "password": CANARY, "phone": NUMBER}
    await visitor.client.post("/tests/form", data=form, headers={"User-Agent": CANARY})
    await visitor.get(f"/nowhere/{NUMBER}?code={CANARY}")
    await visitor.get("/tests/broken")
    await partner.get(f"/orders/{CANARY}?cursor={CANARY}")
    await partner.get(f"/instruments/{NUMBER}", headers={"Cookie": f"session={CANARY}"})
    await partner.post("/handouts", {"symbol": "COIN", "phone": NUMBER, "amount_mb": 100, CANARY: 1}, CANARY)
    await visitor.sign_in(partner.party_id)

    text = written.getvalue()
    assert text.count('"event": "request"') >= 7
    secrets = (CANARY, NUMBER, "13912345678", partner.api_key, visitor.token, visitor.session_id or "")
    assert [secret for secret in secrets if secret in text] == []


async def test_a_line_tells_route_status_time_and_number(written: StringIO, market: Market) -> None:
    partner = await market.partner()

    await partner.get("/orders/ord_12345", headers={"X-Request-ID": "number-of-mine"})

    [line] = [json.loads(line) for line in written.getvalue().splitlines() if "number-of-mine" in line]
    assert (line["method"], line["route"], line["status"]) == ("GET", "/api/v1/orders/{order_id}", 404)
    assert line["ms"] > 0


async def test_nobody_forges_a_line(written: StringIO, market: Market) -> None:
    partner = await market.partner()

    await partner.get("/orders/a%0A%7B%22event%22%3A%22forged%22%7D%1b", headers={"X-Request-ID": "b\tforged"})
    await market.client.request("BREW\x1b", "/nowhere")

    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [line for line in lines if "forged" in json.dumps(line)] == []
    assert lines[-1]["method"] == "OTHER"


async def test_probes_leave_no_line(written: StringIO, market: Market) -> None:
    await market.client.get("/health/live")

    assert written.getvalue() == ""


async def test_our_own_failure_is_noted_with_its_place_and_number(written: StringIO, visitor: Visitor) -> None:
    await visitor.get("/tests/broken", {"X-Request-ID": "trace-of-test"})

    [line] = [json.loads(line) for line in written.getvalue().splitlines() if '"failed"' in line]
    assert (line["error"], line["trace_id"], line["status"]) == ("RuntimeError", "trace-of-test", 500)
    assert "pages_for_tests.py" in line["where"][0]


async def test_a_key_is_not_logged_when_it_is_wrong(written: StringIO, market: Market) -> None:
    await market.client.get("/api/v1/wallet", headers={"Authorization": f"Bearer sf_live_{CANARY * 3}"})

    assert CANARY not in written.getvalue()
