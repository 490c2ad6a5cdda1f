"""The ledger on PostgreSQL: what many do at once comes out whole, and the database refuses what code should not try."""

import asyncio
import random

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from settlement import accounts
from settlement.accounts import HOUSE, Place, UnknownAccount
from settlement.ledger import InsufficientFunds, Kind, Posting, Transfer
from tests.settlement.making import NEXT, Balance, a_wallet, balance, imbalance, money

Sessions = async_sessionmaker[AsyncSession]


async def test_transfers_in_all_directions_at_once_neither_deadlock_nor_lose_anything(sessions: Sessions) -> None:
    async with sessions.begin() as session:
        wallets = [await a_wallet(session, 1000) for _ in range(6)]

    async def shuffle(number: int) -> None:
        for turn in range(10):
            source, target = random.sample(wallets, 2)
            async with sessions() as session:
                ledger = await accounts.lock(session, [source, target])
                try:
                    ledger.move(Kind.COIN_GIVEN, f"{number}/{turn}", source=source, target=target, amount=300)
                except InsufficientFunds:
                    continue
                await accounts.save(session, ledger)
                await session.commit()

    await asyncio.gather(*(shuffle(number) for number in range(8)))

    async with sessions() as session:
        assert sum([(await balance(session, wallet)).available for wallet in wallets]) == 6000
        assert await imbalance(session) == {}


async def test_a_transfer_that_does_not_balance_cannot_be_written(sessions: Sessions) -> None:
    async with sessions.begin() as session:
        wallet = await a_wallet(session)

    async def forge() -> None:
        async with sessions.begin() as session:
            ledger = await accounts.lock(session, [wallet])
            ledger.transfers.append(Transfer(Kind.TOPPED_UP, "forged", (Posting(wallet, 100),)))
            await accounts.save(session, ledger)

    with pytest.raises(IntegrityError, match="out of balance"):
        await forge()


async def test_transfers_that_balance_together_and_not_each_by_itself_cannot_be_written(sessions: Sessions) -> None:
    async with sessions.begin() as session:
        one, other = await a_wallet(session, 500), await a_wallet(session)

    async def forge() -> None:
        async with sessions.begin() as session:
            ledger = await accounts.lock(session, [one, other])
            ledger.transfers += [
                Transfer(Kind.COIN_GIVEN, "forged/1", (Posting(one, -100),)),
                Transfer(Kind.COIN_GIVEN, "forged/2", (Posting(other, 100),)),
            ]
            await accounts.save(session, ledger)

    with pytest.raises(IntegrityError, match="out of balance"):
        await forge()

    async with sessions() as session:
        assert (await balance(session, one)).available == 500


async def test_the_same_settlement_cannot_be_written_twice(sessions: Sessions) -> None:
    async with sessions.begin() as session:
        source, target = await a_wallet(session, 500), await a_wallet(session)

    async def pay() -> None:
        async with sessions.begin() as session:
            ledger = await accounts.lock(session, [source, target])
            ledger.move(Kind.SETTLED, "trd_0", source=source, target=target, amount=100)
            await accounts.save(session, ledger)

    await pay()
    with pytest.raises(IntegrityError, match="uq_posting_settled_once"):
        await pay()

    async with sessions() as session:
        assert await balance(session, target) == Balance(100, 0)


async def test_an_account_named_twice_in_a_transfer_gets_one_row(sessions: Sessions) -> None:
    async with sessions.begin() as session:
        source, target = await a_wallet(session, 500), await a_wallet(session)
        ledger = await accounts.lock(session, [source, target])
        postings = Posting(source, -100), Posting(target, 60), Posting(target, 40)
        ledger.transfer(Kind.COIN_GIVEN, f"test_{next(NEXT)}", *postings)
        await accounts.save(session, ledger)

    async with sessions() as session:
        assert await balance(session, target) == Balance(100, 0)


async def test_one_account_is_made_however_many_ask_for_it_at_once(sessions: Sessions) -> None:
    async with sessions.begin() as session:
        place = Place(HOUSE, await money(session), "fees", f"C{next(NEXT)}")

    async def ask() -> int:
        async with sessions.begin() as session:
            return (await accounts.find_or_create(session, [place]))[place]

    assert len(set(await asyncio.gather(*(ask() for _ in range(8))))) == 1


async def test_an_unknown_account_is_refused_before_anything_is_written(sessions: Sessions) -> None:
    async with sessions() as session:
        with pytest.raises(UnknownAccount):
            await accounts.lock(session, [10**12])


HOT = "select pg_stat_get_xact_tuples_updated(t), pg_stat_get_xact_tuples_hot_updated(t) from to_regclass('account') t"
"""How many rows this connection has changed lately, and how many of them in place."""


@pytest.mark.parametrize("index", [None, "create index on account (party_id) where available < 0"])
async def test_a_balance_changes_in_place_and_not_once_an_index_looks_at_it(
    sessions: Sessions, index: str | None
) -> None:
    async with sessions.begin() as session:
        wallets = [await a_wallet(session, 100) for _ in range(2)]
    async with sessions() as session:
        if index is not None:
            await session.execute(text(index))
        before = (await session.execute(text(HOT))).one()
        ledger = await accounts.lock(session, wallets)
        ledger.move(Kind.COIN_GIVEN, "in place", source=wallets[0], target=wallets[1], amount=30)
        await accounts.save(session, ledger)
        after = (await session.execute(text(HOT))).one()
        await session.rollback()
    assert after[0] - before[0] == 2
    assert after[1] - before[1] == (2 if index is None else 0)
