"""The wallet page's way back to the card."""

from typing import Any

from litestar import Litestar
from sqlalchemy import select

from settlement import accounts
from settlement.card_tables import TopUpRefundRow
from settlement.ledger_tables import AssetRow
from settlement.tables import PaymentRow


async def test_a_member_sends_a_part_of_a_top_up_back(page_app: Litestar, signed_in: Any) -> None:
    browser = await signed_in(money_minor=5_000)
    await browser.get("/wallet")
    assert "/wallet/refunds" not in browser.shown
    async with page_app.state.venue.sessions.begin() as session:
        money = (await session.scalars(select(AssetRow.id).where(AssetRow.code == "CNY"))).one()
        payment = PaymentRow(
            party_id=browser.party_id, key="refunded", kind="top_up", amount_minor=4_000, captured_minor=4_000,
            account_id=await accounts.account_id(session, browser.party_id, money, "wallet"), currency="CNY",
            payment_method="pm_card_visa", status="succeeded", provider_id=f"pi_page{browser.party_id}",
        )  # fmt: skip
        session.add(payment)
    await browser.get("/wallet")

    refused = await browser.send("/wallet/refunds", amount="40.01")
    assert (refused.status_code, 'id="refund-amount-error"' in refused.text) == (400, True)
    done = await browser.send("/wallet/refunds", amount="15")

    assert "Your refund is on its way to your card." in done.text
    async with page_app.state.venue.sessions() as session:
        (row,) = await session.scalars(select(TopUpRefundRow).where(TopUpRefundRow.payment_id == payment.id))
    assert (row.party_id, row.amount_minor, row.status) == (browser.party_id, 1_500, "requested")
    await browser.get("/wallet")
    assert "CN¥25.00 of CN¥40.00 left" in browser.text
