"""On a market where everything has happened nothing differs; and each thing that is made to differ is found."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from settlement import accounts
from settlement.card_tables import ClawbackRow, TopUpRefundRow
from settlement.ledger import Kind
from settlement.naming import external_id
from settlement.phone_bill_tables import BillPaymentRow
from settlement.reconciliation.tables import BreakRow
from settlement.reopening_tables import ReopeningRow
from settlement.tables import CustodyRow, DeliveryRow, InstructionRow, PaymentRow
from tests.payment.making import Http
from tests.settlement.making import NEXT, a_wallet, money
from tests.settlement.reconciliation.test_runs import found, reconciled
from tests.settlement.reconciliation.town import clawback_of, everything_happens, set_row
from tests.settlement.test_inbox import a_paid_top_up, an_event, told
from tests.settlement.test_phone_bill import Billed


async def test_nothing_differs_on_a_market_where_everything_has_happened(
    market: Billed, own_http: Http, market_url: str
) -> None:
    await everything_happens(market, own_http)

    outcome = await reconciled(market, market_url)

    assert {total.counterparty: total.causes for total in outcome.totals} == {
        "CMCC": {}, "CMCC-bill": {}, "provider": {}, "ledger": {},
    }  # fmt: skip


async def test_each_thing_that_is_made_to_differ_is_found_with_its_cause(
    market: Billed, own_http: Http, market_url: str
) -> None:
    there = await everything_happens(market, own_http)
    await set_row(market, TopUpRefundRow, there.refunded_part.id, amount_minor=160)
    await set_row(market, TopUpRefundRow, there.failed_part.id, status="refunded")
    await set_row(market, ClawbackRow, there.disputed.id, provider_id="dp_unheard_of")
    await set_row(market, ClawbackRow, there.won.id, status="gone", ended_at=None)
    await set_row(market, ClawbackRow, there.outside.id, amount_minor=300)
    await set_row(market, BillPaymentRow, there.billed.id, status="cancelled")
    await set_row(market, PaymentRow, there.top_up.id, status="declined", captured_minor=0, refunded_minor=0)
    async with market.sessions.begin() as session:
        taken = update(ReopeningRow).where(ReopeningRow.trade_id == there.taken_back.id).values(taken_mb=90)
        await session.execute(taken)
        refund = InstructionRow.kind == "bill_refund", InstructionRow.subject_id == there.off_the_bill.id
        await session.execute(update(InstructionRow).where(*refund).values(status="refused"))
        await a_wallet(session, 500)
    name = external_id(market.mark, "deliver", there.bought.id)
    market.sim.raw("POST", "/admin/reversals", json={"external_identifier": name, "to": "sender"})
    assert market.billing is not None
    await market.billing.refund(str(there.billed.carrier_payment_id), "somebody else's")

    outcome = await reconciled(market, market_url)

    assert ("amount_differs", "open") in await found(market, f"rfd_{there.refunded_part.id}")
    assert await found(market, f"rfd_{there.failed_part.id}") == [("missing_here", "open")]
    assert {cause for cause, _ in await found(market, there.disputed.provider_id)} == {"missing_here"}
    assert {cause for cause, _ in await found(market, "dp_unheard_of")} == {"missing_there"}
    assert await found(market, there.won.provider_id) == [("missing_here", "open")]
    assert await found(market, there.outside.provider_id) == [("amount_differs", "open")]
    assert await found(market, f"pay_{there.top_up.id}") == [("status_differs", "open")]
    assert ("status_differs", "open") in await found(market, f"bill_{there.billed.id}")
    assert ("ledger_differs", "open") in await found(market, f"bill_{there.billed.id}")
    assert await found(market, f"bill_{there.off_the_bill.id}") == [("status_differs", "open")]
    assert await found(market, f"trd_{there.taken_back.id}") == [("amount_differs", "open")]
    assert await found(market, f"trd_{there.bought.id}") == [("missing_here", "open")]
    bills = next(total for total in outcome.totals if total.counterparty == "CMCC-bill")
    assert bills.causes == {"ledger_differs": 1, "missing_here": 1, "status_differs": 2}
    assert await found(market, "CNY") == [("balance_differs", "open")]


async def test_what_our_books_hold_past_its_end_or_never_clear_is_listed(market: Billed, market_url: str) -> None:
    custody = await market.reserved(500)
    yesterday = datetime.now(UTC) - timedelta(days=1)
    await set_row(market, CustodyRow, custody.id, expires_at=yesterday)
    async with market.sessions.begin() as session:
        suspense = await accounts.house_account(session, "suspense", await money(session))
        provider = await accounts.house_account(session, "provider", await money(session))
        ledger = await accounts.lock(session, [suspense, provider])
        ledger.move(Kind.ADJUSTED, f"adj_{next(NEXT)}", source=provider, target=suspense, amount=70)
        await accounts.save(session, ledger)

    await reconciled(market, market_url)

    assert await found(market, f"cus_{custody.id}") == [("custody_lapsed", "open")]
    assert await found(market, f"acc_{suspense}") == [("not_cleared", "open")]


@pytest.mark.parametrize("age", [timedelta(minutes=30), timedelta(days=2)])
async def test_a_break_that_is_older_than_its_bound_is_escalated_once(
    market: Billed, market_url: str, age: timedelta
) -> None:
    trade = await market.traded(await market.reserved(100))
    started = datetime.now(UTC) - age
    await set_row(market, DeliveryRow, trade.id, created_at=started)

    escalated = [(await reconciled(market, market_url, "CMCC")).escalated for _ in range(2)]

    async with market.sessions() as session:
        row = (await session.scalars(select(BreakRow).where(BreakRow.subject == f"trd_{trade.id}"))).one()
    assert (row.cause, row.escalated_at is not None) == ("in_flight", age > timedelta(hours=1))
    assert escalated[1] == 0


async def test_a_dispute_that_is_heard_of_days_later_is_no_break_any_more(
    market: Billed, own_http: Http, market_url: str
) -> None:
    _, name = await a_paid_top_up(market, "pm_card_createDispute")
    await told(market, [an_event("payment_intent.succeeded", name)])
    (dispute,) = (await own_http.get("/v1/disputes", payment_intent=name))["data"]
    await reconciled(market, market_url)
    before = {cause for cause, _ in await found(market, dispute["id"])}

    await told(market, [an_event("charge.dispute.created", dispute["id"])])
    row = await clawback_of(market, dispute["id"])
    await set_row(market, ClawbackRow, row.id, opened_at=row.opened_at + timedelta(days=3))
    await reconciled(market, market_url)
    later = await reconciled(market, market_url, now=datetime.now(UTC) + timedelta(days=3, minutes=1))

    assert before == {"missing_here"}
    assert {status for _, status in await found(market, dispute["id"])} == {"closed"}
    assert next(total.causes for total in later.totals if total.counterparty == "provider") == {}
