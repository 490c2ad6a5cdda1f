"""The simulated carrier as a program: loading lines, screens for people, restarts, and a database that goes away."""

import time

import asyncpg
import pytest

from settlement.carriers.client import Carrier
from settlement.carriers.errors import CarrierUnknown
from settlement.simulators.carrier.app import create_app
from tests.carrier.simulator import CarrierProcess, a_number, an_id, bucket_of, line_of, only_bucket, until


def test_two_thousand_lines_load_quickly_and_only_once(sim: CarrierProcess) -> None:
    lines = [line_of(a_number(), [bucket_of(1000), bucket_of(500, scope="GD")]) for _ in range(2000)]
    before = sim.totals()

    started = time.monotonic()
    sim.load(*lines)
    seconds = time.monotonic() - started
    sim.load(*lines)

    after = sim.totals()
    assert after["total_mb"] - before["total_mb"] == 2000 * 1500
    assert after["lines"] - before["lines"] == 2000
    assert seconds < 10


async def test_loading_a_line_again_leaves_what_is_reserved(carrier: Carrier, sim: CarrierProcess) -> None:
    line = sim.a_line(remaining_mb=1000)
    bucket = await only_bucket(carrier, line)
    await carrier.reserve(bucket.id, 400, bucket.expires_at, an_id(), line)

    sim.a_line(msisdn=line, remaining_mb=700, expires_at=bucket.expires_at.isoformat())

    again = await only_bucket(carrier, line)
    assert (again.id, again.remaining_mb, again.reserved_mb) == (bucket.id, 700, 400)


def test_a_load_with_anything_twice_is_refused_as_a_whole(sim: CarrierProcess) -> None:
    msisdn = a_number()
    before = sim.totals()

    twice = [
        [line_of(msisdn, []), line_of(msisdn, [])],
        [line_of(msisdn, [bucket_of(1), bucket_of(2)])],
    ]

    for lines in twice:
        answer = sim.raw("POST", "/admin/lines", json={"lines": lines})
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST")
    assert sim.totals() == before


def test_lines_are_found_by_number_name_and_plan(sim: CarrierProcess) -> None:
    line = sim.a_line(name="欧阳 <娜娜>", plan_name="Plan 99 & more")

    for wanted in (line, line[-8:], "欧阳", "plan 99 &"):
        found = sim.page("/", params={"q": wanted, "lang": "en"}).text
        assert f"/phones/{line[1:]}?lang=en" in found
    assert "欧阳 &lt;娜娜&gt;" in found
    assert "No line fits." in sim.page("/?q=nobody-has-this&lang=en").text


async def test_a_phone_shows_plan_state_and_data_left(carrier: Carrier, sim: CarrierProcess) -> None:
    line = sim.a_line(remaining_mb=12_345, plan_name="畅享 99 元", app_scope="VIDEO", payment="postpaid")
    bucket = await only_bucket(carrier, line)
    await carrier.reserve(bucket.id, 345, bucket.expires_at, an_id(), line)

    text = sim.page(f"/phones/{line[1:]}?lang=en").text

    for shown in (line, "China Mobile", "畅享 99 元", "12,000 MB", "set aside 345 MB", "VIDEO", "postpaid", "active"):
        assert shown in text
    assert '<meta http-equiv="refresh"' in text
    assert '<meta http-equiv="refresh"' not in sim.page(f"/phones/{line[1:]}?refresh=off").text


def test_the_language_follows_the_address_then_the_browser(sim: CarrierProcess) -> None:
    line = sim.a_line()[1:]

    assert '<html lang="zh-CN">' in sim.page(f"/phones/{line}").text
    assert '<html lang="en">' in sim.page(f"/phones/{line}", headers={"Accept-Language": "fr, en-GB;q=0.8, zh"}).text
    assert '<html lang="zh-CN">' in sim.page(f"/phones/{line}?lang=zh", headers={"Accept-Language": "en"}).text
    assert "模拟运营商" in sim.page("/?lang=zh").text


def test_pages_are_safe_and_their_style_is_their_own(sim: CarrierProcess) -> None:
    for path in ("/", f"/phones/{sim.a_line()[1:]}", "/phones/0", "/phones/x"):
        answer = sim.page(path)
        assert "default-src 'none'; style-src 'self'" in answer.headers["Content-Security-Policy"]
        assert "<script" not in answer.text
        assert "style=" not in answer.text
    style = sim.page("/static/phone.css")
    assert (style.status_code, style.headers["Content-Type"]) == (200, "text/css; charset=utf-8")
    assert "prefers-color-scheme: dark" in style.text


def test_credentials_of_an_unknown_carrier_stop_the_start() -> None:
    with pytest.raises(ValueError, match="XXXX"):
        create_app("postgresql://", {"XXXX": "secret"})


async def test_a_lost_database_is_unavailable_and_comes_back(own_sim: CarrierProcess, postgres_server: str) -> None:
    line = own_sim.a_line()
    name = own_sim.database_url.partition("?")[0].rsplit("/", 1)[1]
    connection = await asyncpg.connect(postgres_server.replace("+asyncpg", ""))
    try:
        await connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)

        until(lambda: own_sim.health() == 503)
        async with Carrier(own_sim.profile()) as carrier:
            with pytest.raises(CarrierUnknown, match="HTTP 503"):
                await carrier.buckets(line)

            await connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
            until(lambda: own_sim.health() == 200)
            assert len(await carrier.buckets(line)) == 1
    finally:
        await connection.close()


async def test_a_stop_waits_for_no_hanging_request_and_a_restart_keeps_everything(own_sim: CarrierProcess) -> None:
    own_sim.faults(hang_ms=60_000)
    giver, receiver = own_sim.a_line(remaining_mb=1000), own_sim.a_line("9003", remaining_mb=None)
    external_id = an_id()
    async with Carrier(own_sim.profile(timeout_seconds=1)) as carrier:
        bucket = await only_bucket(carrier, giver)
        with pytest.raises(CarrierUnknown):
            await carrier.transfer(bucket.id, giver, receiver, 100, external_id)
    totals, counts = own_sim.totals(), own_sim.counts()

    started = time.monotonic()
    exit_code = own_sim.stop()
    assert (exit_code, time.monotonic() - started < 8) == (0, True)
    own_sim.start()

    async with Carrier(own_sim.profile()) as carrier:
        movement = await carrier.find_movement(external_id)
        assert movement is not None
        assert movement.amount_mb == 100
    assert (own_sim.totals(), own_sim.counts()) == (totals, counts)
    assert own_sim.raw("GET", "/admin/faults").json()["hang_ms"] == 60_000
