"""What expires while a trade is on its way: delivered before it, settled; refused, refunded (F29-F31)."""

from datetime import timedelta
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from sqlalchemy import select

from settlement import custody
from settlement.carriers.errors import CarrierRefused
from settlement.ledger import Kind
from settlement.ledger_tables import PostingRow
from settlement.line_event_tables import LapsedReservationRow
from settlement.tables import CustodyRow
from tests.carrier.simulator import an_id, only_bucket
from tests.settlement.making import Balance, balance, hold, imbalance, instruct
from tests.settlement.world import World, until

END_RESERVATION = "UPDATE reservation SET expires_at = now() - interval '1 second' WHERE id = $1"
END_BUCKET = "UPDATE bucket SET expires_at = now() - interval '1 second' WHERE id = $1"


async def expire_at_the_carrier(world: World, row: CustodyRow) -> None:
    """The carrier's month ends: its bucket and what is reserved of it are past their time."""
    connection = await asyncpg.connect(world.sim.database_url.replace("+asyncpg", ""))
    await connection.execute(END_RESERVATION, row.reservation_id)
    await connection.execute(END_BUCKET, row.bucket_id)
    await connection.close()


async def kinds_of(world: World, row: CustodyRow) -> list[int]:
    """How data has left a custody account, but for holds."""
    left = select(PostingRow.kind).where(PostingRow.account_id == row.account_id, PostingRow.kind > Kind.RESERVED)
    async with world.sessions() as session:
        return sorted(await session.scalars(left))


async def test_a_trade_whose_data_expired_first_refunds_the_buyer_and_frees_the_seller(world: World) -> None:
    row = await world.reserved(1000)
    trade = await world.traded(row, quantity=300, amount_minor=900, fee_minor=45)
    async with world.sessions.begin() as session:
        await instruct(session, "release", row.id, "CMCC")
    await expire_at_the_carrier(world, row)

    async with world.working():
        ended = await world.ended(trade.id)
        await world.status("release", row.id, "done")

    assert ended.status == "refunded"
    assert "EXPIRED" in str(ended.reason)
    async with world.sessions() as session:
        assert await balance(session, trade.money_account_id) == Balance(900, 0)
        assert await balance(session, trade.proceeds_account_id) == Balance(0, 0)
        assert await balance(session, row.account_id) == Balance(0, 0)
        assert await imbalance(session) == {}


async def test_a_trade_that_was_delivered_before_the_expiry_is_settled_although_the_answer_was_lost(
    world: World,
) -> None:
    row = await world.reserved(300)
    trade = await world.traded(row, "9003", quantity=300, amount_minor=900, fee_minor=45)  # moves, and never answers

    async def moved() -> bool:
        return await world.received_mb(trade) == 300

    async with world.working():
        await until(moved)
        await expire_at_the_carrier(world, row)
        ended = await world.ended(trade.id)

    assert ended.status == "settled"
    async with world.sessions() as session:
        assert await balance(session, trade.proceeds_account_id) == Balance(855, 0)
        assert await imbalance(session) == {}


async def test_an_expiry_is_a_moment_whatever_zone_it_is_written_in(world: World) -> None:
    number = world.numbers[world.a_line()]
    bucket = await only_bucket(world.carrier, number)
    written = bucket.expires_at.astimezone(ZoneInfo("Asia/Shanghai"))

    made = await world.carrier.reserve(bucket.id, 100, written, an_id(), number)

    assert written.isoformat() != bucket.expires_at.isoformat()
    assert made.expires_at == bucket.expires_at
    with pytest.raises(CarrierRefused, match="EXPIRATION_BEYOND_BUCKET"):
        await world.carrier.reserve(bucket.id, 100, written + timedelta(seconds=1), an_id(), number)


async def test_a_lapsed_reservation_is_written_off_once_nothing_holds_any_of_it(world: World) -> None:
    row = await world.reserved(1000)
    async with world.sessions.begin() as session:
        await hold(session, row.account_id, 400)
        await instruct(session, "release", row.id, "CMCC")
        assert await custody.lapse(session, row.id, "expired") is not None

    async def waits() -> bool:
        release = await world.instruction("release", row.id)
        return release is not None and "still holds" in str(release.reason)

    async with world.working():
        await until(waits)
        async with world.sessions.begin() as session:
            await hold(session, row.account_id, -400)
        await world.status("release", row.id, "done")

    assert await kinds_of(world, row) == [Kind.LAPSED]
    async with world.sessions() as session:
        assert await balance(session, row.account_id) == Balance(0, 0)
        assert (await session.get_one(CustodyRow, row.id)).status == "released"
        found = await session.get_one(LapsedReservationRow, row.id)
        assert (found.said, found.missing_mb) == ("expired", 1000)
        assert await imbalance(session) == {}


async def test_a_lapsed_reservation_without_an_order_is_given_back_as_such(world: World) -> None:
    row = await world.reserved(1000)
    async with world.sessions.begin() as session:
        assert await custody.lapse(session, row.id, "unknown") is not None
        assert await custody.give_back(session, row.id)

    async with world.working():
        await world.status("release", row.id, "done")

    assert await kinds_of(world, row) == [Kind.LAPSED]


async def test_what_was_released_or_is_being_delivered_has_not_lapsed(world: World) -> None:
    released, busy = await world.reserved(1000), await world.reserved(1000)
    async with world.sessions.begin() as session:
        assert await custody.give_back(session, released.id)
    await world.traded(busy, quantity=300)

    async with world.sessions.begin() as session:
        assert await custody.lapse(session, released.id, "released") is None
        assert await custody.lapse(session, busy.id, "consumed") is None
        found = select(LapsedReservationRow).where(LapsedReservationRow.custody_id.in_((released.id, busy.id)))
        assert not list(await session.scalars(found))
