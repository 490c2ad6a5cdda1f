"""Corrections of the books by hand: proposed by one officer, confirmed by another, booked as a new transfer."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from settlement import accounts
from settlement.accounts import HOUSE, Place
from settlement.ledger import Kind
from settlement.ledger_tables import AccountRow, AssetRow
from settlement.reconciliation.tables import AdjustmentRow, BreakRow

PARTY = "party_"
"""How a place begins that is the wallet of a party: its number follows."""
CATEGORIES: Mapping[str, frozenset[str]] = {
    "carrier_error": frozenset({"suspense", "write_offs", PARTY}),
    "provider_fee": frozenset({"provider", "provider_fees"}),
    "goodwill": frozenset({"goodwill", PARTY}),
    "write_off": frozenset({"provider", "suspense", "write_offs"}),
    "correction": frozenset({"provider", "suspense", PARTY}),
    "suspense_clearing": frozenset({"suspense", "provider", "write_offs", PARTY}),
}
"""The places between which money may move under each category. Other categories there are none."""


class NotAdjustable(Exception):
    """The adjustment can't be made; the words say why."""


def reference_of(adjustment_id: int) -> str:
    """The ledger's reference for one adjustment."""
    return f"adj_{adjustment_id}"


def check(category: str, source: str, target: str, amount_minor: int) -> None:
    """Whether the category allows this way.

    Raises:
        NotAdjustable: it does not, or nothing would move.
    """
    allowed = CATEGORIES.get(category)
    if allowed is None:
        raise NotAdjustable("There is no such category.")
    if source == target or amount_minor <= 0:
        raise NotAdjustable("An adjustment moves an amount from one place to another.")
    if {_kind(source), _kind(target)} - allowed:
        raise NotAdjustable("This category does not allow these two places.")
    if category == "suspense_clearing" and "suspense" not in {source, target}:
        raise NotAdjustable("A clearing of suspense has suspense on one side.")


async def decide(
    session: AsyncSession, adjustment_id: int, officer_id: int, *, confirmed: bool, at: datetime
) -> AdjustmentRow:
    """Confirm or reject what another officer has proposed; a confirmed one is booked at once. The caller commits.

    Raises:
        NotAdjustable: there is none, it was decided before, or by the one who proposed it.
        InsufficientFunds: a wallet does not have the money.
    """
    query = select(AdjustmentRow).where(AdjustmentRow.id == adjustment_id).with_for_update(key_share=True)
    row = await session.scalar(query.execution_options(populate_existing=True))
    if row is None or row.status != "proposed":
        raise NotAdjustable("There is no such proposal any more.")
    if confirmed and row.proposed_by == officer_id:
        raise NotAdjustable("Another officer has to confirm what you have proposed.")
    if confirmed:
        await _book(session, row)
    row.status = "booked" if confirmed else "rejected"
    row.decided_by, row.decided_at = officer_id, at
    if confirmed and row.break_id is not None:
        item = await session.get_one(BreakRow, row.break_id, with_for_update=True)
        item.status, item.ended_at, item.owner_id = "adjusted", func.now(), officer_id
    await session.flush()
    return row


async def _book(session: AsyncSession, row: AdjustmentRow) -> None:
    check(row.category, row.source, row.target, row.amount_minor)
    asset_id = await session.scalar(select(AssetRow.id).where(AssetRow.code == row.currency, AssetRow.kind == "money"))
    if asset_id is None:
        raise NotAdjustable("There is no such currency.")
    places = [await _place(session, name, asset_id) for name in (row.source, row.target)]
    found = await accounts.find_or_create(session, places)
    source, target = (found[place] for place in places)
    ledger = await accounts.lock(session, [source, target])
    ledger.move(Kind.ADJUSTED, reference_of(row.id), source=source, target=target, amount=row.amount_minor)
    await accounts.save(session, ledger)


async def _place(session: AsyncSession, name: str, asset_id: int) -> Place:
    """A wallet must be there already: nobody gets one by a slip of the pen."""
    if _kind(name) != PARTY:
        return Place(HOUSE, asset_id, name)
    party_id = int(name.removeprefix(PARTY))
    wallet = select(AccountRow.id).where(
        AccountRow.party_id == party_id, AccountRow.asset_id == asset_id, AccountRow.kind == "wallet"
    )
    if await session.scalar(wallet) is None:
        raise NotAdjustable("This party has no wallet.")
    return Place(party_id, asset_id, "wallet")


def _kind(name: str) -> str:
    """What the categories call a place; a party without a number is none."""
    if not name.startswith(PARTY):
        return name
    number = name.removeprefix(PARTY)
    return PARTY if number.isascii() and number.isdigit() and len(number) <= DIGITS else ""


DIGITS = 18
"""Of an id: more might not fit a bigint."""
