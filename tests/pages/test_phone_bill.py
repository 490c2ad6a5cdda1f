"""The page of the phone bill: its owner confirms once, lets go, or takes it off; a stranger does nothing."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from litestar import Litestar
from sqlalchemy import select

from market.purses import ensure_wallet
from settlement.phone_bill_tables import BillPaymentRow
from settlement.tables import InstructionRow
from tests.pages.conftest import Browser

PAGE = "/wallet/phone-bill"


async def _payment(app: Litestar, party_id: int, status: str = "reserved") -> int:
    async with app.state.venue.sessions.begin() as session:
        row = BillPaymentRow(
            party_id=party_id, key=f"bill-{party_id}-{status}", line_id=1, carrier="CMCC", amount_minor=2000,
            account_id=await ensure_wallet(session, party_id, "CNY"), currency="CNY", status=status,
            carrier_payment_id="p-1", decide_by=datetime.now(UTC) + timedelta(minutes=15),
        )  # fmt: skip
        session.add(row)
        await session.flush()
        return row.id


async def _asked(app: Litestar, payment_id: int) -> list[str]:
    query = select(InstructionRow.kind).where(
        InstructionRow.subject_id == payment_id, InstructionRow.kind.like("bill_%")
    )
    async with app.state.venue.sessions() as session:
        return list(await session.scalars(query))


async def test_a_reserved_payment_is_confirmed_on_the_page(page_app: Litestar, signed_in: Callable[..., Any]) -> None:
    browser: Browser = await signed_in()
    payment_id = await _payment(page_app, browser.party_id)
    await browser.get(PAGE)
    assert "Reserved: please confirm" in browser.text

    await browser.send(f"{PAGE}/{payment_id}/confirm")

    assert await _asked(page_app, payment_id) == ["bill_confirm"]
    assert "The carrier is being asked" in browser.text
    assert f"{PAGE}/{payment_id}/cancel" not in browser.text


async def test_what_was_let_go_cannot_be_confirmed(page_app: Litestar, signed_in: Callable[..., Any]) -> None:
    browser: Browser = await signed_in()
    payment_id = await _payment(page_app, browser.party_id)
    await browser.get(PAGE)
    await browser.send(f"{PAGE}/{payment_id}/cancel")

    response = await browser.send(f"{PAGE}/{payment_id}/confirm")

    assert response.status_code == 409
    assert await _asked(page_app, payment_id) == []


async def test_nobody_confirms_another_members_payment(page_app: Litestar, signed_in: Callable[..., Any]) -> None:
    owner: Browser = await signed_in()
    stranger: Browser = await signed_in()
    payment_id = await _payment(page_app, owner.party_id)
    await stranger.get(PAGE)

    response = await stranger.post(f"{PAGE}/{payment_id}/confirm", stranger.shown["/preferences"])

    assert response.status_code == 404
    assert await _asked(page_app, payment_id) == []


async def test_money_that_the_wallet_has_no_more_stays_on_the_bill(
    page_app: Litestar, signed_in: Callable[..., Any]
) -> None:
    browser: Browser = await signed_in(money_minor=0)
    payment_id = await _payment(page_app, browser.party_id, "charged")
    await browser.get(PAGE)

    response = await browser.send(f"{PAGE}/{payment_id}/refund")

    assert response.status_code == 422
    assert "not enough money" in browser.text
    assert await _asked(page_app, payment_id) == []


async def test_without_a_carrier_that_offers_it_the_page_says_so(signed_in: Callable[..., Any]) -> None:
    browser: Browser = await signed_in()

    await browser.get(PAGE)

    assert "None of your lines" in browser.text
    assert PAGE not in browser.shown
