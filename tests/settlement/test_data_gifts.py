"""Given data: the carrier moves it once, or it is its giver's again; whatever becomes of the answers."""

import pytest
from sqlalchemy import select

from settlement import accounts, data_gifts
from settlement.data_gift_tables import DataGiftRow
from settlement.data_gifts import NewGift
from settlement.ledger import InsufficientFunds
from settlement.tables import CustodyRow
from tests.settlement.making import NEXT, Balance, balance, imbalance
from tests.settlement.world import World, until


async def given(world: World, row: CustodyRow, suffix: str = "0000", amount_mb: int = 400) -> DataGiftRow:
    """A gift out of a custody, to a fresh line whose last digits choose how it goes."""
    gift = NewGift(
        purpose="friend", custody_id=row.id, account_id=row.account_id, giver_id=row.party_id, receiver_id=next(NEXT),
        receiver_line_id=world.a_line(suffix, remaining_mb=0), carrier=row.carrier, amount_mb=amount_mb,
    )  # fmt: skip
    async with world.sessions.begin() as session:
        ledger = await accounts.lock(session, [row.account_id])
        (gift_id,) = await data_gifts.begin(session, ledger, [gift])
        await accounts.save(session, ledger)
        return await session.get_one(DataGiftRow, gift_id)


async def ended(world: World, gift_id: int) -> DataGiftRow:
    async def over() -> bool:
        async with world.sessions() as session:
            status = await session.scalar(select(DataGiftRow.status).where(DataGiftRow.id == gift_id))
        return status != "requested"

    await until(over)
    async with world.sessions() as session:
        return await session.get_one(DataGiftRow, gift_id)


async def at_the_carrier(world: World, gift: DataGiftRow) -> int:
    buckets = await world.carrier.buckets(world.numbers[gift.receiver_line_id])
    return sum(bucket.remaining_mb for bucket in buckets)


@pytest.mark.parametrize(
    ("suffix", "end", "moved_mb"), [("0000", "done", 400), ("9001", "refused", 0), ("9003", "done", 400)]
)
async def test_a_gift_moves_once_or_its_giver_has_it_again(world: World, suffix: str, end: str, moved_mb: int) -> None:
    row = await world.reserved(1000)
    gift = await given(world, row, suffix)

    async with world.working():
        gift = await ended(world, gift.id)
        if end == "refused":  # the rest and what was refused go back to the bucket that they came from
            await world.status("release", row.id, "done")

    assert gift.status == end
    assert await at_the_carrier(world, gift) == moved_mb
    assert {gift.giver_id, gift.receiver_id} <= world.told
    async with world.sessions() as session:
        left = await balance(session, row.account_id)
        assert await imbalance(session) == {}
    assert left == Balance(0 if end == "refused" else 600, 0)


async def test_two_workers_move_each_of_many_gifts_once(world: World) -> None:
    row = await world.reserved(1000)
    gifts = [await given(world, row, amount_mb=100) for _ in range(10)]

    async with world.working(workers=2):
        for gift in gifts:
            assert (await ended(world, gift.id)).status == "done"

    assert [await at_the_carrier(world, gift) for gift in gifts] == [100] * 10


async def test_no_more_is_given_than_there_is(world: World) -> None:
    row = await world.reserved(1000)
    await given(world, row, amount_mb=700)

    with pytest.raises(InsufficientFunds):
        await given(world, row, amount_mb=301)


async def test_a_line_that_has_no_number_any_more_gets_nothing(world: World) -> None:
    row = await world.reserved(1000)
    gift = await given(world, row)
    del world.numbers[gift.receiver_line_id]

    async with world.working():
        gift = await ended(world, gift.id)

    assert (gift.status, gift.reason) == ("refused", "The receiver's line no longer has a number.")
