"""A market on which everything has happened that moves money or data: through the real simulators, workers at work."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy import select, update

from settlement import accounts, part_refunds, phone_bill
from settlement.card_tables import ClawbackRow, TopUpRefundRow
from settlement.ledger import Kind
from settlement.naming import external_id
from settlement.phone_bill import CANCEL
from settlement.phone_bill_tables import BillPaymentRow
from settlement.reopening_tables import ReopeningRow
from settlement.tables import DeliveryRow, PaymentRow, PayoutRow
from tests.payment.making import Http, onboard
from tests.settlement.making import NEXT, instruct
from tests.settlement.test_card_holds import a_purchase
from tests.settlement.test_gifts import a_redemption
from tests.settlement.test_inbox import a_paid_top_up, an_event, told
from tests.settlement.test_phone_bill import Billed
from tests.settlement.world import until


@dataclass(frozen=True)
class Happened:
    """What there is afterwards, by what happened to it."""

    bought: DeliveryRow
    taken_back: DeliveryRow
    top_up: PaymentRow
    refunded_part: TopUpRefundRow
    failed_part: TopUpRefundRow
    disputed: ClawbackRow
    won: ClawbackRow
    outside: ClawbackRow
    payout: PayoutRow
    billed: BillPaymentRow
    off_the_bill: BillPaymentRow


async def _top_up(market: Billed, card: str = "pm_card_bypassPending") -> PaymentRow:
    row, name = await a_paid_top_up(market, card)
    await told(market, [an_event("payment_intent.succeeded", name)])
    async with market.sessions() as session:
        return await session.get_one(PaymentRow, row.id)


async def _part(market: Billed, row: PaymentRow, amount_minor: int) -> TopUpRefundRow:
    async with market.sessions.begin() as session:
        return await part_refunds.request(
            session, row.id, party_id=row.party_id, amount_minor=amount_minor, key=f"part-{next(NEXT)}"
        )


async def _clawback(market: Billed, payment_id: int) -> ClawbackRow:
    async with market.sessions() as session:
        found = await session.scalars(select(ClawbackRow).where(ClawbackRow.payment_id == payment_id))
        return found.one()


async def clawback_of(market: Billed, provider_id: str) -> ClawbackRow:
    """What the provider calls so."""
    async with market.sessions() as session:
        return (await session.scalars(select(ClawbackRow).where(ClawbackRow.provider_id == provider_id))).one()


async def _disputed(market: Billed, http: Http, *, won: bool) -> ClawbackRow:
    """A purchase by card that its bank takes back; the trade is opened again, and closed when the bank gives in."""
    purchase = await a_purchase(market, "0000", card="pm_card_createDispute")
    await market.status("capture", purchase.payment.id, "done")
    async with market.sessions() as session:
        row = await session.get_one(PaymentRow, purchase.payment.id)
    (dispute,) = (await http.get("/v1/disputes", payment_intent=row.provider_id))["data"]
    await told(market, [an_event("charge.dispute.created", dispute["id"])])
    if won:
        await http.post(f"/v1/disputes/{dispute['id']}", {"evidence[uncategorized_text]": "winning_evidence"})
        await told(market, [an_event("charge.dispute.closed", dispute["id"])])
    return await _clawback(market, row.id)


async def _withdrawal(market: Billed, http: Http, row: PaymentRow, amount_minor: int) -> PayoutRow:
    seller = await onboard(market.payments, http)
    async with market.sessions.begin() as session:
        payout = PayoutRow(
            party_id=row.party_id, key=f"payout-{next(NEXT)}", account_id=row.account_id, amount_minor=amount_minor,
            currency="CNY", destination=seller, transfer_reference=None, payout_reference=None, reason=None,
            ended_at=None,
        )  # fmt: skip
        session.add(payout)
        await session.flush()
        ledger = await accounts.lock(session, [row.account_id])
        ledger.hold(row.account_id, amount_minor, kind=Kind.PAYOUT_HELD, reference=f"wdr_{payout.id}")
        await accounts.save(session, ledger)
        await instruct(session, "transfer", payout.id, "provider")
    return payout


async def _off_the_bill(market: Billed) -> BillPaymentRow:
    row = await market.charged(1500)
    async with market.sessions.begin() as session:
        await phone_bill.request_refund(session, row.id)
    return await market.stands(row.id, "refunded")


@asynccontextmanager
async def _busy(market: Billed) -> AsyncIterator[None]:
    """Workers that look for work all the time, as they do when somebody wakes them with each instruction."""
    async with market.working() as wake:

        async def wake_again_and_again() -> None:
            while True:
                wake.set()
                await asyncio.sleep(0.05)

        waking = asyncio.create_task(wake_again_and_again())
        try:
            yield
        finally:
            waking.cancel()


async def everything_happens(market: Billed, http: Http) -> Happened:
    """Trades, one of them taken back; a top-up, refunds in part, disputes, a refund outside, a payout, phone bills."""
    async with _busy(market):
        top_up = await _top_up(market)
        seller = await market.reserved(2000)
        bought = await market.traded(seller, quantity=200, amount_minor=300, money_account_id=top_up.account_id)
        taken_back = await market.traded(seller, quantity=100, amount_minor=200, money_account_id=top_up.account_id)
        for trade in (bought, taken_back):
            assert (await market.ended(trade.id)).status == "settled"
        name = external_id(market.mark, "deliver", taken_back.id)
        answer = market.sim.raw("POST", "/admin/reversals", json={"external_identifier": name, "to": "sender"})
        assert answer.status_code == 200

        async def reopened() -> bool:
            async with market.sessions() as session:
                query = select(ReopeningRow.id).where(
                    ReopeningRow.trade_id == taken_back.id, ReopeningRow.status == "settled"
                )
                return await session.scalar(query) is not None

        await until(reopened)
        await a_purchase(market, "0000", "9001")
        part = await _part(market, top_up, 150)
        await market.status("refund_part", part.id, "done")
        failing = await _top_up(market, "pm_card_refundFail")
        failed = await _part(market, failing, 400)
        await market.status("refund_part", failed.id, "done")
        redeemed = await a_redemption(market, "0000")
        await market.status("redeem", redeemed.id, "done")
        disputed = await _disputed(market, http, won=False)
        won = await _disputed(market, http, won=True)
        given = await _top_up(market)
        refund = await http.post("/v1/refunds", {"payment_intent": given.provider_id, "amount": 250})
        await told(market, [an_event("refund.created", refund["id"])])
        payout = await _withdrawal(market, http, await _top_up(market), 600)
        await market.status("payout", payout.id, "done")
        billed = await market.charged(2000)
        off_the_bill = await _off_the_bill(market)
        let_go = await market.asked(700)
        await market.stands(let_go.id, "reserved")
        await market.decided(let_go.id, CANCEL)
        await market.stands(let_go.id, "cancelled")

        async def paid_and_returned() -> bool:
            done = await market.instruction("refund_part", failed.id)
            assert done is not None
            await told(market, [an_event("refund.failed", str(done.external_reference))])
            async with market.sessions() as session:
                payout_row = await session.get_one(PayoutRow, payout.id)
                refund_row = await session.get_one(TopUpRefundRow, failed.id)
                return (payout_row.status, refund_row.status) == ("paid", "returned")

        await until(paid_and_returned)
    return Happened(
        bought, taken_back, top_up, part, failed, disputed, won, await _clawback(market, given.id), payout, billed,
        off_the_bill,
    )  # fmt: skip


async def set_row(market: Billed, table: type, row_id: int, **values: object) -> None:
    """Plant a lie in our books."""
    async with market.sessions.begin() as session:
        await session.execute(update(table).where(table.id == row_id).values(**values))  # type: ignore[attr-defined]
