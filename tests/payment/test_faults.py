"""Faults: lost answers, saved errors, a database that goes away, a program that is killed."""

import asyncio
import contextlib
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import asyncpg
import httpx
import pytest
import stripe

from settlement.payments.errors import PaymentUnknown
from settlement.payments.port import Payments
from settlement.payments.values import PaymentStatus
from tests.payment.making import QUICK, CheckedClient, Http, Program, Provider, Wallet, fresh, settings_for, until


@asynccontextmanager
async def _away(database: str) -> AsyncIterator[None]:
    """Throw everyone out of the database and let nobody in until the end."""
    maintenance, name = re.sub(r"/[^/?]+\?", "/postgres?", database), database.partition("?")[0].rpartition("/")[2]
    connection = await asyncpg.connect(maintenance.replace("+asyncpg", ""))
    try:
        await connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        yield
    finally:
        await connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        await connection.close()


async def _is_down(http: Http) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return (await http.page("GET", "/health")).status_code == 503
    return False


async def _has_struck(http: Http, fault: str) -> bool:
    struck = (await http.control("GET", "faults"))["struck"]
    return bool(struck[fault])


NewProvider = Callable[..., Awaitable[Provider]]


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stripe.HTTPClient, "INITIAL_DELAY", 0)


async def _wallet(provider: Provider, timeout_seconds: int = 10) -> Wallet:
    settings = settings_for(provider, timeout_seconds=timeout_seconds)
    payments = Payments(settings, CheckedClient(timeout=timeout_seconds))
    return Wallet(payments, await payments.create_customer("wallet", fresh("key")))


async def test_an_answer_lost_after_the_work_is_found_by_asking_or_by_the_same_key(new_provider: NewProvider) -> None:
    provider = await new_provider()
    http, wallet = Http(provider), await _wallet(provider, timeout_seconds=1)
    wish = wallet.wish(10_000, "pm_card_visa", "top-up-7")
    await http.control("PUT", "faults", {"timeout_percent": 100})

    with pytest.raises(PaymentUnknown):
        await wallet.payments.charge(**wish)
    await http.control("PUT", "faults", {"timeout_percent": 0})
    again = await wallet.payments.charge(**wish)
    found = await wallet.payments.find_payment("top-up-7", customer=wallet.customer)

    assert found == again
    assert again.status is PaymentStatus.SUCCEEDED
    totals = await http.control("GET", "totals")
    assert [(row["count"], row["received"]) for row in totals["payments"]] == [(1, 10_000)]
    await http.close()
    await wallet.payments.close()


async def test_a_saved_error_is_replayed_and_only_asking_tells_what_happened(new_provider: NewProvider) -> None:
    provider = await new_provider()
    http, wallet = Http(provider), await _wallet(provider)

    outcomes = []
    for fault in ("error_percent", "error_after_percent"):
        wish = wallet.wish(10_000, "pm_card_visa", fault)
        await http.control("PUT", "faults", {fault: 100})
        with pytest.raises(PaymentUnknown):
            await wallet.payments.charge(**wish)
        await http.control("PUT", "faults", {fault: 0})
        with pytest.raises(PaymentUnknown):
            await wallet.payments.charge(**wish)
        outcomes.append(await wallet.payments.find_payment(fault, customer=wallet.customer))

    assert outcomes[0] is None
    assert outcomes[1] is not None
    assert outcomes[1].status is PaymentStatus.SUCCEEDED
    struck = (await http.control("GET", "faults"))["struck"]
    assert (struck["error_percent"], struck["error_after_percent"]) == (1, 1)
    await http.close()
    await wallet.payments.close()


async def test_a_capture_whose_answer_was_lost_is_success_when_asked_again(new_provider: NewProvider) -> None:
    provider = await new_provider()
    http, wallet = Http(provider), await _wallet(provider)
    held = await wallet.hold(8_000)
    await http.control("PUT", "faults", {"error_after_percent": 100})
    with pytest.raises(PaymentUnknown):
        await wallet.payments.capture(held.id, 5_000, fresh("key"))
    await http.control("PUT", "faults", {"error_after_percent": 0})

    captured = await wallet.payments.capture(held.id, 5_000, fresh("key"))

    assert captured.captured_minor == 5_000
    await http.close()
    await wallet.payments.close()


@pytest.mark.parametrize(
    "body", [{"latency_ms": -1}, {"error_percent": 101}, {"error_percent": 5.5}, {"error_percent": True}, {"x": 1}, []]
)
async def test_a_fault_that_is_none_is_refused(http: Http, body: object) -> None:
    answer = await http.page("GET", "/_sim/faults", headers=http.authorization)
    before = answer.json()["faults"]

    with pytest.raises(AssertionError, match="must be"):
        await http.control("PUT", "faults", body)

    assert (await http.control("GET", "faults"))["faults"] == before


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "faults"), ("PUT", "faults"), ("POST", "clock"), ("GET", "totals")]
)
async def test_the_switches_need_the_key(http: Http, method: str, path: str) -> None:
    answer = await http.page(method, f"/_sim/{path}")

    assert answer.status_code == 401


async def test_faults_stay_on_over_a_restart(new_database: Callable[[str], str]) -> None:
    database = new_database("payment")
    for latency_ms in (1, 1):
        provider = Provider(database)
        await provider.start()
        http = Http(provider)
        faults = (await http.control("GET", "faults"))["faults"]
        await http.control("PUT", "faults", {"latency_ms": latency_ms})
        await http.close()
        await provider.stop()

    assert faults["latency_ms"] == 1


async def test_a_killed_program_keeps_its_books_its_keys_and_its_clock(new_database: Callable[[str], str]) -> None:
    program = Program(new_database("payment"))
    await program.start()
    http, wallet = Http(program), await _wallet(program)
    wish = wallet.wish(10_000, "pm_card_visa", "kept")
    paid = await wallet.payments.charge(**wish)
    await http.advance(86_000)
    before = await http.control("GET", "totals")
    await program.stop(signal.SIGKILL)

    await program.start()

    assert await wallet.payments.charge(**wish) == paid
    assert await http.control("GET", "totals") == before
    assert (await http.control("GET", "clock"))["now"] >= (
        paid_at(await http.get(f"/v1/payment_intents/{paid.id}"))
    ) + 86_000
    await program.stop()
    assert program.process.returncode == 0
    await http.close()
    await wallet.payments.close()


def paid_at(intent: dict[str, int]) -> int:
    return intent["created"]


async def test_while_its_database_is_away_it_says_so_and_then_recovers(new_database: Callable[[str], str]) -> None:
    database = new_database("payment")
    provider = Provider(database)
    await provider.start()
    http = Http(provider)
    customer = await http.customer()

    async with _away(database):
        health = await http.page("GET", "/health")
        answer = await http.ask("GET", "/v1/balance")
        page = await http.page("GET", "/")
        totals = await http.page("GET", "/_sim/totals", headers=http.authorization)

    assert [health.status_code, answer.status_code, page.status_code, totals.status_code] == [503] * 4
    assert answer.headers["retry-after"] == "1"
    assert (await http.get(f"/v1/customers/{customer}"))["id"] == customer
    assert (await http.page("GET", "/health")).status_code == 200
    await http.close()
    await provider.stop()


async def test_it_starts_while_its_database_is_away(new_database: Callable[[str], str]) -> None:
    database = new_database("payment")
    provider = Provider(database)
    async with _away(database):
        starting = asyncio.create_task(provider.start())
        http = Http(provider)
        await until(lambda: _is_down(http))

    await starting
    assert await http.customer()
    await http.close()
    await provider.stop()


async def test_it_stops_at_once_although_answers_are_being_held_back(new_database: Callable[[str], str]) -> None:
    provider = Provider(new_database("payment"), replace(QUICK, hang_seconds=100))
    await provider.start()
    http = Http(provider)
    await http.control("PUT", "faults", {"timeout_percent": 100})
    held_back = asyncio.create_task(http.ask("POST", "/v1/customers"))
    await until(lambda: _has_struck(http, "timeout_percent"))

    async with asyncio.timeout(5):
        await provider.stop()

    assert (await held_back).status_code == 503
    await http.close()
