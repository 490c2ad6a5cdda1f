"""Money on its way in: what the provider says is taken in once, in whatever order it is said."""

from itertools import permutations

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from settlement import funding
from settlement.ledger import InsufficientFunds
from settlement.payments.errors import PaymentMismatch
from settlement.payments.values import PaymentStatus
from settlement.tables import InstructionRow
from tests.settlement.making import Balance, a_hold, a_payment, a_payment_row, balance, hold, imbalance

Sessions = async_sessionmaker[AsyncSession]


async def test_a_top_up_is_credited_once_however_often_it_is_told(sessions: Sessions) -> None:
    async with sessions.begin() as session:
        row = await a_payment_row(session, amount_minor=1000)
    paid = a_payment()

    for _ in range(3):
        async with sessions.begin() as session:
            await funding.credit_top_up(session, row.id, paid)

    async with sessions() as session:
        assert await balance(session, row.account_id) == Balance(1000, 0)
        assert await imbalance(session) == {}


@pytest.mark.parametrize("order", list(permutations(["action", "processing", "paid", "dead"])))
async def test_the_order_of_news_does_not_matter(sessions: Sessions, order: tuple[str, ...]) -> None:
    async with sessions.begin() as session:
        row = await a_payment_row(session)
    paid = a_payment()
    news = {
        "action": a_payment(id=paid.id, status=PaymentStatus.NEEDS_ACTION, captured_minor=0),
        "processing": a_payment(id=paid.id, status=PaymentStatus.PROCESSING, captured_minor=0),
        "paid": paid,
        "dead": a_payment(id=paid.id, status=PaymentStatus.NEEDS_METHOD, captured_minor=0),
    }

    for name in order:
        async with sessions.begin() as session:
            told = await funding.book_payment(session, row.id, news[name])

    assert told.status == "succeeded"
    async with sessions() as session:
        assert await balance(session, row.account_id) == Balance(1000, 0)


async def test_another_amount_than_asked_for_is_never_credited(sessions: Sessions) -> None:
    async with sessions.begin() as session:
        row = await a_payment_row(session, amount_minor=1000)

    for wrong in (a_payment(amount_minor=10_000), a_payment(currency="USD"), a_payment(captured_minor=10)):
        with pytest.raises(PaymentMismatch):
            async with sessions.begin() as session:
                await funding.credit_top_up(session, row.id, wrong)

    async with sessions() as session:
        assert await balance(session, row.account_id) == Balance(0, 0)


async def test_a_card_hold_enters_its_account_and_leaves_it_when_it_lapses(sessions: Sessions) -> None:
    async with sessions.begin() as session:
        row = await a_payment_row(session, "card_hold")
    held = a_hold()

    async with sessions.begin() as session:
        await funding.book_authorisation(session, row.id, held)
        assert await balance(session, row.account_id) == Balance(1000, 0)
    async with sessions.begin() as session:
        ended = a_hold(id=held.id, status=PaymentStatus.CANCELED, capturable_minor=0)
        told = await funding.book_authorisation(session, row.id, ended)

    assert told.status == "voided"
    async with sessions() as session:
        assert await balance(session, row.account_id) == Balance(0, 0)
        assert await imbalance(session) == {}


async def test_a_declined_payment_may_still_turn_out_paid(sessions: Sessions) -> None:
    async with sessions.begin() as session:
        row = await a_payment_row(session)
        await funding.decline_payment(session, row.id, "The provider never got it.")

    async with sessions.begin() as session:
        told = await funding.credit_top_up(session, row.id, a_payment())

    assert told.status == "succeeded"


async def test_a_refund_is_asked_once_and_only_of_money_that_is_there(sessions: Sessions) -> None:
    async with sessions.begin() as session:
        row = await a_payment_row(session)
        await funding.credit_top_up(session, row.id, a_payment())
        await hold(session, row.account_id, 1)

    with pytest.raises(InsufficientFunds):
        async with sessions.begin() as session:
            await funding.request_refund(session, row.id)
    async with sessions.begin() as session:
        await hold(session, row.account_id, -1)
        await funding.request_refund(session, row.id)
    with pytest.raises(funding.UnknownPayment):
        async with sessions.begin() as session:
            await funding.request_refund(session, row.id)

    async with sessions() as session:
        assert await balance(session, row.account_id) == Balance(0, 1000)
        query = select(InstructionRow.lane).where(InstructionRow.kind == "refund", InstructionRow.subject_id == row.id)
        assert list(await session.scalars(query)) == ["provider"]
