"""Money in and out by the API: keys, refusals, and the way from a new card to a saved one."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest
from httpx import ASGITransport, AsyncClient
from sqlalchemy import text

from market.settings import Settings
from tests.payment.making import Http, Provider, settings_for
from tests.web.making import Market, Partner, a_key
from web.app import create_app


@pytest.fixture(scope="module")
async def provider(new_database: Callable[[str], str]) -> AsyncIterator[Provider]:
    running = Provider(new_database("money_api"))
    await running.start()
    yield running
    await running.stop()


@pytest.fixture(scope="module")
async def cards(provider: Provider) -> AsyncIterator[Http]:
    """The payer's browser at the provider."""
    http = Http(provider)
    yield http
    await http.close()


@pytest.fixture(scope="module")
async def paying(settings: Settings, provider: Provider) -> AsyncIterator[Any]:
    """The application with a payment provider behind it."""
    app = create_app(replace(settings, payment=settings_for(provider, timeout_seconds=5)))
    ready, over = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with app.lifespan():
            ready.set()
            await over.wait()

    holder = asyncio.create_task(hold())
    await ready.wait()
    yield app
    over.set()
    await holder


@pytest.fixture
async def partner(engine: None, paying: Any, settings: Settings) -> AsyncIterator[Partner]:
    async with AsyncClient(transport=ASGITransport(app=paying), base_url=settings.public_url) as client:
        yield await Market(client, paying.state.venue).partner(money_minor=1_000)


async def saved(partner: Partner, cards: Http, number: str = "4242424242424242") -> dict[str, Any]:
    """A card that the partner has saved by paying 50.00 on the provider's page."""
    made = (await partner.post("/checkout-sessions", {"amount_minor": 5_000})).json()
    typed = {"number": number, "expiry": "12/34", "code": "123", "save": "yes"}
    await cards.page("POST", urlsplit(made["url"]).path, typed)
    await partner.get(f"/checkout-sessions/{made['id']}")
    (card,) = (await partner.get("/cards")).json()
    return {**card, "top_up": made["id"]}


async def money(partner: Partner) -> int:
    return int((await partner.get("/wallet")).json()["available_minor"])


async def test_a_new_card_is_entered_at_the_provider_and_fills_the_wallet(partner: Partner, cards: Http) -> None:
    made = await partner.post("/checkout-sessions", {"amount_minor": 5_000})
    page = made.json()
    open_still = await partner.get(f"/checkout-sessions/{page['id']}")
    await cards.page(
        "POST", urlsplit(page["url"]).path, {"number": "4242424242424242", "expiry": "12/34", "code": "123"}
    )
    paid = await partner.get(f"/checkout-sessions/{page['id']}")

    assert (made.status_code, page["status"]) == (201, "requires_action")
    assert open_still.json()["status"] == "requires_action"
    assert (paid.json()["status"], paid.json()["url"]) == ("succeeded", None)
    assert await money(partner) == 6_000
    assert (await partner.get("/cards")).json() == []


async def test_the_same_key_opens_one_page(partner: Partner) -> None:
    key = a_key()

    made = [await partner.post("/checkout-sessions", {"amount_minor": 5_000}, key) for _ in range(2)]
    other = await partner.post("/checkout-sessions", {"amount_minor": 6_000}, key)

    assert made[0].json() == made[1].json()
    assert other.status_code == 422


async def test_a_saved_card_is_charged_listed_and_forgotten(partner: Partner, cards: Http) -> None:
    card = await saved(partner, cards)

    charged = await partner.post("/top-ups", {"amount_minor": 2_000, "card_id": card["id"]})
    gone = await partner.send("DELETE", f"/cards/{card['id']}")
    again = await partner.post("/top-ups", {"amount_minor": 2_000, "card_id": card["id"]})

    assert (card["brand"], card["last4"]) == ("visa", "4242")
    assert (charged.status_code, charged.json()["status"]) == (201, "succeeded")
    assert gone.status_code == 204
    assert again.status_code == 402
    assert (await partner.get("/cards")).json() == []
    assert await money(partner) == 8_000


async def test_nobody_forgets_or_charges_anothers_card(
    partner: Partner, cards: Http, paying: Any, settings: Settings
) -> None:
    card = await saved(partner, cards)
    async with AsyncClient(transport=ASGITransport(app=paying), base_url=settings.public_url) as client:
        stranger = await Market(client, paying.state.venue).partner()

        assert (await stranger.send("DELETE", f"/cards/{card['id']}")).status_code == 404
        assert (await stranger.get(f"/checkout-sessions/{card['top_up']}")).status_code == 404
        assert (await stranger.post("/top-ups", {"amount_minor": 500, "card_id": card["id"]})).status_code == 402

    assert len((await partner.get("/cards")).json()) == 1


async def test_a_part_of_a_top_up_goes_back_to_its_card(partner: Partner, cards: Http) -> None:
    card = await saved(partner, cards)

    back = await partner.post(f"/top-ups/{card['top_up']}/refunds", {"amount_minor": 1_500})
    too_much = await partner.post(f"/top-ups/{card['top_up']}/refunds", {"amount_minor": 4_000})

    assert (back.status_code, back.json()["status"], back.json()["amount_minor"]) == (202, "requested", 1_500)
    assert too_much.status_code == 400
    assert await money(partner) == 4_500


async def test_the_payout_schedule_is_read_and_set(partner: Partner) -> None:
    before = (await partner.get("/payout-schedule")).json()
    put = await partner.send("PUT", "/payout-schedule", json={"every": "weekly", "minimum_minor": 5_000})
    wrong = await partner.send("PUT", "/payout-schedule", json={"every": "hourly", "minimum_minor": 5_000})

    assert (before["every"], before["effective_at"]) == ("manual", None)
    assert (put.status_code, put.json()["every"], put.json()["minimum_minor"]) == (200, "weekly", 5_000)
    assert wrong.status_code == 400
    assert (await partner.get("/payout-schedule")).json() == put.json()


async def test_a_phone_bill_takes_a_line_of_ones_own(partner: Partner) -> None:
    answer = await partner.post("/phone-bill-payments", {"amount_minor": 1_000, "line_id": "lin_987654"})

    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/checkout-sessions/pay_0", 404),
        ("GET", "/phone-bill-payments/bil_99", 404),
        ("POST", "/phone-bill-payments/bil_99/confirm", 404),
        ("POST", "/phone-bill-payments/bil_99/cancel", 404),
        ("DELETE", "/cards/nothing", 404),
    ],
)
async def test_what_is_not_there_is_not_found(partner: Partner, method: str, path: str, status: int) -> None:
    answer = await partner.send(method, path, headers={"Idempotency-Key": a_key()})

    assert answer.status_code == status


@pytest.mark.parametrize("amount", [0, -1, 399, 500_001, 1.5, "5000", None])
async def test_an_amount_that_is_none_is_refused(partner: Partner, amount: Any) -> None:
    answer = await partner.post("/checkout-sessions", {"amount_minor": amount})

    assert answer.status_code == 400


async def test_a_page_without_a_key_is_refused(partner: Partner) -> None:
    answer = await partner.send("POST", "/checkout-sessions", json={"amount_minor": 5_000})

    assert answer.status_code == 400


async def test_what_the_carrier_will_charge_can_be_followed(partner: Partner, paying: Any) -> None:
    """A payment on the phone bill as the table has it: told, confirmed, and told again."""
    async with paying.state.venue.sessions.begin() as session:
        payment_id = await session.scalar(
            text("""
                insert into bill_payment (party_id, key, line_id, carrier, account_id, amount_minor, currency, status)
                select :party, 'k', 1, 'CMCC', min(id), 1000, 'CNY', 'reserved' from account
                returning id
            """),
            {"party": partner.party_id},
        )

    told = await partner.get(f"/phone-bill-payments/bil_{payment_id}")
    confirmed = [await partner.post(f"/phone-bill-payments/bil_{payment_id}/confirm", None) for _ in range(2)]
    too_late = await partner.post(f"/phone-bill-payments/bil_{payment_id}/cancel", None)

    assert (told.json()["status"], told.json()["decided"]) == ("reserved", False)
    assert [(each.status_code, each.json()["decided"]) for each in confirmed] == [(202, True)] * 2
    assert too_late.status_code == 409
