"""An order keeps the fee that it was placed with, through restarts and replays."""

from collections.abc import Callable

from market.engine.commands import FeeTerms
from market.replay import differences
from market.verify import verify
from tests.engine.factories import Floor, fresh_database, open_floor, running_engine


async def test_each_sale_pays_the_fee_it_was_placed_with(floor: Floor) -> None:
    buyer, dear, cheap, plain = [await floor.member() for _ in range(4)]
    await floor.place(dear, "sell", 100, 10, fee=FeeTerms(1000, 1))
    await floor.place(cheap, "sell", 100, 10, fee=FeeTerms(0, 7))
    await floor.place(plain, "sell", 100, 10)

    await floor.place(buyer, "buy", 100, 30)

    fees = await floor.connection.fetch("select fee_minor from trade order by id")
    assert [row["fee_minor"] for row in fees] == [100, 7, 50]
    async with floor.connection.transaction():
        assert await differences(floor.connection) == []
    assert [finding for finding in await verify(floor.dsn) if finding.breaches and finding.id != "D1"] == []


async def test_a_new_schedule_leaves_open_orders_alone_also_after_a_restart(
    new_database: Callable[[str], str], valkey_url: str
) -> None:
    url = await fresh_database(new_database)
    async with open_floor(url, valkey_url) as floor:
        buyer, seller = await floor.member(), await floor.member()
        async with running_engine(floor.dsn, floor.redis):
            await floor.place(seller, "sell", 100, 10, fee=FeeTerms(300, 1))
        await floor.connection.execute(
            "insert into fee_schedule (effective_from, basis_points, minimum_minor) values (now(), 9000, 1)"
        )

        async with running_engine(floor.dsn, floor.redis):
            await floor.place(buyer, "buy", 100, 10)

        assert await floor.connection.fetchval("select fee_minor from trade") == 30
        async with floor.connection.transaction():
            assert await differences(floor.connection) == []


async def test_what_a_carrier_charges_is_added_to_the_fee_by_the_size_of_each_trade(
    new_database: Callable[[str], str], valkey_url: str
) -> None:
    """Frozen on the order, kept through a restart, the same in a replay; a seller always gets something."""
    url = await fresh_database(new_database)
    async with open_floor(url, valkey_url) as floor:
        buyer, seller, poor = await floor.member(), await floor.member(), await floor.member()
        async with running_engine(floor.dsn, floor.redis):
            await floor.place(seller, "sell", 100, 12, fee=FeeTerms(0, 5), charges="0:20 1000:35")
            await floor.place(poor, "sell", 110, 1, fee=FeeTerms(0, 5), charges="0:5000")
            await floor.place(buyer, "buy", 100, 2)
        async with running_engine(floor.dsn, floor.redis):
            await floor.place(buyer, "buy", 100, 10)
            await floor.place(buyer, "buy", 110, 1)

        deliveries = await floor.connection.fetch(
            "select amount_minor, fee_minor, charge_minor from delivery order by amount_minor"
        )
        assert [tuple(row) for row in deliveries] == [(110, 109, 104), (200, 25, 20), (1000, 40, 35)]
        async with floor.connection.transaction():
            assert await differences(floor.connection) == []
        assert [finding for finding in await verify(floor.dsn) if finding.breaches and finding.id != "D1"] == []
