"""Everything that our ports send, recorded on its way to the simulators: every call is made once."""

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest

from settlement.carriers.billing import Billing
from settlement.carriers.client import Carrier
from settlement.payments.port import Payments
from tests.carrier.simulator import CarrierProcess, an_id, free_port, only_bucket
from tests.payment.making import Http, Provider, fresh, onboard, settings_for
from tests.settlement.faults.mischief import open_link
from tests.wire.requests import Recorder

MESSAGE = "{{code}} is your Surplusflow code."
AGAIN, DONE = "https://market.example/again", "https://market.example/done"


@pytest.fixture(scope="package")
def sim(new_database: Callable[[str], str]) -> Iterator[CarrierProcess]:
    process = CarrierProcess(new_database("wire_carrier"), free_port())
    try:
        process.start()
        yield process
    finally:
        process.stop()


@pytest.fixture(scope="package")
async def carrier_calls(sim: CarrierProcess) -> AsyncIterator[Recorder]:
    async with open_link(sim.port) as link:
        recorder = Recorder(link, "/cmcc")
        async with Carrier(sim.profile(base_url=f"{link.url}/cmcc")) as carrier:
            await _move_data(recorder, carrier, sim)
            await _ask_about_lines(recorder, carrier, sim)
        yield recorder


async def _move_data(recorder: Recorder, carrier: Carrier, sim: CarrierProcess) -> None:
    call, seller, buyer = recorder.call, sim.a_line(), sim.a_line(remaining_mb=None)
    await call("buckets", carrier.buckets(seller))
    bucket = await only_bucket(carrier, seller)
    reserved, moved, long_ago = an_id(), an_id(), datetime.now(UTC) - timedelta(days=1)
    held = await call("reserve", carrier.reserve(bucket.id, 500, bucket.expires_at, reserved, seller))
    await call("find_reservation", carrier.find_reservation(reserved))
    await call("resize", carrier.resize(held.id, 400))
    await call("reservation_page", carrier.reservation_page())
    await call("settle", carrier.settle(held.id, buyer, 100, moved))
    await call("find_movement", carrier.find_movement(moved))
    await call("release", carrier.release(held.id))
    await call("transfer", carrier.transfer(bucket.id, seller, buyer, 10, an_id()))
    await call("top_up", carrier.top_up(buyer, 10, "CN", bucket.expires_at, an_id()))
    await call("action_page", carrier.action_page(long_ago))
    await call("line_page", carrier.line_page(long_ago, datetime.now(UTC), offset=0, limit=1000))
    await call("deductions", carrier.deductions(seller, long_ago, datetime.now(UTC)))
    await call("actions", _all(carrier.actions(long_ago, datetime.now(UTC))))


async def _ask_about_lines(recorder: Recorder, carrier: Carrier, sim: CarrierProcess) -> None:
    call, line = recorder.call, sim.a_line()
    code = await call("send_code", carrier.send_code(line, MESSAGE))
    await call("validate_code", carrier.validate_code(code, "000000"))
    await call("send_sms", carrier.send_sms(line, "Your data has come."))
    await call("kyc_match", carrier.kyc_match(line, "王小明", "440101199001011234"))
    await call("sim_swapped", carrier.sim_swapped(line, 24))
    token = sim.raw("POST", "/admin/network-tokens", json={"msisdn": line}).json()["access_token"]
    await call("verify_number", carrier.verify_number(line, token))
    await call("number_recycled", carrier.number_recycled(line, date(2026, 1, 1)))
    soon = datetime.now(UTC) + timedelta(days=1)
    await call("subscribe", carrier.subscribe(line, "https://market.example/webhooks/lines", "token", soon))


@pytest.fixture(scope="package")
async def billing_calls(sim: CarrierProcess) -> AsyncIterator[Recorder]:
    payer, name, began = sim.a_line(remaining_mb=None, payment="postpaid"), an_id(), datetime.now(UTC)
    async with open_link(sim.port) as link:
        recorder = Recorder(link, "/cmcc")
        call = recorder.call
        async with Billing(sim.profile(base_url=f"{link.url}/cmcc", phone_bill=True)) as billing:
            made = await call("prepare", billing.prepare(payer, 1234, "CNY", name))
            await call("find", billing.find(name, began))
            await call("payment", billing.payment(made.id))
            await call("confirm", billing.confirm(made.id, payer))
            await call("refund", billing.refund(made.id, an_id()))
            await call("find_refund", billing.find_refund(made.id, an_id()))
            other = await billing.prepare(payer, 100, "CNY", an_id())
            await call("cancel", billing.cancel(other.id, payer))
            await call("refunds", billing.refunds(made.id))
            await call("listed", _all(billing.listed(began, datetime.now(UTC))))
        yield recorder


@pytest.fixture(scope="package")
async def provider_calls(new_database: Callable[[str], str]) -> AsyncIterator[Recorder]:
    provider = Provider(new_database("wire_payment"))
    await provider.start()
    http = Http(provider)
    async with open_link(provider.port) as link:
        recorder = Recorder(link)
        payments = Payments(settings_for(provider, api_base=link.url))
        await _take_money(recorder, payments, http)
        await _pay_sellers(recorder, payments, http)
        await _read_books(recorder, payments)
        await payments.close()
        yield recorder
    await http.close()
    await provider.stop()


async def _take_money(recorder: Recorder, payments: Payments, http: Http) -> None:
    call, name = recorder.call, fresh("ref")
    customer = await call("create_customer", payments.create_customer("buyer", fresh("key")))
    wish = {"customer": customer, "amount_minor": 10_000, "currency": "CNY", "return_url": DONE}
    paid = await call("charge", payments.charge(**_card(wish, "pm_card_bypassPending", name)))
    held = await call("authorise", payments.authorise(**_card(wish, "pm_card_visa", fresh("ref"))))
    await call("capture", payments.capture(held.id, 9_000, fresh("key")))
    dropped = await payments.authorise(**_card(wish, "pm_card_visa", fresh("ref")))
    await call("cancel", payments.cancel(dropped.id, fresh("key")))
    await _enter_a_card(recorder, payments, http, customer)
    refund = await call("refund", payments.refund(paid.id, 500, fresh("ref"), fresh("key")))
    await call("payment", payments.payment(paid.id))
    yesterday = datetime.now(UTC) - timedelta(days=1)
    await call("find_payment", payments.find_payment(name, customer=customer, since=yesterday))
    await call("find_refund", payments.find_refund(paid.id, refund.reference))
    await call("read_refund", payments.read_refund(refund.id))
    charge = (await http.get("/v1/charges", payment_intent=paid.id))["data"][0]
    await call("refunds_of_charge", payments.refunds_of_charge(charge["id"]))
    disputed = await payments.charge(**_card(wish, "pm_card_createDispute", fresh("ref")))
    dispute = (await http.get("/v1/disputes", payment_intent=disputed.id))["data"][0]
    await call("dispute", payments.dispute(dispute["id"]))
    words = {"description": "Mobile data", "record": "Delivered.", "key": fresh("key")}
    await call("submit_evidence", payments.submit_evidence(dispute["id"], **words))


async def _enter_a_card(recorder: Recorder, payments: Payments, http: Http, customer: str) -> None:
    call, name = recorder.call, fresh("ref")
    opening = payments.open_checkout(
        customer=customer, amount_minor=1_000, currency="CNY", item="Wallet top-up", payment="1", success_url=DONE,
        cancel_url=AGAIN, expires_at=datetime.now(UTC) + timedelta(hours=1), reference=name, key=fresh("key"),
    )  # fmt: skip
    opened = await call("open_checkout", opening)
    await call("checkout", payments.checkout(opened.id))
    await call("find_checkout", payments.find_checkout(customer, name))
    typed = {"number": "4242424242424242", "expiry": "12/34", "code": "123", "save": "yes"}
    await http.page("POST", urlsplit(opened.url or "").path, typed)
    await call("expire_checkout", payments.expire_checkout(opened.id, fresh("key")))
    (card,) = await call("saved_cards", payments.saved_cards(customer))
    await call("saved_card", payments.saved_card(card.id))
    await call("forget_card", payments.forget_card(card.id, fresh("key")))


async def _pay_sellers(recorder: Recorder, payments: Payments, http: Http) -> None:
    call, group, name = recorder.call, fresh("group"), fresh("ref")
    fresh_one = await call("open_account", payments.open_account(fresh("seller"), "CN", fresh("key")))
    await call("onboarding_link", payments.onboarding_link(fresh_one, AGAIN, DONE))
    seller = await onboard(payments, http)
    await call("account", payments.account(seller))
    wish = {"group": group, "reference": name, "key": fresh("key")}
    moved = await call("transfer", payments.transfer(seller, 2_000, "CNY", **wish))
    await call("find_transfer", payments.find_transfer(group, name))
    await call("reverse_transfer", payments.reverse_transfer(moved.id, 500, fresh("ref"), fresh("key")))
    payout = await call("pay_out", payments.pay_out(seller, 1_000, "CNY", name, fresh("key")))
    await call("payout", payments.payout(seller, payout.id))
    await call("find_payout", payments.find_payout(seller, name))


async def _read_books(recorder: Recorder, payments: Payments) -> None:
    call, now = recorder.call, datetime.now(UTC)
    await call("balance_transactions", _all(payments.balance_transactions(now - timedelta(days=1))))
    page = await call("statement_page", payments.statement_page(now - timedelta(days=1), now + timedelta(days=1)))
    last = page.lines[-1].id
    await call("statement_page", payments.statement_page(now - timedelta(days=1), now + timedelta(days=1), last))
    await call("balance", payments.balance())
    await call("events", _all(payments.events(now - timedelta(days=1))))
    await call(
        "ensure_webhook", payments.ensure_webhook("https://market.example/webhooks", ["payment_intent.succeeded"])
    )


def _card(wish: dict[str, Any], card: str, name: str) -> dict[str, Any]:
    return {**wish, "payment_method": card, "reference": name, "key": fresh("key")}


async def _all(lines: AsyncIterator[object]) -> list[object]:
    return [line async for line in lines]
