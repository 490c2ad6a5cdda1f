"""Placing orders with everything around them: the carrier's reservation, the card's hold, the rules, the engine."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from market.parties import Member
from market.refusals import Forbidden, KeyReused, NotAllowed, NotFound, OutcomeUnknown, PaymentFailed, Refusal
from market.tables import LineRow
from market.trading import OrderRequest, Placed, amend, cancel, mass_cancel, outcome, place
from settlement.tables import CustodyRow, PaymentRow
from tests.engine.factories import running_engine
from tests.market.town import Town, a_key

SYMBOL = "CMCC-CN-3001"


@pytest.fixture(autouse=True, scope="module")
async def _engine(town: Town) -> AsyncIterator[None]:
    async with running_engine(town.venue.settings.database_dsn, town.venue.redis):
        yield


def a_sale(lots: int = 20, price: int = 300, **more: Any) -> OrderRequest:
    return OrderRequest(symbol=SYMBOL, side="sell", lots=lots, price_minor=price, **more)


def a_purchase(lots: int = 10, price: int = 300, **more: Any) -> OrderRequest:
    return OrderRequest(symbol=SYMBOL, side="buy", lots=lots, price_minor=price, **more)


async def the_bucket(town: Town, member: Member) -> tuple[int, int]:
    """MB left and MB reserved on the member's line, as the carrier has it."""
    async with town.venue.sessions() as session:
        line = await session.scalar(select(LineRow).where(LineRow.party_id == member.party_id))
    assert line is not None
    (bucket,) = await town.venue.carriers["CMCC"].buckets(town.venue.vault.open(line.number_sealed))
    return bucket.remaining_mb, bucket.reserved_mb


async def sold(town: Town, member: Member, request: OrderRequest, key: str | None = None) -> Placed:
    return await place(town.venue, member, request, key or a_key())


async def cleared(town: Town, *members: Member) -> None:
    """Leave the book as it was found."""
    for member in members:
        await mass_cancel(town.venue, member, a_key())


async def test_a_sale_is_reserved_at_the_carrier_once_however_often_it_is_sent(town: Town) -> None:
    seller = await town.a_member()
    key = a_key()

    answers = [await sold(town, seller, a_sale(), key) for _ in range(3)]
    answers += await asyncio.gather(*(sold(town, seller, a_sale(), key) for _ in range(5)))

    assert len({answer.answer for answer in answers}) == 1
    assert answers[0].answer is not None
    assert answers[0].answer.state == "open"
    assert await the_bucket(town, seller) == (18_000, 2_000)
    async with town.venue.sessions() as session:
        assert await outcome(session, seller, key) == answers[0].answer
    with pytest.raises(KeyReused):
        await sold(town, seller, a_sale(lots=5), key)
    await cleared(town, seller)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (a_sale(lots=196), "sale_too_large"),
        (a_sale(lots=99, price=303), "off_tick"),
        (a_sale(price=1_005), "outside_band"),
        (a_sale(lots=0), "bad_quantity"),
        (a_sale(time_in_force="gtd"), "expiry_missing"),
        (a_sale(post_only=True, time_in_force="ioc"), "post_only_must_rest"),
        (a_sale(time_in_force="ioc", payment="card", payment_method="pm_card_visa"), "card_is_immediate"),
        (a_purchase(payment="card", payment_method="pm_card_visa"), "card_is_immediate"),
        (a_purchase(lots=201), "receive_cap"),
        (a_purchase(lots=10), "insufficient_money"),
    ],
)
async def test_what_the_rules_refuse_reserves_and_charges_nothing(
    town: Town, request_: OrderRequest, code: str
) -> None:
    member = await town.a_member()

    with pytest.raises(NotAllowed) as refusal:
        await sold(town, member, request_)

    assert refusal.value.code == code
    assert await the_bucket(town, member) == (20_000, 0)
    await town.assert_books_agree()


async def test_the_residual_stays_with_the_seller(town: Town) -> None:
    seller = await town.a_member(remaining_mb=2_400)

    with pytest.raises(NotAllowed, match="You can sell 1900 MB"):
        await sold(town, seller, a_sale())


async def test_received_data_is_not_sold_again(town: Town) -> None:
    seller = await town.a_member(transferable=False)

    with pytest.raises(NotAllowed) as refusal:
        await sold(town, seller, a_sale())

    assert refusal.value.code == "not_transferable"


async def test_nobody_sells_from_or_buys_to_anothers_line(town: Town) -> None:
    owner, stranger = await town.a_member(), await town.a_member()
    async with town.venue.sessions() as session:
        line = await session.scalar(select(LineRow.id).where(LineRow.party_id == owner.party_id))

    for request in (a_sale(line_id=line), a_purchase(line_id=line)):
        with pytest.raises((NotFound, Forbidden)):
            await sold(town, stranger, request)


async def test_a_carrier_that_fails_is_asked_again_under_the_same_key(town: Town) -> None:
    seller = await town.a_member()
    key = a_key()

    await town.at_carrier("PUT", "/admin/faults", json={"error_rate_percent": 100})
    with pytest.raises(OutcomeUnknown):
        await sold(town, seller, a_sale(), key)
    await town.at_carrier("PUT", "/admin/faults", json={})
    placed = await sold(town, seller, a_sale(), key)

    assert placed.answer is not None
    assert await the_bucket(town, seller) == (18_000, 2_000)
    await cleared(town, seller)


async def test_a_carrier_that_refuses_leaves_nothing_behind(town: Town) -> None:
    seller = await town.a_member()
    key = a_key()

    await town.at_carrier("PUT", "/admin/faults", json={"refuse_percent": 100})
    with pytest.raises(NotAllowed) as refusal:
        await sold(town, seller, a_sale(), key)
    await town.at_carrier("PUT", "/admin/faults", json={})

    assert refusal.value.code == "custody_refused"
    with pytest.raises(NotAllowed):
        await sold(town, seller, a_sale(), key)
    assert await the_bucket(town, seller) == (20_000, 0)
    placed = await sold(town, seller, a_sale())
    assert placed.answer is not None
    await cleared(town, seller)


async def test_an_amendment_and_a_cancel_go_to_the_right_order(town: Town) -> None:
    seller, stranger = await town.a_member(), await town.a_member()
    placed = await sold(town, seller, a_sale())
    assert placed.answer is not None
    order_id = placed.answer.order_id or 0

    smaller = await amend(town.venue, seller, order_id, price_minor=300, lots=12, key=a_key(), version=1)
    refusals: list[type[Refusal]] = []
    for who, version in ((stranger, None), (seller, 1)):
        with pytest.raises(Refusal) as refusal:
            await cancel(town.venue, who, order_id, a_key(), version)
        refusals.append(type(refusal.value))
    cancelled = await cancel(town.venue, seller, order_id, a_key(), smaller.version)

    assert (smaller.open, smaller.version) == (12, 2)
    assert [refusal.__name__ for refusal in refusals] == ["NotFound", "Conflict"]
    assert cancelled.state == "cancelled"
    second = (await sold(town, seller, a_sale(lots=2))).answer
    assert second is not None
    with pytest.raises(NotAllowed, match="Only the reserved data"):
        await amend(town.venue, seller, second.order_id or 0, price_minor=300, lots=9, key=a_key())
    await cleared(town, seller)


async def test_a_card_is_held_for_the_order_and_a_declined_one_places_nothing(town: Town) -> None:
    seller, buyer = await town.a_member(), await town.a_member()
    await sold(town, seller, a_sale())

    with pytest.raises(PaymentFailed):
        await sold(town, buyer, a_card_purchase("pm_card_visa_chargeDeclined"))
    bought = await sold(town, buyer, a_card_purchase("pm_card_visa"))

    assert bought.answer is not None
    assert (bought.answer.state, bought.answer.filled) == ("filled", 10)
    async with town.venue.sessions() as session:
        payments = list(
            await session.scalars(
                select(PaymentRow).where(PaymentRow.party_id == buyer.party_id).order_by(PaymentRow.id)
            )
        )
    assert [(payment.status, payment.amount_minor) for payment in payments] == [
        ("declined", 3_000),
        ("authorised", 3_000),
    ]
    await cleared(town, seller)


async def test_a_card_that_asks_its_bank_is_confirmed_first_and_then_used_under_the_same_key(town: Town) -> None:
    seller, buyer = await town.a_member(), await town.a_member()
    await sold(town, seller, a_sale())
    key, request = a_key(), a_card_purchase("pm_card_threeDSecure2Required")

    first = await sold(town, buyer, request, key)
    assert first.answer is None
    assert first.action_url is not None
    await _confirm_at_the_bank(first.action_url)
    second = await sold(town, buyer, request, key)

    assert second.answer is not None
    assert second.answer.filled == 10
    await cleared(town, seller)


def a_card_purchase(card: str) -> OrderRequest:
    return a_purchase(time_in_force="ioc", payment="card", payment_method=card)


async def _confirm_at_the_bank(url: str) -> None:
    """Press the bank's button, as a browser would."""
    async with httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=20) as client:
        page = await client.get(url)
        button = re.search(r'<button[^>]*name="(\w+)"[^>]*value="(\w+)"', page.text)
        assert button is not None, page.text
        answer = await client.post(url, data={button[1]: button[2]})
        assert answer.status_code in {200, 302, 303}, answer.text


async def test_no_custody_is_left_without_its_order(town: Town) -> None:
    async with town.venue.sessions() as session:
        stray = list(await session.scalars(select(CustodyRow.id).where(CustodyRow.status == "requested")))

    assert not stray
    await town.assert_books_agree()
