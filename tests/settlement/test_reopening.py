"""What comes back after a trade has ended: the buyer is whole, the books balance, and nobody is paid twice."""

import itertools

import pytest
from sqlalchemy import select

from settlement import accounts, debts, reopening, reversals
from settlement.accounts import HOUSE, Place
from settlement.carriers.values import MovementStatus
from settlement.ledger import Kind
from settlement.ledger_tables import AccountRow
from settlement.naming import external_id
from settlement.reopening_rules import BuyerOwes, Cause, ForAPerson, Nothing, PaysBack, Shares, Standing, Waits, decide
from settlement.reopening_tables import ReopeningRow
from settlement.tables import DeliveryRow
from tests.settlement.making import Balance, a_wallet, balance, imbalance, money
from tests.settlement.world import World, until

PRICE, FEE = 900, 45


def a_standing(cause: Cause = Cause.CARRIER_REVERSED, **changes: object) -> Standing:
    values: dict[str, object] = {
        "cause": cause, "ended_as": "settled", "amount_minor": PRICE, "price_minor": PRICE, "fee_minor": FEE,
        "quantity_mb": 300, "returned_mb": 300, "seller_has_minor": 10_000, "fees_have_minor": 10_000,
    }  # fmt: skip
    return Standing(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("standing", "decision"),
    [
        (a_standing(), PaysBack(Shares(seller_now=855, fees=45))),
        (a_standing(seller_has_minor=100), PaysBack(Shares(seller_now=100, seller_owes=755, fees=45))),
        (a_standing(fees_have_minor=5), PaysBack(Shares(seller_now=855, fees=5, house=40))),
        (a_standing(returned_mb=299), PaysBack(Shares(house=900))),
        (a_standing(amount_minor=300), ForAPerson("The carrier took back another amount than the trade was about.")),
        (a_standing(ended_as="pending"), Waits()),
        (a_standing(ended_as="delivered"), Waits()),
        (a_standing(ended_as="refunded"), Nothing()),
        (a_standing(Cause.DISPUTED), BuyerOwes(900)),
        (a_standing(Cause.REFUNDED_OUTSIDE, amount_minor=300), BuyerOwes(300)),
        (a_standing(Cause.DISPUTED, outside_minor=1), ForAPerson("More went back outside than the trade had cost.")),
        (a_standing(Cause.CASE_DECIDED), PaysBack(Shares(seller_now=855, fees=45))),
        (a_standing(Cause.CASE_DECIDED, amount_minor=300), PaysBack(Shares(seller_now=285, fees=15))),
        (
            a_standing(Cause.CASE_DECIDED, amount_minor=1, seller_has_minor=0),
            PaysBack(Shares(seller_owes=1)),
        ),
        (
            a_standing(Cause.CASE_DECIDED, outside_minor=1),
            ForAPerson("More would be paid back than the trade had cost."),
        ),
        (a_standing(decided_minor=900), ForAPerson("The buyer was paid back before, after a case.")),
    ],
)
def test_who_bears_what_of_a_trade_that_comes_back(standing: Standing, decision: object) -> None:
    assert decide(standing) == decision


async def _settled(world: World) -> DeliveryRow:
    custody = await world.reserved(300)
    trade = await world.traded(custody, quantity=300, amount_minor=PRICE, fee_minor=FEE)
    async with world.working():
        return await world.ended(trade.id)


async def _has(world: World, party_id: int, kind: str) -> int:
    async with world.sessions.begin() as session:
        place = Place(party_id, await money(session), kind)
        account = (await accounts.find_or_create(session, [place]))[place]
        return (await balance(session, account)).available


async def _parties(world: World, trade: DeliveryRow) -> tuple[int, int]:
    async with world.sessions() as session:
        buyer = await session.get_one(AccountRow, trade.money_account_id)
        seller = await session.get_one(AccountRow, trade.proceeds_account_id)
        return buyer.party_id, seller.party_id


async def _row(world: World, trade: DeliveryRow) -> ReopeningRow | None:
    async with world.sessions() as session:
        return await session.scalar(select(ReopeningRow).where(ReopeningRow.trade_id == trade.id))


@pytest.mark.parametrize(("to", "seller_gets"), [("sender", 0), ("nobody", PRICE - FEE)])
async def test_data_that_the_carrier_takes_back_is_found_in_its_journal_and_paid_back(
    world: World, to: str, seller_gets: int
) -> None:
    trade = await _settled(world)
    buyer, seller = await _parties(world, trade)
    name = external_id(world.mark, "deliver", trade.id)
    body = {"external_identifier": name, "to": to}
    assert world.sim.raw("POST", "/admin/reversals", json=body).status_code == 200

    async with world.working():

        async def reopened() -> bool:
            return await _row(world, trade) is not None

        await until(reopened)

    movement = await world.carrier.find_movement(name)
    assert movement is not None
    assert movement.status is MovementStatus.REVERSED
    row = await _row(world, trade)
    assert row is not None
    assert (row.cause, row.status, row.returned_mb) == ("carrier_reversed", "settled", 300 if to == "sender" else 0)
    async with world.sessions() as session:
        assert await balance(session, trade.money_account_id) == Balance(PRICE, 0)
        assert await balance(session, trade.proceeds_account_id) == Balance(seller_gets, 0)
        assert await imbalance(session) == {}
    assert (await world.delivery(trade.id)).status == "settled"
    assert await _has(world, seller, "debt") == 0
    assert {buyer, seller} <= world.told

    assert await reversals.look(world.sessions, world.outside, world.announce) == 0
    async with world.sessions() as session:
        assert await balance(session, trade.money_account_id) == Balance(PRICE, 0)


async def test_a_seller_who_has_spent_the_proceeds_owes_them_and_pays_with_the_next_money(world: World) -> None:
    trade = await _settled(world)
    _, seller = await _parties(world, trade)
    async with world.sessions.begin() as session:
        provider = await accounts.house_account(session, "provider", await money(session))
        ledger = await accounts.lock(session, [trade.proceeds_account_id, provider])
        ledger.move(
            Kind.PAID_OUT, f"test_spent_{trade.id}", source=trade.proceeds_account_id, target=provider, amount=800
        )
        await accounts.save(session, ledger)

    async with world.sessions.begin() as session:
        await reopening.reopen(session, trade.id, "carrier_reversed", PRICE, "taken back", returned_mb=300)

    assert await _has(world, seller, "debt") == -800
    async with world.sessions.begin() as session:
        await a_wallet(session, 1000, seller)
        assert await debts.owed(session, seller) == 800
        assert await debts.collect(session, [seller]) == {seller}
        assert await debts.collect(session, [seller]) == set()
        assert await debts.owed(session, seller) == 0
        assert await balance(session, trade.proceeds_account_id) == Balance(200, 0)
        assert await imbalance(session) == {}


@pytest.mark.parametrize("order", list(itertools.permutations(["carrier_reversed", "disputed", "withdraw"])))
async def test_in_whatever_order_things_come_back_nobody_is_paid_twice(world: World, order: tuple[str, ...]) -> None:
    trade = await _settled(world)
    buyer, seller = await _parties(world, trade)
    disputed = False

    for one in order:
        for _ in range(2):
            async with world.sessions.begin() as session:
                if one != "withdraw":
                    await reopening.reopen(session, trade.id, one, PRICE, "came back", returned_mb=300)
                elif disputed:
                    await reopening.withdraw(session, trade.id, "disputed")
                await debts.collect(session, [buyer])
        disputed |= one == "disputed"
        async with world.sessions() as session:
            assert await imbalance(session) == {}

    lost = disputed and order.index("withdraw") < order.index("disputed")
    assert await _has(world, buyer, "wallet") + await _has(world, buyer, "debt") == (0 if lost else PRICE)
    assert await _has(world, seller, "wallet") == 0


async def test_a_trade_that_is_on_its_way_is_settled_anew_only_when_it_has_ended(world: World) -> None:
    custody = await world.reserved(300)
    trade = await world.traded(custody, quantity=300, amount_minor=PRICE, fee_minor=FEE)
    async with world.sessions.begin() as session:
        assert await reopening.reopen(session, trade.id, "disputed", PRICE, "the bank took it back")
    row = await _row(world, trade)
    assert row is not None
    assert (row.status, row.ended_at) == ("open", None)
    buyer, _ = await _parties(world, trade)

    async with world.working():
        await world.ended(trade.id)

        async def settled() -> bool:
            found = await _row(world, trade)
            return found is not None and found.status == "settled"

        await until(settled)

    assert await _has(world, buyer, "debt") == -PRICE
    async with world.sessions() as session:
        assert await imbalance(session) == {}


async def test_what_no_rule_covers_waits_for_a_person_and_moves_nothing(world: World) -> None:
    trade = await _settled(world)
    house = await _has(world, HOUSE, "provider")

    async with world.sessions.begin() as session:
        await reopening.reopen(session, trade.id, "disputed", PRICE + 1, "more than was paid")

    row = await _row(world, trade)
    assert row is not None
    assert row.status == "for_a_person"
    assert await _has(world, HOUSE, "provider") == house
    async with world.sessions.begin() as session:
        assert await reopening.end_by_hand(session, row.id)
        assert not await reopening.end_by_hand(session, row.id)
