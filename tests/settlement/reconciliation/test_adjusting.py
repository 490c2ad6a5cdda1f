"""Corrections by hand: two persons, fixed ways between accounts, and the ledger's equation."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from settlement.ledger import InsufficientFunds
from settlement.ledger_tables import AccountRow
from settlement.reconciliation.adjusting import NotAdjustable, check, decide
from settlement.reconciliation.tables import AdjustmentRow
from tests.settlement.making import NEXT, a_wallet, imbalance, money

Sessions = async_sessionmaker[AsyncSession]
PROPOSER, OTHER = 1, 2


async def proposed(session: AsyncSession, source: str, target: str, category: str = "correction") -> AdjustmentRow:
    await money(session)
    row = AdjustmentRow(
        key=f"key-{next(NEXT)}", break_id=None, category=category, source=source, target=target, amount_minor=700,
        currency="CNY", reason="because", proposed_by=PROPOSER, decided_by=None, decided_at=None,
    )  # fmt: skip
    session.add(row)
    await session.flush()
    return row


async def test_only_another_officer_books_what_one_has_proposed(sessions: Sessions) -> None:
    async with sessions.begin() as session:
        row = await proposed(session, "provider", "suspense")
        with pytest.raises(NotAdjustable, match="Another officer"):
            await decide(session, row.id, PROPOSER, confirmed=True, at=datetime.now(UTC))

        await decide(session, row.id, OTHER, confirmed=True, at=datetime.now(UTC))

        assert await session.scalar(select(AccountRow.available).where(AccountRow.kind == "suspense")) == 700
        assert await imbalance(session) == {}
        with pytest.raises(NotAdjustable, match="any more"):
            await decide(session, row.id, OTHER, confirmed=True, at=datetime.now(UTC))


async def test_a_rejected_proposal_moves_nothing(sessions: Sessions) -> None:
    async with sessions.begin() as session:
        wallet = await a_wallet(session, 0)
        party = await session.scalar(select(AccountRow.party_id).where(AccountRow.id == wallet))
        row = await proposed(session, "goodwill", f"party_{party}", "goodwill")

        await decide(session, row.id, PROPOSER, confirmed=False, at=datetime.now(UTC))

        assert row.status == "rejected"
        assert await session.scalar(select(AccountRow.available).where(AccountRow.id == wallet)) == 0


async def test_nobodys_wallet_is_overdrawn_or_made_by_a_correction(sessions: Sessions) -> None:
    async with sessions.begin() as session:
        wallet = await a_wallet(session, 500)
        party = await session.scalar(select(AccountRow.party_id).where(AccountRow.id == wallet))
        too_much = await proposed(session, f"party_{party}", "suspense")
        with pytest.raises(InsufficientFunds):
            await decide(session, too_much.id, OTHER, confirmed=True, at=datetime.now(UTC))
        nobody = await proposed(session, "suspense", "party_999999999")
        with pytest.raises(NotAdjustable, match="no wallet"):
            await decide(session, nobody.id, OTHER, confirmed=True, at=datetime.now(UTC))


@pytest.mark.parametrize(
    ("category", "source", "target", "amount_minor"),
    [
        ("bribe", "provider", "suspense", 1),
        ("correction", "provider", "provider", 1),
        ("correction", "provider", "suspense", 0),
        ("goodwill", "provider", "party_1", 1),
        ("suspense_clearing", "provider", "write_offs", 1),
        ("correction", "provider", "party_", 1),
        ("correction", "fees", "suspense", 1),
    ],
)
def test_a_category_allows_its_own_ways_alone(category: str, source: str, target: str, amount_minor: int) -> None:
    with pytest.raises(NotAdjustable):
        check(category, source, target, amount_minor)
