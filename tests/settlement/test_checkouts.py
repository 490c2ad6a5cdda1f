"""Top-ups by a new card: on the provider's own page, in any order of page, payment and news of them."""

import asyncio
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from sqlalchemy import select

from settlement import at_once, checkouts, funding, saved_cards
from settlement.checkouts import CHECKOUT_METHOD
from settlement.instructions import Done, Lost
from settlement.payment_tables import SavedCardRow
from settlement.payments.errors import PaymentMismatch
from settlement.provider_news import NEWS
from settlement.steps import PROVIDER_LANE
from settlement.tables import PaymentRow, ProviderEventRow
from tests.payment.making import Http, fresh
from tests.settlement.making import Balance, a_payment_row, balance, imbalance
from tests.settlement.test_sweeping import aged, swept
from tests.settlement.world import World

GOOD, SECURE, BAD = "4242 4242 4242 4242", "4000000000003220", "4000000000000002"


async def opened(world: World) -> PaymentRow:
    """A top-up whose page is open at the provider."""
    row = await asked(world)
    async with world.sessions.begin() as session:
        claim = await at_once.claim(session, world.outside, "checkout", row.id)
    assert claim is not None
    assert isinstance(await at_once.do(world.sessions, world.outside, world.announce, claim), Done)
    return await stands(world, row)


async def asked(world: World) -> PaymentRow:
    customer = await world.payments.create_customer("buyer", fresh("key"))
    async with world.sessions.begin() as session:
        row = await a_payment_row(session)
        row.customer, row.payment_method = customer, CHECKOUT_METHOD
        row.return_url = "https://market.example/returned"
        await funding.instruct(session, "checkout", row.id, PROVIDER_LANE)
    return row


async def stands(world: World, row: PaymentRow) -> PaymentRow:
    async with world.sessions() as session:
        return await session.get_one(PaymentRow, row.id)


async def pay(http: Http, row: PaymentRow, number: str, *, save: bool = False) -> str | None:
    """Enter a card on the page; gives where the payer goes next."""
    typed = {"number": number, "expiry": "12/34", "code": "123"} | ({"save": "yes"} if save else {})
    answer = await http.page("POST", urlsplit(row.action_url or "").path, typed)
    location: str | None = answer.headers.get("location")
    return location


async def followed(world: World, row: PaymentRow) -> PaymentRow:
    assert row.checkout_id is not None
    return await checkouts.follow(world.sessions, world.payments, row.id, row.checkout_id)


async def test_an_open_page_waits_for_its_owner(world: World) -> None:
    row = await opened(world)

    assert row.status == "requires_action"
    assert row.action_url is not None
    assert (await followed(world, row)).status == "requires_action"
    async with world.sessions() as session:
        assert await balance(session, row.account_id) == Balance(0, 0)


async def test_a_card_that_is_entered_there_fills_the_wallet_once(world: World, provider_http: Http) -> None:
    row = await opened(world)

    assert await pay(provider_http, row, GOOD) == "https://market.example/returned"
    ended = [await followed(world, row) for _ in range(3)][-1]

    assert ended.status == "succeeded"
    async with world.sessions() as session:
        assert await balance(session, row.account_id) == Balance(1000, 0)
        assert await saved_cards.of_party(session, row.party_id) == [], "nobody asked for the card to be saved"
        assert await imbalance(session) == {}


async def test_a_declined_card_may_be_followed_by_another(world: World, provider_http: Http) -> None:
    row = await opened(world)

    assert await pay(provider_http, row, BAD) is None
    assert (await followed(world, row)).status == "requires_action", "the page is still open"
    await pay(provider_http, row, GOOD)

    assert (await followed(world, row)).status == "succeeded"


async def test_three_d_secure_is_between_the_payer_and_the_bank(world: World, provider_http: Http) -> None:
    row = await opened(world)

    bank = await pay(provider_http, row, SECURE, save=True)
    assert bank is not None
    assert (await followed(world, row)).status == "requires_action"
    await provider_http.page("POST", bank, {"answer": "confirm"})

    assert (await followed(world, row)).status == "succeeded"
    async with world.sessions() as session:
        (card,) = await saved_cards.of_party(session, row.party_id)
    assert (card.brand, card.last4) == ("visa", "3220")


async def test_a_saved_card_pays_again_and_can_be_forgotten(world: World, provider_http: Http) -> None:
    row = await opened(world)
    await pay(provider_http, row, GOOD, save=True)
    await followed(world, row)
    async with world.sessions() as session:
        (card,) = await saved_cards.of_party(session, row.party_id)

    again = await world.payments.charge(
        customer=row.customer or "", amount_minor=500, currency="CNY", payment_method=card.id,
        reference=fresh("ref"), key=fresh("key"), return_url="https://market.example/",
    )  # fmt: skip
    await world.payments.forget_card(card.id, fresh("key"))
    await told(world, "payment_method.detached", card.id)

    assert again.captured_minor == 500
    async with world.sessions() as session:
        assert await saved_cards.of_party(session, row.party_id) == []


async def told(world: World, kind: str, object_id: str, account: str | None = None) -> str:
    """What comes of an event of the provider's."""
    event = ProviderEventRow(id=fresh("evt"), kind=kind, object_id=object_id, payload={"account": account})
    _, outcome = await NEWS[kind.partition(".")[0]](world.sessions, world.outside, event)
    return outcome


async def test_the_news_of_a_page_settles_it(world: World, provider_http: Http) -> None:
    row = await opened(world)
    await pay(provider_http, row, GOOD)

    assert await told(world, "checkout.session.completed", row.checkout_id or "") == "succeeded"
    assert (await stands(world, row)).status == "succeeded"


async def test_a_payment_whose_page_we_never_heard_of_is_credited_once(world: World, provider_http: Http) -> None:
    """The answer to opening the page is lost, and its owner has found the page all the same."""
    row = await asked(world)
    await provider_http.control("PUT", "faults", {"timeout_percent": 100})
    try:
        async with world.sessions.begin() as session:
            claim = await at_once.claim(session, world.outside, "checkout", row.id)
        assert claim is not None
        assert isinstance(await at_once.do(world.sessions, world.outside, world.announce, claim), Lost)
    finally:
        await provider_http.control("PUT", "faults", {"timeout_percent": 0})
    (listed,) = (await provider_http.get("/v1/checkout/sessions", customer=row.customer))["data"]
    row.action_url = listed["url"]
    await pay(provider_http, row, GOOD)

    async with world.working():
        await world.status("checkout", row.id, "done")
    assert await told(world, "checkout.session.completed", listed["id"]) == "succeeded"

    assert (await stands(world, row)).status == "succeeded"
    async with world.sessions() as session:
        assert await balance(session, row.account_id) == Balance(1000, 0)


async def test_a_page_that_is_left_is_over_after_its_time(world: World) -> None:
    row = await opened(world)
    assert row.checkout_id is not None
    closed = await world.payments.expire_checkout(row.checkout_id, fresh("key"))

    await aged(world, PaymentRow, row.id, timedelta(minutes=70))
    await swept(world)

    assert closed.url is None
    assert (await stands(world, row)).status == "declined"


async def test_two_who_hear_of_a_payment_at_once_credit_it_once(world: World, provider_http: Http) -> None:
    row = await opened(world)
    await pay(provider_http, row, GOOD)

    await asyncio.gather(*(followed(world, row) for _ in range(8)))

    async with world.sessions() as session:
        assert await balance(session, row.account_id) == Balance(1000, 0)


async def test_a_page_about_another_amount_moves_nothing(world: World, provider_http: Http) -> None:
    row, other = await opened(world), await asked(world)
    async with world.sessions.begin() as session:
        (await session.get_one(PaymentRow, other.id)).amount_minor = 2000
    await pay(provider_http, row, GOOD)

    assert row.checkout_id is not None
    with pytest.raises(PaymentMismatch):
        await checkouts.follow(world.sessions, world.payments, other.id, row.checkout_id)


async def test_a_strangers_card_is_not_ours(world: World, provider_http: Http) -> None:
    customer = await provider_http.customer()
    card = await provider_http.post("/v1/payment_methods", {"type": "card", "card[token]": "tok_visa"})
    await provider_http.post(f"/v1/payment_methods/{card['id']}/attach", {"customer": customer})

    assert await told(world, "payment_method.attached", card["id"]) == "not ours"
    async with world.sessions() as session:
        assert await session.scalar(select(SavedCardRow).where(SavedCardRow.id == card["id"])) is None
