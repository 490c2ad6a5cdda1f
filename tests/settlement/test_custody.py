"""Data set aside: it enters the books with the carrier's yes, and leaves them before the carrier is told."""

from datetime import UTC, datetime

import pytest
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from settlement import custody
from settlement.carriers.errors import CarrierMismatch
from settlement.carriers.values import Reservation, ReservationStatus
from settlement.tables import CustodyRow
from tests.settlement.making import Balance, a_custody, balance, hold, imbalance

Sessions = async_sessionmaker[AsyncSession]


def a_reservation(
    row: CustodyRow, amount_mb: int = 1000, status: ReservationStatus = ReservationStatus.HELD
) -> Reservation:
    return Reservation("res-1", row.bucket_id, amount_mb, datetime.now(UTC), status, "ours")


async def test_a_reservation_is_booked_once(sessions: Sessions) -> None:
    async with sessions.begin() as session:
        row = await a_custody(session, quantity_mb=1000)

    for _ in range(2):
        async with sessions.begin() as session:
            told = await custody.book_reservation(session, row.id, a_reservation(row))

    assert (told.status, told.reservation_id) == ("reserved", "res-1")
    async with sessions() as session:
        assert await balance(session, row.account_id) == Balance(1000, 0)
        assert await imbalance(session) == {}


async def test_a_reservation_of_another_amount_is_a_break(sessions: Sessions) -> None:
    async with sessions.begin() as session:
        row = await a_custody(session, quantity_mb=1000)

    with pytest.raises(CarrierMismatch):
        async with sessions.begin() as session:
            await custody.book_reservation(session, row.id, a_reservation(row, amount_mb=900))


async def test_a_custody_in_use_is_not_given_back(sessions: Sessions) -> None:
    async with sessions.begin() as session:
        row = await a_custody(session, quantity_mb=1000)
        await custody.book_reservation(session, row.id, a_reservation(row))
        await hold(session, row.account_id, 400)

    async with sessions.begin() as session:
        assert not await custody.give_back(session, row.id)
    async with sessions.begin() as session:
        await hold(session, row.account_id, -400)
        assert await custody.give_back(session, row.id)
        assert await balance(session, row.account_id) == Balance(0, 0)
        assert await custody.give_back(session, row.id)

    async with sessions() as session:
        assert await imbalance(session) == {}


async def test_a_refused_custody_that_was_reserved_after_all_is_booked(sessions: Sessions) -> None:
    async with sessions.begin() as session:
        row = await a_custody(session)
        await custody.refuse_custody(session, row.id)

    async with sessions.begin() as session:
        told = await custody.book_reservation(session, row.id, a_reservation(row))

    assert told.status == "reserved"
