"""Each refusal the simulated carrier publishes, and that a refused request changes nothing."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from settlement.carriers.client import TMF, Carrier
from settlement.carriers.errors import CarrierMismatch, CarrierRefused
from settlement.simulators.carrier.refusals import REFUSALS
from tests.carrier.simulator import CarrierProcess, a_number, an_id, month_end, only_bucket

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC).isoformat()


async def test_reserving_more_than_is_left_is_refused(carrier: Carrier, sim: CarrierProcess) -> None:
    seller = sim.a_line(remaining_mb=100)
    bucket = await only_bucket(carrier, seller)

    with pytest.raises(CarrierRefused, match="INSUFFICIENT_BALANCE: The bucket has 100 MB, 101 MB were asked for"):
        await carrier.reserve(bucket.id, 101, bucket.expires_at, an_id(), seller)

    assert await only_bucket(carrier, seller) == bucket


async def test_expired_data_is_refused(carrier: Carrier, sim: CarrierProcess) -> None:
    seller, friend = sim.a_line(expires_at=LONG_AGO), sim.a_line()
    bucket = await only_bucket(carrier, seller)

    with pytest.raises(CarrierRefused, match="BUCKET_EXPIRED"):
        await carrier.reserve(bucket.id, 100, month_end(), an_id(), seller)
    with pytest.raises(CarrierRefused, match="BUCKET_EXPIRED"):
        await carrier.transfer(bucket.id, seller, friend, 100, an_id())
    with pytest.raises(CarrierRefused, match="BUCKET_EXPIRED"):
        await carrier.top_up(seller, 100, "CN", datetime(2020, 1, 1, tzinfo=UTC), an_id())


async def test_a_reservation_cannot_outlive_its_bucket(carrier: Carrier, sim: CarrierProcess) -> None:
    seller = sim.a_line()
    bucket = await only_bucket(carrier, seller)

    with pytest.raises(CarrierRefused, match="EXPIRATION_BEYOND_BUCKET"):
        await carrier.reserve(bucket.id, 100, bucket.expires_at + timedelta(seconds=1), an_id(), seller)


async def test_received_data_cannot_be_passed_on(carrier: Carrier, sim: CarrierProcess) -> None:
    seller, buyer, third = sim.a_line(), sim.a_line(remaining_mb=None), sim.a_line(remaining_mb=None)
    bucket = await only_bucket(carrier, seller)
    await carrier.transfer(bucket.id, seller, buyer, 100, an_id())
    received = await only_bucket(carrier, buyer)

    with pytest.raises(CarrierRefused, match="NOT_TRANSFERABLE"):
        await carrier.reserve(received.id, 100, received.expires_at, an_id(), buyer)
    with pytest.raises(CarrierRefused, match="NOT_TRANSFERABLE"):
        await carrier.transfer(received.id, buyer, third, 100, an_id())


async def test_nobody_trades_with_himself(carrier: Carrier, sim: CarrierProcess) -> None:
    seller = sim.a_line()
    bucket = await only_bucket(carrier, seller)
    reservation = await carrier.reserve(bucket.id, 100, bucket.expires_at, an_id(), seller)

    with pytest.raises(CarrierRefused, match="SAME_SUBSCRIBER"):
        await carrier.settle(reservation.id, seller, 100, an_id())
    with pytest.raises(CarrierRefused, match="SAME_SUBSCRIBER"):
        await carrier.transfer(bucket.id, seller, seller, 100, an_id())


async def test_strangers_and_suspended_lines_cannot_receive(carrier: Carrier, sim: CarrierProcess) -> None:
    seller, suspended = sim.a_line(), sim.a_line(status="suspended")
    bucket = await only_bucket(carrier, seller)
    reservation = await carrier.reserve(bucket.id, 100, bucket.expires_at, an_id(), seller)

    for receiver in (suspended, a_number()):
        with pytest.raises(CarrierRefused, match="RECEIVER_NOT_ELIGIBLE"):
            await carrier.settle(reservation.id, receiver, 100, an_id())
        with pytest.raises(CarrierRefused, match="RECEIVER_NOT_ELIGIBLE"):
            await carrier.top_up(receiver, 100, "CN", month_end(), an_id())


async def test_one_movement_has_a_limit(carrier: Carrier, sim: CarrierProcess) -> None:
    sim.faults(transfer_limit_mb=1000)
    seller, buyer = sim.a_line(remaining_mb=5000), sim.a_line()
    bucket = await only_bucket(carrier, seller)

    await carrier.transfer(bucket.id, seller, buyer, 1000, an_id())
    with pytest.raises(CarrierRefused, match="TRANSFER_LIMIT"):
        await carrier.transfer(bucket.id, seller, buyer, 1001, an_id())
    with pytest.raises(CarrierRefused, match="TRANSFER_LIMIT"):
        await carrier.top_up(buyer, 1001, "CN", month_end(), an_id())


async def test_a_settlement_takes_no_more_than_is_reserved(carrier: Carrier, sim: CarrierProcess) -> None:
    seller, buyer = sim.a_line(), sim.a_line()
    bucket = await only_bucket(carrier, seller)
    reservation = await carrier.reserve(bucket.id, 100, bucket.expires_at, an_id(), seller)

    with pytest.raises(CarrierRefused, match="INSUFFICIENT_BALANCE"):
        await carrier.settle(reservation.id, buyer, 101, an_id())


async def test_a_released_or_unknown_reservation_cannot_be_settled(carrier: Carrier, sim: CarrierProcess) -> None:
    seller, buyer = sim.a_line(), sim.a_line()
    bucket = await only_bucket(carrier, seller)
    reservation = await carrier.reserve(bucket.id, 100, bucket.expires_at, an_id(), seller)
    await carrier.release(reservation.id)

    for reservation_id in (reservation.id, "never-was"):
        with pytest.raises(CarrierRefused, match="RESERVATION_NOT_FOUND"):
            await carrier.settle(reservation_id, buyer, 100, an_id())
        with pytest.raises(CarrierRefused, match="RESERVATION_NOT_FOUND"):
            await carrier.resize(reservation_id, 100)


async def test_unknown_buckets_and_foreign_buckets_are_not_found(carrier: Carrier, sim: CarrierProcess) -> None:
    seller, other = sim.a_line(), sim.a_line()
    bucket = await only_bucket(carrier, seller)

    with pytest.raises(CarrierRefused, match="BUCKET_NOT_FOUND"):
        await carrier.reserve("never-was", 100, bucket.expires_at, an_id(), seller)
    with pytest.raises(CarrierRefused, match="BUCKET_NOT_FOUND"):
        await carrier.reserve(bucket.id, 100, bucket.expires_at, an_id(), other)
    with pytest.raises(CarrierRefused, match="BUCKET_NOT_FOUND"):
        await carrier.transfer(bucket.id, other, seller, 100, an_id())


async def test_a_known_id_with_another_content_is_a_mismatch(carrier: Carrier, sim: CarrierProcess) -> None:
    seller, buyer = sim.a_line(), sim.a_line()
    bucket = await only_bucket(carrier, seller)
    external_id = an_id()
    reservation = await carrier.reserve(bucket.id, 300, bucket.expires_at, external_id, seller)
    await carrier.settle(reservation.id, buyer, 100, external_id)

    with pytest.raises(CarrierMismatch, match="amount_mb: we asked for 200, the carrier says 100"):
        await carrier.settle(reservation.id, buyer, 200, external_id)
    with pytest.raises(CarrierMismatch, match="kind"):
        await carrier.transfer(bucket.id, seller, buyer, 100, external_id)
    with pytest.raises(CarrierMismatch, match="bucket_id"):
        await carrier.reserve("another", 300, bucket.expires_at, external_id, seller)


def test_a_bucket_is_created_and_deleted_by_the_standards_operations(sim: CarrierProcess) -> None:
    line = sim.a_line(remaining_mb=None)
    body: dict[str, Any] = {
        "usageType": "data",
        "logicalResource": [{"value": line}],
        "scope": "CN",
        "validFor": {"endDateTime": month_end().isoformat()},
    }
    empty = sim.tmf("POST", "/bucket", json=body).json()

    assert sim.tmf("DELETE", f"/bucket/{empty['id']}").status_code == 204
    assert sim.tmf("GET", f"/bucket/{empty['id']}").json()["code"] == "BUCKET_NOT_FOUND"

    full = sim.tmf("POST", "/bucket", json={**body, "remainingValue": {"amount": 5, "units": "MB"}}).json()
    assert full["remainingValue"] == {"amount": 5, "units": "MB"}
    refused = sim.tmf("DELETE", f"/bucket/{full['id']}")
    assert (refused.status_code, refused.json()["code"]) == (409, "BUCKET_NOT_EMPTY")
    stranger = sim.tmf("POST", "/bucket", json={**body, "logicalResource": [{"value": a_number()}]})
    assert (stranger.status_code, stranger.json()["code"]) == (404, "LINE_NOT_FOUND")


def test_corrections_credit_and_debit_a_bucket(sim: CarrierProcess) -> None:
    line = sim.a_line(remaining_mb=100)
    bucket = sim.tmf("GET", "/bucket", params={"logicalResource.id": line}).json()[0]

    def adjust(kind: str, amount_mb: int, **more: Any) -> Any:
        body = {"amount": {"amount": amount_mb, "units": "MB"}, "adjustType": kind, "bucket": {"id": bucket["id"]}}
        return sim.tmf("POST", "/adjustBalance", json={**body, **more})

    assert adjust("goodWillCredit", 50).status_code == 201
    assert adjust("generalDebit", 120).status_code == 201
    assert adjust("generalDebit", 31).json()["code"] == "INSUFFICIENT_BALANCE"
    assert adjust("generalDebit", 1, reserveBalance={"id": "x"}).json()["code"] == "INVALID_REQUEST"
    assert adjust("reservationDebit", 1).json()["code"] == "INVALID_REQUEST"
    assert sim.tmf("GET", f"/bucket/{bucket['id']}").json()["remainingValue"]["amount"] == 30


def test_a_reservation_can_be_used_up_without_a_receiver(sim: CarrierProcess) -> None:
    line = sim.a_line(remaining_mb=100)
    bucket = sim.tmf("GET", "/bucket", params={"logicalResource.id": line}).json()[0]
    amount = {"amount": 40, "units": "MB"}
    body = {"amount": amount, "bucket": {"id": bucket["id"]}, "expirationDate": bucket["validFor"]["endDateTime"]}
    held = sim.tmf("POST", "/reserveBalance", json=body).json()

    used = sim.tmf(
        "POST",
        "/adjustBalance",
        json={"amount": amount, "adjustType": "reservationDebit", "reserveBalance": {"id": held["id"]}},
    )

    assert used.status_code == 201
    assert sim.tmf("GET", f"/reserveBalance/{held['id']}").json()["status"] == "completed"
    after = sim.tmf("GET", f"/bucket/{bucket['id']}").json()
    assert (after["remainingValue"]["amount"], after["reservedValue"]["amount"]) == (60, 0)


GOOD: dict[str, Any] = {
    "amount": {"amount": 100, "units": "MB"},
    "logicalResource": {"value": "+8613800000000"},
    "scope": "CN",
    "validFor": {"endDateTime": "2099-01-01T00:00:00Z"},
}
BAD_BODIES = {
    "no amount": {**GOOD, "amount": None},
    "an amount without a figure": {**GOOD, "amount": {"units": "MB"}},
    "half a megabyte": {**GOOD, "amount": {"amount": 0.5, "units": "MB"}},
    "a whole float": {**GOOD, "amount": {"amount": 100.0, "units": "MB"}},
    "a text": {**GOOD, "amount": {"amount": "100", "units": "MB"}},
    "a truth": {**GOOD, "amount": {"amount": True, "units": "MB"}},
    "nothing": {**GOOD, "amount": {"amount": 0, "units": "MB"}},
    "less than nothing": {**GOOD, "amount": {"amount": -1, "units": "MB"}},
    "too much": {**GOOD, "amount": {"amount": 2**64, "units": "MB"}},
    "another unit": {**GOOD, "amount": {"amount": 100, "units": "MiB"}},
    "an unknown field": {**GOOD, "amuont": 5},
    "another usage": {**GOOD, "usageType": "voice"},
    "a time without a zone": {**GOOD, "validFor": {"endDateTime": "2099-01-01T00:00:00"}},
    "a number that is none": {**GOOD, "logicalResource": {"value": "13800000000"}},
    "a NUL": {**GOOD, "description": "a\0b"},
    "half a character": {**GOOD, "description": "\ud800"},
    "an id with a space": {**GOOD, "externalIdentifier": "a b"},
    "a list": [GOOD],
}


@pytest.mark.parametrize("why", BAD_BODIES)
def test_a_body_that_is_not_strictly_right_is_refused(sim: CarrierProcess, why: str) -> None:
    answer = sim.tmf(
        "POST",
        "/topupBalance",
        content=json.dumps(BAD_BODIES[why]),
        headers={"Content-Type": "application/json"},
    )

    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST"), answer.text


@pytest.mark.parametrize(
    ("content", "media_type", "code"),
    [
        ('{"amount": {"amount": 1, "units": "MB"}, "amount": {"amount": 2, "units": "MB"}}', "application/json", 400),
        ("[" * 20_000, "application/json", 400),
        ('{"amount": NaN}', "application/json", 400),
        ("", "application/json", 400),
        (json.dumps(GOOD), "text/plain", 415),
        (json.dumps({**GOOD, "description": "x" * 70_000}), "application/json", 413),
    ],
    ids=["twice", "deep", "NaN", "empty", "text", "large"],
)
def test_a_body_that_is_no_proper_json_is_refused(
    sim: CarrierProcess, content: str, media_type: str, code: int
) -> None:
    # A body that is refused unread ends the connection, some time after the answer: the next request takes another.
    headers = {"Content-Type": media_type, "Connection": "close"}
    answer = sim.tmf("POST", "/topupBalance", content=content, headers=headers)

    assert answer.status_code == code
    assert answer.json()["status"] == str(code)


def test_header_and_body_must_carry_the_same_id(sim: CarrierProcess) -> None:
    line = sim.a_line()
    body = {**GOOD, "logicalResource": {"value": line}}

    differing = sim.tmf(
        "POST", "/topupBalance", json={**body, "externalIdentifier": "a"}, headers={"Idempotency-Key": "b"}
    )
    only_header = sim.tmf("POST", "/topupBalance", json=body, headers={"Idempotency-Key": f"only-header{line}"})

    assert differing.json()["code"] == "INVALID_REQUEST"
    assert only_header.json()["externalIdentifier"] == f"only-header{line}"


@pytest.mark.parametrize(
    "query",
    [
        "colour=red",
        "offset=-1",
        "offset=1.5",
        "limit=0",
        "limit=1001",
        "limit=5&limit=6",
        "requestedDate.gte=2026-01-01",
    ],
)
def test_a_query_that_is_not_understood_is_refused(sim: CarrierProcess, query: str) -> None:
    answer = sim.tmf("GET", f"/balanceAction?{query}")

    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize("credential", ["", "Bearer wrong", "Basic Y21jYw==", "Bearer cucc-credential"])
def test_only_the_carriers_own_credential_comes_in(sim: CarrierProcess, credential: str) -> None:
    for path in (f"{TMF}/bucket", "/admin/totals", "/sim-swap/v2/check"):
        method = "POST" if path.startswith("/sim") else "GET"
        answer = sim.raw(method, path, headers={"Authorization": credential})
        assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHENTICATED")


async def test_a_wrong_credential_is_a_definite_refusal(sim: CarrierProcess) -> None:
    async with Carrier(sim.profile(credential="wrong")) as stranger:
        with pytest.raises(CarrierRefused, match="UNAUTHENTICATED"):
            await stranger.buckets(a_number())


def test_what_is_not_offered_says_so_in_the_standards_words(sim: CarrierProcess) -> None:
    assert sim.tmf("DELETE", "/transferBalance/1").json()["code"] == "METHOD_NOT_ALLOWED"
    assert sim.tmf("GET", "/transferBalance/1").json()["code"] == "NOT_FOUND"
    assert sim.tmf("GET", "/nothing").json()["code"] == "NOT_FOUND"
    assert sim.raw("GET", TMF.replace("v4", "v9") + "/bucket").status_code == 404


def test_every_published_refusal_has_a_status_of_its_kind() -> None:
    assert all(400 <= entry.status <= 503 and entry.reason for entry in REFUSALS.values())
