"""CAMARA: one-time codes, KYC match, SIM swap and number verification, and the inbox they end up in."""

import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from settlement.carriers.client import Carrier
from settlement.carriers.errors import CarrierRefused
from tests.carrier.simulator import CarrierProcess, a_number

MESSAGE = "{{code}} is your Surplusflow code."


def screen(sim: CarrierProcess, msisdn: str) -> str:
    answer = sim.page(f"/phones/{msisdn.removeprefix('+')}?lang=en")
    assert answer.status_code == 200
    return answer.text


def code_on_screen(sim: CarrierProcess, msisdn: str) -> str:
    found = re.search(r"(\d{6}) is your Surplusflow code", screen(sim, msisdn))
    assert found is not None
    return found[1]


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 10**6:06d}"


async def run(sim: CarrierProcess, statement: str, *values: Any) -> Any:
    connection = await asyncpg.connect(sim.database_url.replace("+asyncpg", ""))
    try:
        return await connection.fetch(statement, *values)
    finally:
        await connection.close()


async def test_the_texted_code_is_right_once(carrier: Carrier, sim: CarrierProcess) -> None:
    line = sim.a_line()
    authentication_id = await carrier.send_code(line, MESSAGE)
    code = code_on_screen(sim, line)

    assert await carrier.validate_code(authentication_id, wrong(code)) is False
    assert await carrier.validate_code(authentication_id, code) is True
    with pytest.raises(CarrierRefused, match="VERIFICATION_EXPIRED"):
        await carrier.validate_code(authentication_id, code)


async def test_after_three_wrong_tries_the_right_code_is_refused(carrier: Carrier, sim: CarrierProcess) -> None:
    line = sim.a_line()
    authentication_id = await carrier.send_code(line, MESSAGE)
    code = code_on_screen(sim, line)

    for _ in range(3):
        assert await carrier.validate_code(authentication_id, wrong(code)) is False

    with pytest.raises(CarrierRefused, match="VERIFICATION_FAILED"):
        await carrier.validate_code(authentication_id, code)


async def test_a_code_lasts_ten_minutes(carrier: Carrier, sim: CarrierProcess) -> None:
    line = sim.a_line()
    authentication_id = await carrier.send_code(line, MESSAGE)
    lifetime = await run(sim, "SELECT expires_at - sent_at AS lifetime FROM otp WHERE id = $1", authentication_id)
    await run(sim, "UPDATE otp SET expires_at = now() - interval '1 second' WHERE id = $1", authentication_id)

    assert lifetime[0]["lifetime"] == timedelta(minutes=10)
    with pytest.raises(CarrierRefused, match="VERIFICATION_EXPIRED"):
        await carrier.validate_code(authentication_id, code_on_screen(sim, line))


async def test_a_number_gets_only_so_many_codes_in_ten_minutes(carrier: Carrier, sim: CarrierProcess) -> None:
    sim.faults(codes_per_ten_minutes=2)
    line = sim.a_line()
    await carrier.send_code(line, MESSAGE)
    await carrier.send_code(line, MESSAGE)

    with pytest.raises(CarrierRefused, match="MAX_OTP_CODES_EXCEEDED"):
        await carrier.send_code(line, MESSAGE)

    await run(sim, "UPDATE otp SET sent_at = sent_at - interval '10 minutes' WHERE msisdn = $1", line)
    await carrier.send_code(line, MESSAGE)


async def test_codes_go_to_known_active_lines_only(carrier: Carrier, sim: CarrierProcess) -> None:
    with pytest.raises(CarrierRefused, match="PHONE_NUMBER_BLOCKED"):
        await carrier.send_code(sim.a_line(status="suspended"), MESSAGE)
    with pytest.raises(CarrierRefused, match="NOT_FOUND"):
        await carrier.send_code(a_number(), MESSAGE)
    with pytest.raises(CarrierRefused, match="INVALID_ARGUMENT"):
        await carrier.send_code(sim.a_line(), "no place for the code")
    with pytest.raises(CarrierRefused, match="NOT_FOUND"):
        await carrier.validate_code("never-was", "123456")


async def test_only_a_hash_of_the_code_is_kept(carrier: Carrier, sim: CarrierProcess) -> None:
    line = sim.a_line()
    authentication_id = await carrier.send_code(line, MESSAGE)
    code = code_on_screen(sim, line)

    row = (await run(sim, "SELECT * FROM otp WHERE id = $1", authentication_id))[0]

    assert row["code_hash"] == hashlib.sha256(f"{row['salt']}:{code}".encode()).hexdigest()
    assert code not in {str(value) for value in row.values()}


async def test_a_message_arrives_newest_first_and_as_plain_text(carrier: Carrier, sim: CarrierProcess) -> None:
    line = sim.a_line()
    await carrier.send_sms(line, "first <b>bold</b>")
    await carrier.send_sms(line, "second")

    text = screen(sim, line)

    assert text.index("second") < text.index("first &lt;b&gt;bold&lt;/b&gt;")
    with pytest.raises(CarrierRefused, match="NOT_FOUND"):
        await carrier.send_sms(a_number(), "to nobody")


async def test_kyc_compares_name_and_document(carrier: Carrier, sim: CarrierProcess) -> None:
    line = sim.a_line(name="Wang Xiaoming", id_document="44010119900101123X")

    same = await carrier.kyc_match(line, "wang  XIAOMING", "44010119900101123x")
    other = await carrier.kyc_match(line, "Wang Xiaoning", "1")

    assert (same.name, same.id_document, same.name_score_percent) == (True, True, None)
    assert (other.name, other.id_document) == (False, False)
    assert other.name_score_percent is not None
    assert 80 < other.name_score_percent <= 99


async def test_kyc_says_what_it_does_not_know(sim: CarrierProcess) -> None:
    line = sim.a_line()

    def ask(body: dict[str, Any]) -> tuple[int, Any]:
        answer = sim.raw("POST", "/kyc-match/v0.4/match", json=body)
        return answer.status_code, answer.json()

    assert ask({"phoneNumber": line, "birthdate": "1990-01-01"}) == (200, {"birthdateMatch": "not_available"})
    assert ask({"phoneNumber": line})[1]["code"] == "KNOW_YOUR_CUSTOMER.INVALID_PARAM_COMBINATION"
    assert ask({"name": "x"}) == (
        422,
        {"status": 422, "code": "MISSING_IDENTIFIER", "message": "The phone number is missing."},
    )


async def test_a_sim_swap_is_seen_within_its_age(carrier: Carrier, sim: CarrierProcess) -> None:
    changed = datetime.now(UTC) - timedelta(hours=30)
    swapped, never = sim.a_line(sim_changed_at=changed.isoformat()), sim.a_line()

    assert await carrier.sim_swapped(swapped, 48) is True
    assert await carrier.sim_swapped(swapped, 24) is False
    assert await carrier.sim_swapped(never, 2400) is False
    with pytest.raises(CarrierRefused, match="OUT_OF_RANGE"):
        await carrier.sim_swapped(swapped, 2401)


def test_the_date_of_a_sim_swap_is_told_only_within_the_monitored_period(sim: CarrierProcess) -> None:
    recent = (datetime.now(UTC) - timedelta(days=3)).replace(microsecond=0)
    old = datetime.now(UTC) - timedelta(days=300)

    def ask(at: datetime) -> Any:
        line = sim.a_line(sim_changed_at=at.isoformat())
        return sim.raw("POST", "/sim-swap/v2/retrieve-date", json={"phoneNumber": line}).json()

    assert ask(recent) == {"latestSimChange": recent.isoformat().replace("+00:00", "Z"), "monitoredPeriod": 100}
    assert ask(old) == {"latestSimChange": None, "monitoredPeriod": 100}


async def test_a_number_is_verified_by_the_phones_own_connection(carrier: Carrier, sim: CarrierProcess) -> None:
    line = sim.a_line()
    token = sim.raw("POST", "/admin/network-tokens", json={"msisdn": line}).json()["access_token"]

    assert await carrier.verify_number(line, token) is True
    assert await carrier.verify_number(sim.a_line(), token) is False
    with pytest.raises(CarrierRefused, match="UNAUTHENTICATED"):
        await carrier.verify_number(line, "made-up")
    with pytest.raises(CarrierRefused, match="USER_NOT_AUTHENTICATED_BY_MOBILE_NETWORK"):
        await carrier.verify_number(line, carrier.profile.credential)


def test_a_hashed_number_is_verified_too(sim: CarrierProcess) -> None:
    line = sim.a_line()
    token = sim.raw("POST", "/admin/network-tokens", json={"msisdn": line}).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}

    def ask(**body: str) -> Any:
        return sim.raw("POST", "/number-verification/v2/verify", json=body, headers=headers).json()

    hashed = hashlib.sha256(line.encode()).hexdigest().upper()
    assert ask(hashedPhoneNumber=hashed) == {"devicePhoneNumberVerified": True}
    assert ask(phoneNumber=line, hashedPhoneNumber=hashed)["code"] == "INVALID_ARGUMENT"


def test_the_correlator_comes_back_on_answers_and_refusals(sim: CarrierProcess) -> None:
    line = sim.a_line()
    for number, status in ((line, 200), (a_number(), 404)):
        answer = sim.raw(
            "POST",
            "/sim-swap/v2/check",
            json={"phoneNumber": number},
            headers={"x-correlator": "b4333c46-49c0"},
        )
        assert (answer.status_code, answer.headers["x-correlator"]) == (status, "b4333c46-49c0")

    strange = sim.raw("POST", "/sim-swap/v2/check", json={"phoneNumber": line}, headers={"x-correlator": "a b"})
    assert "x-correlator" not in strange.headers
