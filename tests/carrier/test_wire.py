"""Every answer a carrier may give has one verdict, and nonsense on the wire never passes for a yes or a no."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from settlement.carriers import wire
from settlement.carriers.client import Carrier
from settlement.carriers.errors import CarrierMismatch, CarrierRefused, CarrierUnknown, CarrierUnreachable
from settlement.carriers.reading import MOVEMENT_STATUSES, RESERVATION_STATUSES
from settlement.carriers.values import CarrierProfile, MovementStatus, ReservationStatus
from settlement.carriers.wire import Verdict, verdict
from settlement.simulators.carrier.refusals import REFUSALS
from tests.carrier.simulator import free_port

SENDER, RECEIVER = "+8613800000001", "+8613800000002"
AT = "2026-11-01T08:00:00Z"


def test_every_status_has_a_verdict() -> None:
    done = {200, 201, 204}
    doubtful = {408, 409, 425, 429}

    for status in range(100, 600):
        if status in done:
            assert verdict(status) is Verdict.DONE
        elif 400 <= status < 500 and status not in doubtful:
            assert verdict(status, "ANY_CODE") is Verdict.REFUSED
        else:
            assert verdict(status, "ANY_CODE") is Verdict.UNKNOWN


SAYS_TOO_LITTLE = {"ALREADY_EXISTS", "CARRIER_BILLING.PAYMENT_CANCELLED", "CARRIER_BILLING.PAYMENT_CONFIRMED"}
"""After these the payment is read: an earlier attempt of ours may be what they speak of."""


@pytest.mark.parametrize("code", REFUSALS)
def test_every_code_the_simulated_carrier_publishes_is_classified(code: str) -> None:
    status = REFUSALS[code].status

    if code == "DUPLICATE":
        assert verdict(status, code) is Verdict.KNOWN
    elif status >= 500 or code in SAYS_TOO_LITTLE:
        assert verdict(status, code) is Verdict.UNKNOWN
    else:
        assert verdict(status, code) is Verdict.REFUSED


def test_every_status_word_of_a_resource_is_known() -> None:
    assert set(MOVEMENT_STATUSES.values()) == set(MovementStatus)
    assert set(RESERVATION_STATUSES.values()) == set(ReservationStatus)


def a_transfer(**changes: Any) -> dict[str, Any]:
    document = {
        "id": "m1",
        "externalIdentifier": "trd_1",
        "amount": {"amount": 100, "units": "MB"},
        "status": "confirmed",
        "requestedDate": AT,
        "logicalResource": {"value": SENDER},
        "receiverLogicalResource": {"value": RECEIVER},
    }
    return {**document, **changes}


def http(status: str, body: bytes | str, media_type: str = "application/json", *headers: str) -> bytes:
    """A raw answer with its length, after which the connection is closed."""
    content = body.encode() if isinstance(body, str) else body
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Type: {media_type}",
        f"Content-Length: {len(content)}",
        "Connection: close",
    ]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + content


def created(document: Any) -> bytes:
    return http("201 Created", json.dumps(document))


@asynccontextmanager
async def a_rogue(answer: bytes | Callable[[str], bytes], *, timeout_seconds: float = 5) -> AsyncIterator[Carrier]:
    """The port, connected to a server that answers every request with these bytes and hangs up."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        writer.write(answer if isinstance(answer, bytes) else answer(head.partition(" ")[0]))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Carrier(a_profile(port, timeout_seconds=timeout_seconds)) as carrier:
        yield carrier


def a_profile(port: int, *, timeout_seconds: float = 5) -> CarrierProfile:
    return CarrierProfile(
        code="CMCC",
        name_zh="移动",
        name_en="Mobile",
        base_url=f"http://127.0.0.1:{port}/cmcc",
        credential="secret",
        timeout_seconds=timeout_seconds,
    )


async def transfer(carrier: Carrier) -> Any:
    return await carrier.transfer("b1", SENDER, RECEIVER, 100, "trd_1")


async def test_a_proper_answer_passes() -> None:
    async with a_rogue(created(a_transfer())) as carrier:
        assert (await transfer(carrier)).amount_mb == 100


GOOD_BODY = json.dumps(a_transfer())
AMBIGUOUS = {
    "nothing at all": b"",
    "a cut head": b"HTTP/1.1 201 Cre",
    "a cut body": b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{",
    "no HTTP": b"220 mail.example.com ESMTP\r\n\r\n",
    "no JSON": http("201 Created", "{oops"),
    "deep JSON": http("201 Created", "[" * 100_000),
    "an empty body": http("201 Created", ""),
    "a web page": http("200 OK", "<html>Welcome</html>", "text/html"),
    "JSON under another name": http("201 Created", GOOD_BODY, "text/plain"),
    "a compressed answer": http("201 Created", GOOD_BODY, "application/json", "Content-Encoding: gzip"),
    "a redirect": http("307 Temporary Redirect", GOOD_BODY, "application/json", "Location: http://127.0.0.1:1/"),
    "accepted, not done": http("202 Accepted", GOOD_BODY),
    "an error of theirs": http("500 Internal Server Error", '{"code": "INTERNAL", "reason": "x"}'),
    "a bad gateway": http("502 Bad Gateway", "<html>", "text/html"),
    "too many requests": http("429 Too Many Requests", '{"code": "TOO_MANY_REQUESTS", "message": "x"}'),
    "too early": http("425 Too Early", '{"code": "X", "message": "x"}'),
    "a request time-out": http("408 Request Timeout", '{"code": "X", "message": "x"}'),
    "a conflict of an unknown kind": http("409 Conflict", '{"code": "ABORTED", "message": "x"}'),
    "a refusal that is a web page": http("403 Forbidden", "<html>", "text/html"),
    "a refusal without a code": http("400 Bad Request", "{}"),
    "a refusal that is a list": http("400 Bad Request", "[]"),
    "a huge body": http("201 Created", b'"' + b"x" * (wire.MAX_ANSWER_BYTES + 1) + b'"'),
}


@pytest.mark.parametrize("what", AMBIGUOUS)
async def test_an_ambiguous_answer_is_unknown(what: str) -> None:
    async with a_rogue(AMBIGUOUS[what]) as carrier:
        with pytest.raises(CarrierUnknown) as caught:
            await transfer(carrier)

    assert not isinstance(caught.value, CarrierUnreachable)


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        ("400 Bad Request", {"code": "INVALID", "reason": "no", "message": "not so"}, "INVALID"),
        ("403 Forbidden", {"status": 403, "code": "PERMISSION_DENIED", "message": "no"}, "PERMISSION_DENIED"),
        ("409 Conflict", {"code": "TRANSFER_LIMIT", "reason": "no"}, "TRANSFER_LIMIT"),
        ("422 Unprocessable", {"code": "NEVER_HEARD_OF", "message": "no"}, "NEVER_HEARD_OF"),
    ],
)
async def test_a_definite_refusal_is_refused(status: str, body: dict[str, Any], code: str) -> None:
    async with a_rogue(http(status, json.dumps(body))) as carrier:
        with pytest.raises(CarrierRefused) as caught:
            await transfer(carrier)

    assert caught.value.code == code


NOT_WHAT_WE_ASKED = {
    "another amount": a_transfer(amount={"amount": 1000, "units": "MB"}),
    "another unit": a_transfer(amount={"amount": 100, "units": "MiB"}),
    "no unit": a_transfer(amount={"amount": 100}),
    "a fraction": a_transfer(amount={"amount": 100.5, "units": "MB"}),
    "less than nothing": a_transfer(amount={"amount": -100, "units": "MB"}),
    "a text for a figure": a_transfer(amount={"amount": "100", "units": "MB"}),
    "a truth for a figure": a_transfer(amount={"amount": True, "units": "MB"}),
    "an amount beyond reason": a_transfer(amount={"amount": 1e300, "units": "MB"}),
    "no amount": a_transfer(amount=None),
    "another id": a_transfer(externalIdentifier="trd_2"),
    "no id": a_transfer(externalIdentifier=None),
    "another sender": a_transfer(logicalResource={"value": RECEIVER}),
    "another receiver": a_transfer(receiverLogicalResource={"value": SENDER}),
    "two receivers": a_transfer(receiverLogicalResource=[{"value": RECEIVER}, {"value": SENDER}]),
    "an unknown status": a_transfer(status="maybe"),
    "a time that is none": a_transfer(requestedDate="yesterday"),
    "a time without a zone": a_transfer(requestedDate="2026-11-01T08:00:00"),
    "a list": [a_transfer()],
}


@pytest.mark.parametrize("what", NOT_WHAT_WE_ASKED)
async def test_an_answer_that_differs_from_the_instruction_is_a_mismatch(what: str) -> None:
    async with a_rogue(created(NOT_WHAT_WE_ASKED[what])) as carrier:
        with pytest.raises(CarrierMismatch):
            await transfer(carrier)


async def test_a_whole_float_and_the_older_drafts_words_are_understood() -> None:
    older = a_transfer(
        amount={"amount": 100.0, "units": "MB"},
        status="completed",
        receiverLogicalResource=[{"value": RECEIVER}],
    )
    async with a_rogue(created(older)) as carrier:
        movement = await transfer(carrier)

    assert (movement.amount_mb, type(movement.amount_mb), movement.status) == (100, int, MovementStatus.DONE)


async def test_accepted_is_pending_and_failed_is_refused() -> None:
    async with a_rogue(created(a_transfer(status="requested"))) as carrier:
        assert (await transfer(carrier)).status is MovementStatus.PENDING
    async with a_rogue(created(a_transfer(status="failed"))) as carrier:
        with pytest.raises(CarrierRefused, match="MOVEMENT_FAILED"):
            await transfer(carrier)


async def test_a_carrier_that_overlooks_our_filter_never_means_not_found() -> None:
    strangers = http("200 OK", json.dumps([a_transfer(externalIdentifier="somebody-else")]))

    async with a_rogue(strangers) as carrier:
        with pytest.raises(CarrierMismatch, match="external_id"):
            await carrier.find_movement("trd_1")


async def test_two_results_under_one_id_stop_us() -> None:
    async with a_rogue(http("200 OK", json.dumps([a_transfer()]))) as carrier:
        with pytest.raises(CarrierMismatch, match="3 results for one instruction"):
            await carrier.find_movement("trd_1")


async def test_a_page_that_shows_less_than_it_counts_never_means_not_found() -> None:
    async with a_rogue(http("200 OK", "[]", "application/json", "X-Total-Count: 1")) as carrier:
        with pytest.raises(CarrierMismatch, match="1 results counted, 0 shown"):
            await carrier.find_movement("trd_1")


async def test_what_landed_after_the_carrier_counted_is_not_overlooked() -> None:
    late = http("200 OK", json.dumps([a_transfer()]), "application/json", "X-Total-Count: 0")

    async with a_rogue(late) as carrier:
        with pytest.raises(CarrierMismatch, match="3 results for one instruction"):
            await carrier.find_movement("trd_1")


async def test_a_duplicate_with_nothing_to_show_for_it_is_unknown() -> None:
    def answer(method: str) -> bytes:
        if method == "POST":
            return http("409 Conflict", '{"code": "DUPLICATE", "reason": "known"}')
        return http("200 OK", "[]")

    async with a_rogue(answer) as carrier:
        with pytest.raises(CarrierUnknown, match="shows nothing"):
            await transfer(carrier)


async def test_a_list_without_its_total_is_not_taken_for_whole() -> None:
    async with a_rogue(http("200 OK", "[]")) as carrier:
        with pytest.raises(CarrierMismatch, match="X-Total-Count"):
            await carrier.buckets(SENDER)


async def test_nobody_listening_is_unreachable() -> None:
    async with Carrier(a_profile(free_port())) as carrier:
        with pytest.raises(CarrierUnreachable):
            await transfer(carrier)


async def test_an_answer_that_drips_runs_into_the_time_out_of_the_whole() -> None:
    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 201 Created\r\n")
        while not writer.is_closing():
            writer.write(b"X-Drip: 1\r\n")
            await asyncio.sleep(0.05)

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Carrier(a_profile(port, timeout_seconds=0.3)) as carrier:
        with pytest.raises(CarrierUnknown, match=r"no answer within 0\.3 s"):
            await transfer(carrier)


async def test_evidence_is_kept_without_phone_numbers_and_the_credential_is_not_shown() -> None:
    async with a_rogue(http("502 Bad Gateway", f"upstream lost {SENDER}", "text/html")) as carrier:
        with pytest.raises(CarrierUnknown) as caught:
            await transfer(carrier)

        assert "upstream lost +######" in caught.value.evidence
        assert "secret" not in repr(carrier.profile)


async def test_the_id_travels_in_body_and_header_and_the_credential_only_to_the_carrier() -> None:
    seen: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        seen.extend([head.lower(), await reader.readexactly(length)])
        writer.write(created(a_transfer()))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Carrier(a_profile(port)) as carrier:
        await transfer(carrier)

    assert b"idempotency-key: trd_1\r\n" in seen[0]
    assert b"authorization: bearer secret\r\n" in seen[0]
    assert json.loads(seen[1])["externalIdentifier"] == "trd_1"
    assert json.loads(seen[1])["amount"] == {"amount": 100, "units": "MB"}
