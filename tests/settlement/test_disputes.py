"""Money that leaves again after it had come: one end in whatever order it is told, and the books balance."""

import json
from itertools import permutations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from settlement import accounts, debts, disputes, freezing, funding
from settlement.card_tables import ClawbackRow
from settlement.disputes import Clawback
from settlement.ledger import Kind
from settlement.payments.errors import PaymentMismatch
from settlement.payments.values import Standing
from settlement.reopening_tables import ReopeningRow
from settlement.tables import PaymentRow
from tests.payment.making import Http, fresh
from tests.settlement.making import NEXT, a_payment, a_payment_row, balance, imbalance, money
from tests.settlement.test_card_holds import a_purchase, paid
from tests.settlement.test_inbox import a_paid_top_up, an_event, outcome_of, told
from tests.settlement.world import World

DISPUTE_EVENTS = ("charge.dispute.created", "charge.dispute.funds_withdrawn", "charge.dispute.closed")


def a_dispute(standing: str, amount_minor: int = 1000, fee_minor: int = 1500, provider_id: str = "") -> Clawback:
    name = provider_id or fresh("dp")
    return Clawback(name, "dispute", Standing(standing), amount_minor, fee_minor, "CNY", "Disputed.")


def a_refund(standing: str, amount_minor: int, provider_id: str = "") -> Clawback:
    return Clawback(provider_id or fresh("re"), "refund", Standing(standing), amount_minor, 0, "CNY", "Refunded.")


async def a_top_up(world: World, amount_minor: int = 1000, spent: int = 0) -> PaymentRow:
    """A top-up that arrived, of which the wallet has spent some."""
    async with world.sessions.begin() as session:
        row = await a_payment_row(session, amount_minor=amount_minor)
        payment = a_payment(amount_minor=amount_minor, captured_minor=amount_minor)
        row = await funding.credit_top_up(session, row.id, payment)
    if spent:
        async with world.sessions.begin() as session:
            sink = await accounts.account_id(session, next(NEXT), await money(session), "wallet")
            ledger = await accounts.lock(session, [row.account_id, sink])
            ledger.move(Kind.SETTLED, f"test_{row.id}", source=row.account_id, target=sink, amount=spent)
            await accounts.save(session, ledger)
    return row


async def standing_of(world: World, row: PaymentRow) -> tuple[int, int, str | None]:
    """What the wallet has, what its owner owes, and what the owner is frozen for."""
    async with world.sessions() as session:
        has = (await balance(session, row.account_id)).available
        owes = await debts.owed(session, row.party_id)
        return has, owes, await freezing.is_frozen(session, row.party_id)


async def fees(world: World) -> int:
    async with world.sessions.begin() as session:
        account = await accounts.house_account(session, "provider_fees", await money(session))
        return (await balance(session, account)).available


async def take_in(world: World, row: PaymentRow, *told: Clawback) -> ClawbackRow:
    for one in told:
        async with world.sessions.begin() as session:
            found = await disputes.take_in(session, row.id, one)
    return found


async def test_a_disputed_top_up_takes_the_wallets_money_and_what_is_spent_becomes_a_debt(world: World) -> None:
    row, before = await a_top_up(world, spent=700), await fees(world)

    await take_in(world, row, a_dispute("gone"))

    assert await standing_of(world, row) == (0, 700, "disputed")
    assert await fees(world) == before - 1500
    async with world.sessions() as session:
        assert await imbalance(session) == {}


async def test_a_dispute_that_only_asks_takes_nothing(world: World) -> None:
    row = await a_top_up(world)

    await take_in(world, row, a_dispute("noticed", fee_minor=0))

    assert await standing_of(world, row) == (1000, 0, None)


@pytest.mark.parametrize(("ending", "standing"), [("back", (300, 0, None)), ("lost", (0, 700, "debt"))])
async def test_a_dispute_ends_with_the_money_back_or_with_the_debt(
    world: World, ending: str, standing: tuple[int, int, str | None]
) -> None:
    row, name = await a_top_up(world, spent=700), fresh("dp")

    await take_in(world, row, a_dispute("gone", provider_id=name), a_dispute(ending, provider_id=name))

    assert await standing_of(world, row) == standing


async def test_what_contradicts_what_is_known_moves_nothing(world: World) -> None:
    row, name = await a_top_up(world), fresh("dp")
    wrong = [
        a_dispute("gone", amount_minor=1001),
        Clawback(fresh("dp"), "dispute", Standing.GONE, 1000, 0, "USD", "Disputed."),
    ]
    for one in wrong:
        with pytest.raises(PaymentMismatch):
            await take_in(world, row, one)
    await take_in(world, row, a_dispute("lost", provider_id=name))
    with pytest.raises(PaymentMismatch):
        await take_in(world, row, a_dispute("back", provider_id=name))

    assert await standing_of(world, row) == (0, 0, None)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_the_end_is_the_same_in_whatever_order_and_however_often_it_is_told(
    world: World, data: st.DataObject
) -> None:
    """A dispute and two outside refunds of one top-up: every order of their snapshots, with repetitions."""
    spent, ending = data.draw(st.integers(0, 1000)), data.draw(st.sampled_from(["back", "lost"]))
    names = [fresh("dp"), fresh("re"), fresh("re")]
    snapshots = [
        a_dispute("noticed", 600, 0, names[0]),
        a_dispute("gone", 600, 1500, names[0]),
        a_dispute(ending, 600, 1500, names[0]),
        a_refund("gone", 250, names[1]),
        a_refund("gone", 150, names[2]),
        a_refund("back", 150, names[2]),
    ]
    order = data.draw(st.permutations(snapshots + data.draw(st.lists(st.sampled_from(snapshots), max_size=4))))
    row, before = await a_top_up(world, spent=spent), await fees(world)

    await take_in(world, row, *order)

    has, owes, frozen = await standing_of(world, row)
    gone = 250 + (600 if ending == "lost" else 0)
    assert has - owes == 1000 - spent - gone
    assert frozen == ("debt" if ending == "lost" and owes else None)
    assert await fees(world) == before - 1500
    async with world.sessions() as session:
        assert await imbalance(session) == {}


async def _bought(world: World) -> tuple[PaymentRow, list[int]]:
    purchase = await a_purchase(world, "0000", "0000")
    async with world.working():
        await world.status("capture", purchase.payment.id, "done")
    return await paid(world, purchase.payment.id), [trade.id for trade in purchase.trades]


async def _reopenings(world: World, trades: list[int]) -> dict[int, tuple[str, int, str]]:
    async with world.sessions() as session:
        rows = await session.scalars(select(ReopeningRow).where(ReopeningRow.trade_id.in_(trades)))
        return {row.trade_id: (row.cause, row.amount_minor, row.status) for row in rows}


@pytest.mark.parametrize("order", list(permutations(DISPUTE_EVENTS)))
async def test_a_disputed_card_payment_opens_its_trades_again_and_freezes_its_owner(
    world: World, provider_http: Http, order: tuple[str, ...]
) -> None:
    custody_before = await provider(world)
    row, name, trades = await _disputed(world)
    (dispute,) = (await provider_http.get("/v1/disputes", payment_intent=name))["data"]

    await told(world, [an_event(kind, dispute["id"]) for kind in order])

    assert await _reopenings(world, trades) == {
        trades[0]: ("disputed", 300, "settled"),
        trades[1]: ("disputed", 300, "settled"),
    }
    async with world.sessions() as session:
        assert await debts.owed(session, row.party_id) == 600
        assert await freezing.is_frozen(session, row.party_id) == "disputed"
    assert await provider(world) == custody_before + dispute["balance_transactions"][0]["fee"]

    await provider_http.post(f"/v1/disputes/{dispute['id']}", {"evidence[uncategorized_text]": "winning_evidence"})
    await told(world, [an_event(kind, dispute["id"]) for kind in order])

    assert {status for _, _, status in (await _reopenings(world, trades)).values()} == {"withdrawn"}
    async with world.sessions() as session:
        assert await debts.owed(session, row.party_id) == 0
        assert await freezing.is_frozen(session, row.party_id) is None
        assert await imbalance(session) == {}
        count = await session.scalar(select(func.count()).where(ClawbackRow.payment_id == row.id))
    assert count == 1


async def provider(world: World) -> int:
    async with world.sessions.begin() as session:
        account = await accounts.house_account(session, "provider", await money(session))
        return (await balance(session, account)).available


async def _disputed(world: World) -> tuple[PaymentRow, str, list[int]]:
    """An order paid by a card whose owner disputes it as soon as it is captured."""
    purchase = await a_purchase(world, "0000", "0000", card="pm_card_createDispute")
    async with world.working():
        await world.status("capture", purchase.payment.id, "done")
    row = await paid(world, purchase.payment.id)
    return row, str(row.provider_id), [trade.id for trade in purchase.trades]


async def test_refunds_made_at_the_provider_are_owed_by_the_buyer(world: World, provider_http: Http) -> None:
    row, trades = await _bought(world)
    first = await provider_http.post("/v1/refunds", {"payment_intent": row.provider_id, "amount": 350})
    await provider_http.post("/v1/refunds", {"payment_intent": row.provider_id, "amount": 100})

    event = an_event("charge.refunded", first["charge"])
    await told(world, [event])

    assert await outcome_of(world, event) == "gone, gone"
    async with world.sessions() as session:
        assert await debts.owed(session, row.party_id) == 450
        assert await freezing.is_frozen(session, row.party_id) is None
        assert await imbalance(session) == {}
    assert sum(amount for _, amount, _ in (await _reopenings(world, trades)).values()) <= 450


async def test_a_top_up_that_is_refunded_at_the_provider_leaves_the_wallet_and_comes_back_when_that_fails(
    world: World, provider_http: Http
) -> None:
    row, name = await a_paid_top_up(world, "pm_card_refundFail")
    refund = await provider_http.post("/v1/refunds", {"payment_intent": name, "amount": 400})

    await told(world, [an_event("refund.created", refund["id"])])
    first = await standing_of(world, row)
    await provider_http.advance(60)
    await told(world, [an_event("refund.failed", refund["id"]), an_event("refund.created", refund["id"])])

    assert first in {(600, 0, None), (1000, 0, None)}  # the simulated bank may be faster than we are
    assert await standing_of(world, row) == (1000, 0, None)


async def test_a_dispute_that_is_heard_of_before_its_payment_takes_the_payment_in_first(
    world: World, provider_http: Http
) -> None:
    row, name = await a_paid_top_up(world, "pm_card_createDispute")
    (dispute,) = (await provider_http.get("/v1/disputes", payment_intent=name))["data"]

    await told(world, [an_event("charge.dispute.created", dispute["id"])])

    assert await standing_of(world, row) == (0, 0, "disputed")


async def test_a_dispute_about_a_strangers_payment_is_put_away(world: World, provider_http: Http) -> None:
    customer = await world.payments.create_customer("else", fresh("key"))
    stranger = await world.payments.charge(
        customer=customer, amount_minor=1000, currency="CNY", payment_method="pm_card_createDispute",
        reference="somebody else's", key=fresh("key"), return_url="https://market.example/",
    )  # fmt: skip
    (dispute,) = (await provider_http.get("/v1/disputes", payment_intent=stranger.id))["data"]
    event = an_event("charge.dispute.created", dispute["id"])

    await told(world, [event])

    assert await outcome_of(world, event) == "not ours"


async def test_a_dispute_is_answered_with_the_record_of_what_was_delivered(world: World, provider_http: Http) -> None:
    row, name, trades = await _disputed(world)
    (dispute,) = (await provider_http.get("/v1/disputes", payment_intent=name))["data"]
    await told(world, [an_event("charge.dispute.created", dispute["id"])])
    async with world.sessions() as session:
        clawback = await session.scalar(select(ClawbackRow.id).where(ClawbackRow.payment_id == row.id))
    assert clawback is not None

    async with world.working():
        await world.status("evidence", clawback, "done")

    told_them = (await provider_http.get(f"/v1/disputes/{dispute['id']}"))["evidence"]
    record = json.loads(told_them["uncategorized_text"])
    assert [(each["trade"], each["amount_minor"]) for each in record["delivered"]] == [(trade, 300) for trade in trades]
    assert all(each["carrier_reference"] and each["delivered_at"] for each in record["delivered"])
    assert not any(number in told_them["uncategorized_text"] for number in world.numbers.values())
