"""What the outside says wrongly is refused, or parked for a person who is called; nothing moves."""

import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from market.dead_letters import letters
from settlement import funding, inbox
from settlement.carriers.client import Carrier
from settlement.ledger_tables import AccountRow
from settlement.payments.errors import ForgedEvent
from settlement.payments.port import EVENT_BYTES, Payments
from settlement.tables import PaymentRow
from tests.payment.making import Http, Provider, settings_for
from tests.settlement.faults.mischief import Link, Message, Mischief, moves_data, open_link
from tests.settlement.making import imbalance
from tests.settlement.test_card_holds import a_purchase
from tests.settlement.test_inbox import a_paid_top_up, an_event, outcome_of, told
from tests.settlement.test_payouts import a_top_up, a_withdrawal
from tests.settlement.world import World

Change = Callable[[Any], None]
Books = list[tuple[int, int, int]]

SECRET = settings_for(Provider("")).webhook_secret


def puts(*path: str | int, to: Any) -> Change:
    """Another value at a place of the answer."""

    def change(document: Any) -> None:
        for part in path[:-1]:
            document = document[part]
        document[path[-1]] = to

    return change


def drops(*path: str | int) -> Change:
    """A field less."""

    def change(document: Any) -> None:
        for part in path[:-1]:
            document = document[part]
        del document[path[-1]]

    return change


def asks(path: str) -> Callable[[Message], bool]:
    return lambda request: path in request.path


def posts(path: str) -> Callable[[Message], bool]:
    return lambda request: request.method == "POST" and path in request.path


@asynccontextmanager
async def lying_provider(world: World, provider: Provider) -> AsyncIterator[tuple[World, Link]]:
    """The same world, its provider reached through a link that may tell lies."""
    async with open_link(provider.port) as link:
        payments = Payments(settings_for(provider, api_base=link.url, timeout_seconds=2))
        try:
            yield replace(world, payments=payments), link
        finally:
            await payments.close()


@asynccontextmanager
async def lying_carrier(world: World) -> AsyncIterator[tuple[World, Link]]:
    async with open_link(world.sim.port) as link:
        profile = replace(world.carrier.profile, base_url=f"{link.url}/cmcc", timeout_seconds=5.0)  # the lie must come
        async with Carrier(profile) as carrier:
            yield replace(world, carrier=carrier), link


async def books(world: World) -> Books:
    """Every account as it stands."""
    query = select(AccountRow.id, AccountRow.available, AccountRow.held).order_by(AccountRow.id)
    async with world.sessions() as session:
        assert await imbalance(session) == {}
        return [(row.id, row.available, row.held) for row in await session.execute(query)]


async def stops_for_a_person(world: World, kind: str, subject_id: int) -> None:
    """The instruction ends dead, with a reason, on the list of those that officers are shown."""
    dead = await world.status(kind, subject_id, "dead")
    async with world.sessions() as session:
        shown = [letter.instruction.id for letter in await letters(session, None)]
    assert dead.reason
    assert dead.id in shown


# What comes by webhook.


def signed(body: bytes, secret: str = SECRET, age_seconds: int = 0) -> str:
    at = int(time.time()) - age_seconds
    return f"t={at},v1={hmac.new(secret.encode(), f'{at}.'.encode() + body, hashlib.sha256).hexdigest()}"


def a_webhook(object_id: str, padding: str = "") -> bytes:
    content = {"id": object_id, "object": "payment_intent"}
    event = {
        "id": f"evt_{object_id}", "object": "event", "type": "payment_intent.succeeded", "created": int(time.time()),
        "data": {"object": content}, "padding": padding,
    }  # fmt: skip
    return json.dumps(event).encode()


@pytest.mark.parametrize(
    ("forge", "padding"),
    [
        pytest.param(lambda body: signed(body, secret="whsec_another"), "", id="another secret"),
        pytest.param(lambda body: signed(body + b" "), "", id="another body"),
        pytest.param(lambda body: signed(body, age_seconds=301), "", id="old"),
        pytest.param(lambda body: "", "", id="not signed"),
        pytest.param(signed, "x" * EVENT_BYTES, id="huge"),
    ],
)  # fmt: skip
async def test_a_forged_old_or_huge_webhook_is_refused_and_the_true_one_is_still_taken(
    world: World, forge: Callable[[bytes], str], padding: str
) -> None:
    row, provider_id = await a_paid_top_up(world)
    body, before = a_webhook(provider_id, padding), await books(world)

    with pytest.raises(ForgedEvent):
        world.payments.verify_event(body, forge(body))
    assert await books(world) == before

    true = a_webhook(provider_id)
    await told(world, [world.payments.verify_event(true, signed(true))])
    async with world.sessions() as session:
        assert (await session.get_one(PaymentRow, row.id)).status == "succeeded"
    assert await books(world) != before


@pytest.mark.parametrize("kind", ["account.teleported", "charge", "payment_intents.succeeded", "x" * 80])
async def test_an_event_of_an_unknown_type_is_put_away(world: World, kind: str) -> None:
    event, before = an_event(kind, "pi_1"), await books(world)

    await told(world, [event])

    assert await outcome_of(world, event) == "not needed"
    assert await books(world) == before


async def test_an_event_about_nothing_is_parked(world: World) -> None:
    event, before = an_event("payment_intent.succeeded", ""), await books(world)

    await told(world, [event])

    assert str(await outcome_of(world, event)).startswith(inbox.PARKED)
    assert await books(world) == before


# What the provider answers.


@pytest.mark.parametrize(
    "change",
    [
        puts("amount", to=100_000),
        puts("amount_received", to=1),
        puts("amount_received", to="1000"),
        puts("amount_received", to=-1000),
        puts("amount_received", to=1000.5),
        puts("currency", to="usd"),
        puts("status", to="teleported"),
        puts("id", to="pi_another"),
        drops("amount_received"),
        drops("currency"),
    ],
)
async def test_a_top_up_of_another_amount_or_currency_is_parked_and_credits_nothing(
    world: World, payment_simulator: Provider, change: Change
) -> None:
    row, provider_id = await a_paid_top_up(world)
    event, before = an_event("payment_intent.succeeded", provider_id), await books(world)

    async with lying_provider(world, payment_simulator) as (deceived, link):
        link.lie(change, asks(provider_id))
        await told(deceived, [event])

    assert link.met[Mischief.OTHER_ANSWER] == 1
    assert str(await outcome_of(world, event)).startswith(inbox.PARKED)
    assert await books(world) == before
    async with world.sessions.begin() as session:
        assert event.id in [one.id for one in await inbox.parked(session)]
        await inbox.handle_again(session, event_id=event.id)
    await told(world, [])
    async with world.sessions() as session:
        assert (await session.get_one(PaymentRow, row.id)).status == "succeeded"


@pytest.mark.parametrize(
    "change",
    [
        puts("amount_received", to=299),
        puts("currency", to="usd"),
        puts("status", to="canceled"),
        puts("id", to="pi_another"),
        drops("amount_received"),
    ],
)
async def test_a_capture_of_another_amount_or_currency_pays_nobody(
    world: World, payment_simulator: Provider, change: Change
) -> None:
    purchase = await a_purchase(world, "0000")
    before = await books(world)

    async with lying_provider(world, payment_simulator) as (deceived, link):
        link.lie(change, posts("/capture"))
        async with deceived.working():
            await stops_for_a_person(deceived, "capture", purchase.payment.id)

    assert (await world.delivery(purchase.trades[0].id)).status == "delivered"
    assert await without_data(world, before) == await without_data(world, await books(world))


async def without_data(world: World, rows: Books) -> Books:
    """The accounts of money alone: the data was delivered, and rightly so."""
    async with world.sessions() as session:
        query = select(AccountRow.id).where(AccountRow.kind.in_(("wallet", "card", "provider", "fees")))
        money = set(await session.scalars(query))
    return [row for row in rows if row[0] in money]


@pytest.mark.parametrize(
    "change",
    [
        puts("amount", to=4999),
        puts("currency", to="usd"),
        puts("destination", to="acct_another"),
        puts("metadata", to={}),
        drops("amount"),
    ],
)
async def test_a_transfer_to_another_or_of_another_amount_leaves_the_withdrawals_money_set_aside(
    world: World, payment_simulator: Provider, provider_http: Http, change: Change
) -> None:
    row = await a_withdrawal(world, provider_http)
    before = await books(world)

    async with lying_provider(world, payment_simulator) as (deceived, link):
        link.lie(change, posts("/v1/transfers"))
        async with deceived.working():
            await stops_for_a_person(deceived, "transfer", row.id)

    assert await books(world) == before


@pytest.mark.parametrize(
    "change",
    [
        puts("amount", to=999),
        puts("currency", to="usd"),
        puts("payment_intent", to="pi_another"),
        puts("status", to="teleported"),
        drops("amount"),
    ],
)
async def test_a_refund_of_another_amount_or_currency_leaves_the_wallets_money_set_aside(
    world: World, payment_simulator: Provider, change: Change
) -> None:
    row = await a_top_up(world)
    async with world.sessions.begin() as session:
        await funding.request_refund(session, row.id)
    before = await books(world)

    async with lying_provider(world, payment_simulator) as (deceived, link):
        link.lie(change, posts("/v1/refunds"))
        async with deceived.working():
            await stops_for_a_person(deceived, "refund", row.id)

    assert await books(world) == before


# What a carrier answers.


@pytest.mark.parametrize(
    "change",
    [
        puts("amount", "amount", to=201),
        puts("amount", "amount", to=200.5),
        puts("amount", "amount", to="200"),
        puts("amount", "amount", to=-200),
        puts("amount", "units", to="MiB"),
        puts("externalIdentifier", to="another"),
        puts("reserveBalance", "id", to="another"),
        puts("receiverLogicalResource", "value", to="+8613999999998"),
        puts("status", to="teleported"),
        drops("amount"),
        drops("id"),
        drops("status"),
        drops("requestedDate"),
        drops("externalIdentifier"),
    ],
)
async def test_a_delivery_that_is_answered_otherwise_pays_nobody(world: World, change: Change) -> None:
    trade = await world.traded(await world.reserved(500), quantity=200)
    before = await books(world)

    async with lying_carrier(world) as (deceived, link):
        link.lie(change, moves_data)
        async with deceived.working():
            await stops_for_a_person(deceived, "deliver", trade.id)

    assert (await world.delivery(trade.id)).status == "pending"
    assert await books(world) == before


@pytest.mark.parametrize(
    "change",
    [
        puts(0, "amount", "amount", to=199),
        puts(0, "externalIdentifier", to="another"),
        puts(0, "receiverLogicalResource", "value", to="+8613999999998"),
        lambda shown: shown.append(shown[0]),
    ],
)
async def test_a_lost_answer_that_is_asked_for_and_told_otherwise_pays_nobody(world: World, change: Change) -> None:
    trade = await world.traded(await world.reserved(500), quantity=200)
    before = await books(world)

    async with lying_carrier(world) as (deceived, link):
        link.change = change
        link.arm(Mischief.RESET_AFTER, Mischief.OTHER_ANSWER, wanted=asks("/adjustBalance"))
        async with deceived.working():
            await stops_for_a_person(deceived, "deliver", trade.id)

    assert await books(world) == before
