"""Who is frozen, for what, and for how long."""

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from settlement import accounts, debts, freezing
from settlement.ledger import Kind, Posting
from tests.settlement.making import NEXT, a_wallet, money

Sessions = async_sessionmaker[AsyncSession]


async def test_a_party_is_frozen_until_the_last_reason_ends(sessions: Sessions) -> None:
    party = next(NEXT)
    async with sessions.begin() as session:
        assert await freezing.is_frozen(session, party) is None
        for reference in ("dp_1", "dp_2", "dp_1"):
            await freezing.freeze(session, party, freezing.DISPUTED, "because", reference)

        await freezing.thaw(session, party, freezing.DISPUTED, "dp_1")
        assert await freezing.is_frozen(session, party) == "disputed"
        await freezing.thaw(session, party, freezing.DISPUTED, "dp_2")
        assert await freezing.is_frozen(session, party) is None


async def test_a_reason_that_comes_again_freezes_again(sessions: Sessions) -> None:
    party = next(NEXT)
    async with sessions.begin() as session:
        await freezing.freeze(session, party, "sim_changed", "because")
        await freezing.thaw(session, party, "sim_changed")
        await freezing.freeze(session, party, "sim_changed", "because")

        assert await freezing.is_frozen(session, party) == "sim_changed"
        assert await freezing.is_frozen(session, next(NEXT)) is None


async def test_who_owes_is_frozen_for_as_long_as_the_debt_stands(sessions: Sessions) -> None:
    party = next(NEXT)
    async with sessions.begin() as session:
        wallet = await a_wallet(session, 500, party)
        debt = (await accounts.find_or_create(session, [place := debts.place_of(party, await money(session))]))[place]
        provider = await accounts.house_account(session, "provider", await money(session))
        ledger = await accounts.lock(session, [wallet, debt, provider])
        ledger.transfer(Kind.TAKEN_BACK, f"test_{party}", Posting(provider, 300), Posting(debt, -300))
        await accounts.save(session, ledger)
        await freezing.freeze(session, party, freezing.OWING, "because", "dp_1")
        assert await freezing.is_frozen(session, party) == "debt"

        await debts.collect(session, [party])

        assert await freezing.is_frozen(session, party) is None
