"""What a carrier charges goes to its account when a trade is settled, and comes back with a delivery taken back."""

from sqlalchemy import select, update

from settlement import reopening
from settlement.ledger_tables import AccountRow
from settlement.tables import DeliveryRow
from tests.settlement.making import imbalance
from tests.settlement.world import World


async def charged(world: World) -> int:
    """What the house owes the carrier, in minor units."""
    query = select(AccountRow.available).where(AccountRow.kind == "carrier_charges", AccountRow.reference == "CMCC")
    async with world.sessions() as session:
        return await session.scalar(query) or 0


async def settled(world: World, charge_minor: int) -> DeliveryRow:
    row = await world.reserved(500)
    trade = await world.traded(row, quantity=200)
    async with world.sessions.begin() as session:
        await session.execute(
            update(DeliveryRow).where(DeliveryRow.id == trade.id).values(fee_minor=50, charge_minor=charge_minor)
        )
    async with world.working():
        return await world.ended(trade.id)


async def test_the_charge_is_kept_apart_from_the_fee(world: World) -> None:
    before = await charged(world)

    ended = await settled(world, charge_minor=20)

    assert ended.status == "settled"
    assert await charged(world) == before + 20
    async with world.sessions() as session:
        seller = await session.get_one(AccountRow, ended.proceeds_account_id)
        assert seller.available == ended.amount_minor - 50
        assert await imbalance(session) == {}


async def test_a_delivery_that_the_carrier_takes_back_gives_the_charge_back(world: World) -> None:
    before = await charged(world)
    ended = await settled(world, charge_minor=20)

    async with world.sessions.begin() as session:
        await reopening.reopen(
            session, ended.id, "carrier_reversed", ended.amount_minor, "seen in its journal", returned_mb=200
        )

    assert await charged(world) == before
    async with world.sessions() as session:
        buyer = await session.get_one(AccountRow, ended.money_account_id)
        assert buyer.available >= ended.amount_minor
        assert await imbalance(session) == {}


async def test_without_a_charge_nothing_changes(world: World) -> None:
    before = await charged(world)

    await settled(world, charge_minor=0)

    assert await charged(world) == before
