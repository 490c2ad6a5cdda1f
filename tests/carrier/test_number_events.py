"""What happens to a number at the carrier: its checks see it, its subscribers hear of it, its reservations end."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from settlement.carriers.client import Carrier
from settlement.carriers.errors import CarrierRefused
from settlement.carriers.values import ReservationStatus
from tests.carrier.simulator import CarrierProcess, a_number, an_id, only_bucket

YESTERDAY = datetime.now(UTC).date() - timedelta(days=1)
SOON = datetime.now(UTC) + timedelta(days=1)


def happen(sim: CarrierProcess, msisdn: str, kind: str, **more: Any) -> Any:
    answer = sim.raw("POST", "/admin/number-events", json={"msisdn": msisdn, "kind": kind, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


@contextmanager
def a_sink() -> Iterator[tuple[str, list[tuple[dict[str, str], Any]]]]:
    """An address that takes events, and what came to it: headers and body."""
    came: list[tuple[dict[str, str], Any]] = []

    class Sink(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            came.append(({name.lower(): value for name, value in self.headers.items()}, json.loads(body)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing to be read on the screen."""

    server = HTTPServer(("127.0.0.1", 0), Sink)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/events", came
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def test_a_recycled_number_is_seen_by_who_knew_it_before(carrier: Carrier, sim: CarrierProcess) -> None:
    line = sim.a_line()
    assert await carrier.number_recycled(line, YESTERDAY) is False

    happen(sim, line, "recycled")

    assert await carrier.number_recycled(line, YESTERDAY) is True
    assert await carrier.number_recycled(line, datetime.now(UTC).date()) is False


async def test_a_swapped_sim_is_seen_at_once(carrier: Carrier, sim: CarrierProcess) -> None:
    line = sim.a_line()

    happen(sim, line, "sim_swapped")

    assert await carrier.sim_swapped(line, 1) is True
    assert await carrier.number_recycled(line, YESTERDAY) is False


@pytest.mark.parametrize("kind", ["ported_out", "closed"])
async def test_a_number_that_left_is_unknown_to_every_question(
    carrier: Carrier, sim: CarrierProcess, kind: str
) -> None:
    line = sim.a_line()

    happen(sim, line, kind)

    for question in (carrier.sim_swapped(line, 1), carrier.number_recycled(line, YESTERDAY)):
        with pytest.raises(CarrierRefused) as refused:
            await question
        assert refused.value.status == 404
    with pytest.raises(CarrierRefused, match="NOT_FOUND"):
        await carrier.number_recycled(a_number(), YESTERDAY)


@pytest.mark.parametrize(("kind", "ends"), [("recycled", True), ("ported_out", True), ("sim_swapped", False)])
async def test_what_was_set_aside_ends_with_its_subscriber(
    carrier: Carrier, sim: CarrierProcess, kind: str, ends: bool
) -> None:
    line, name = sim.a_line(), an_id()
    bucket = await only_bucket(carrier, line)
    await carrier.reserve(bucket.id, 400, bucket.expires_at, name, line)

    happen(sim, line, kind)

    found = await carrier.find_reservation(name)
    assert found is not None
    assert found.status is (ReservationStatus.EXPIRED if ends else ReservationStatus.HELD)


async def test_data_does_not_move_to_a_number_that_left(carrier: Carrier, sim: CarrierProcess) -> None:
    seller, buyer = sim.a_line(), sim.a_line()
    bucket = await only_bucket(carrier, seller)
    held = await carrier.reserve(bucket.id, 400, bucket.expires_at, an_id(), seller)

    happen(sim, buyer, "ported_out")

    with pytest.raises(CarrierRefused, match="RECEIVER_NOT_ELIGIBLE"):
        await carrier.settle(held.id, buyer, 100, an_id())


async def test_subscribers_hear_of_it_as_a_cloudevent_under_their_own_bearer(
    carrier: Carrier, sim: CarrierProcess
) -> None:
    line, other = sim.a_line(), sim.a_line()
    with a_sink() as (url, came):
        subscription = await carrier.subscribe(line, url, "our-bearer", SOON)
        told = happen(sim, line, "sim_swapped")["told"]
        happen(sim, line, "sim_swapped", silent=True)
        happen(sim, other, "sim_swapped")

    ((headers, event),) = came
    assert told == ["204"]
    assert (headers["authorization"], headers["content-type"]) == ("Bearer our-bearer", "application/cloudevents+json")
    assert event["type"] == "org.camaraproject.sim-swap-subscriptions.v0.swapped"
    assert event["specversion"] == "1.0"
    assert event["data"] == {"phoneNumber": line, "subscriptionId": subscription}


async def test_live_reservations_are_listed_by_the_page(carrier: Carrier, sim: CarrierProcess) -> None:
    line = sim.a_line()
    bucket = await only_bucket(carrier, line)
    kept, gone = [await carrier.reserve(bucket.id, 100, bucket.expires_at, an_id(), line) for _ in range(2)]
    await carrier.release(gone.id)

    first = await carrier.reservation_page(limit=1)
    listed = {
        each.id
        for offset in range(first.total_count)
        for each in (await carrier.reservation_page(offset=offset, limit=1)).reservations
    }

    assert len(first.reservations) == 1
    assert kept.id in listed
    assert gone.id not in listed


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/number-recycling/v0.2/check", {"specifiedDate": "2026-01-01"}, "MISSING_IDENTIFIER"),
        ("/number-recycling/v0.2/check", {"phoneNumber": "+8613900000000"}, "INVALID_ARGUMENT"),
        ("/sim-swap-subscriptions/v0.3/subscriptions", {"protocol": "MQTT3"}, "INVALID_ARGUMENT"),
        ("/admin/number-events", {"msisdn": "+8613900000000", "kind": "eaten"}, "INVALID_REQUEST"),
    ],
)
def test_what_makes_no_sense_is_refused(sim: CarrierProcess, path: str, body: dict[str, Any], code: str) -> None:
    assert sim.raw("POST", path, json=body).json()["code"] == code
