"""A trade that had ended and comes back: recorded once for each cause, and the difference settled in the ledger.

History stays as it is. What is settled anew are transfers of their own under
`rop_<id>`; `reopening_rules.py` says who bears what.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from settlement import accounts, debts, delivery
from settlement.accounts import HOUSE, Place
from settlement.delivery import Delivery
from settlement.ledger import Kind, Ledger, Posting
from settlement.ledger_tables import AccountRow
from settlement.reopening_rules import (
    BuyerOwes,
    Cause,
    Decision,
    ForAPerson,
    PaysBack,
    Shares,
    Standing,
    Waits,
    decide,
)
from settlement.reopening_tables import ReopeningRow
from settlement.steps import HOUSE_LANE
from settlement.tables import DeliveryRow


class UnknownTrade(Exception):
    """There is no such trade, or it was not opened again for this cause."""


class _Accounts(NamedTuple):
    """The accounts that a reopening may touch."""

    buyer: int
    buyer_debt: int
    seller: int
    seller_debt: int
    fees: int
    charges: int
    reversals: int
    provider: int


@dataclass(frozen=True, slots=True)
class _Case:
    trade: Delivery
    accounts: _Accounts
    ledger: Ledger
    parties: frozenset[int]


def reference_of(reopening_id: int) -> str:
    """The ledger's reference for what settles one reopening."""
    return f"rop_{reopening_id}"


async def reopen(
    session: AsyncSession,
    trade_id: int,
    cause: str,
    amount_minor: int,
    detail: str,
    *,
    returned_mb: int = 0,
    taken_mb: int | None = None,
) -> bool:
    """Open a trade again, and settle the difference at once when the trade has ended; the round does it otherwise.

    Does all the booking, the provider's account included: the caller posts nothing
    for this money. ``amount_minor`` is what of the buyer's money it is about,
    ``taken_mb`` what the carrier took back, all of the trade unless it is said, and
    ``returned_mb`` what came back to the seller's bucket. Says whether this was news:
    for one trade and cause only the first call counts. Comes before the caller locks
    accounts of its own, and is committed by it.

    Raises:
        UnknownTrade: there is no such trade.
        ValueError: there is no such cause.
    """
    named = Cause(cause)
    case = await _locked(session, trade_id)
    values = {
        "trade_id": trade_id,
        "cause": named.value,
        "amount_minor": amount_minor,
        "detail": detail,
        "returned_mb": returned_mb if named is Cause.CARRIER_REVERSED else None,
        "taken_mb": taken_mb,
    }
    made = insert(ReopeningRow).values(values).on_conflict_do_nothing().returning(ReopeningRow.id)
    reopening_id = await session.scalar(made)
    if reopening_id is None:
        return False
    await _settle(session, await session.get_one(ReopeningRow, reopening_id), case)
    return True


async def settle_open(session: AsyncSession, reopening_id: int) -> set[int]:
    """Settle a reopening that waited for its trade to end; says who should hear of it. The caller commits."""
    trade_id = await session.scalar(select(ReopeningRow.trade_id).where(ReopeningRow.id == reopening_id))
    if trade_id is None:
        raise UnknownTrade(f"There is no reopening {reopening_id}.")
    case = await _locked(session, trade_id)
    row = await session.get_one(ReopeningRow, reopening_id, populate_existing=True)
    if row.status != "open":
        return set()
    await _settle(session, row, case)
    return set(case.parties) if row.status != "open" else set()


async def withdraw(session: AsyncSession, trade_id: int, cause: str) -> bool:
    """The money is back: a dispute was won, or a refund outside failed. Says whether anything was taken back.

    What the buyer still owes of it is forgiven, what was paid already returns to the
    wallet. Only causes outside can fall away; the provider's account is booked here too.

    Raises:
        UnknownTrade: the trade was not opened again for this cause.
    """
    assert Cause(cause) is not Cause.CARRIER_REVERSED
    case = await _locked(session, trade_id)
    query = select(ReopeningRow).where(ReopeningRow.trade_id == trade_id, ReopeningRow.cause == cause)
    row = await session.scalar(query.execution_options(populate_existing=True))
    if row is None:
        raise UnknownTrade(f"Trade {trade_id} was not opened again as {cause}.")
    if row.status == "withdrawn":
        return False
    if row.status == "settled":
        named = case.accounts
        forgiven = min(-case.ledger.accounts[named.buyer_debt].available, row.amount_minor)
        _post(
            case.ledger,
            Kind.REOPENING_WITHDRAWN,
            row.id,
            Posting(named.provider, -row.amount_minor),
            Posting(named.buyer_debt, forgiven),
            Posting(named.buyer, row.amount_minor - forgiven),
        )
        await accounts.save(session, case.ledger)
    row.status, row.ended_at = "withdrawn", await _now(session)
    return True


async def end_by_hand(session: AsyncSession, reopening_id: int) -> bool:
    """A person has settled what no rule covers, by adjustments of the books. Says whether it still waited for that."""
    ended = (
        update(ReopeningRow)
        .where(ReopeningRow.id == reopening_id, ReopeningRow.status == "for_a_person")
        .values(status="settled", ended_at=func.now())
        .returning(ReopeningRow.id)
    )
    return await session.scalar(ended) is not None


async def of_trades(session: AsyncSession, trade_ids: Sequence[int]) -> dict[int, list[ReopeningRow]]:
    """The reopenings of trades, oldest first."""
    query = select(ReopeningRow).where(ReopeningRow.trade_id.in_(trade_ids)).order_by(ReopeningRow.id)
    found: dict[int, list[ReopeningRow]] = {}
    for row in await session.scalars(query):
        found.setdefault(row.trade_id, []).append(row)
    return found


async def _locked(session: AsyncSession, trade_id: int) -> _Case:
    """The trade with every account that its reopening may touch.

    Whoever ends a trade locks the same accounts first, so its status stands from here on.
    """
    trade = (await delivery.load(session, [trade_id], "")).get(trade_id)
    if trade is None:
        raise UnknownTrade(f"There is no trade {trade_id}.")
    buyer, seller = await _party(session, trade.money_account_id), await _party(session, trade.proceeds_account_id)
    money = trade.money_asset_id
    wallet, buyer_debt, seller_debt = (
        Place(buyer, money, "wallet"),
        debts.place_of(buyer, money),
        debts.place_of(seller, money),
    )
    fees, charges, reversals, provider = (
        Place(HOUSE, money, "fees", trade.carrier or HOUSE_LANE),
        Place(HOUSE, money, "carrier_charges", trade.carrier or HOUSE_LANE),
        Place(HOUSE, money, "reversals"),
        Place(HOUSE, money, "provider"),
    )
    places = [wallet, buyer_debt, seller_debt, fees, charges, reversals, provider]
    found = await accounts.find_or_create(session, places)
    named = _Accounts(
        buyer=found[wallet],
        buyer_debt=found[buyer_debt],
        seller=trade.proceeds_account_id,
        seller_debt=found[seller_debt],
        fees=found[fees],
        charges=found[charges],
        reversals=found[reversals],
        provider=found[provider],
    )
    ledger = await accounts.lock(session, {*named, *delivery.accounts_of([trade])})
    return _Case(trade, named, ledger, frozenset({buyer, seller}))


async def _settle(session: AsyncSession, row: ReopeningRow, case: _Case) -> None:
    """Decide, and write: the transfers, and how the reopening stands."""
    decision = decide(await _standing(session, row, case))
    charge_minor = _charge_minor(row, case)

    match decision:
        case PaysBack(shares):
            kind = Kind.CASE_PAID_BACK if row.cause == Cause.CASE_DECIDED else Kind.CARRIER_REVERSED
            charge_minor = min(charge_minor, shares.fees)
            returned = Posting(case.accounts.charges, -charge_minor), Posting(case.accounts.fees, charge_minor)
            if charge_minor:
                _post(case.ledger, Kind.CHARGE_RETURNED, row.id, *returned)
            _pay_back(case.ledger, kind, row.id, case.accounts, shares)
        case BuyerOwes(amount_minor):
            taken = Posting(case.accounts.provider, amount_minor), Posting(case.accounts.buyer_debt, -amount_minor)
            _post(case.ledger, Kind.PAID_BACK_OUTSIDE, row.id, *taken)
        case _:
            pass
    await accounts.save(session, case.ledger)
    row.status, row.ended_at = _status(decision), await _now(session)
    if row.status not in {"settled", "withdrawn"}:
        row.ended_at = None
    if isinstance(decision, ForAPerson):
        row.detail = f"{row.detail} {decision.reason}"
    await session.flush()


async def _standing(session: AsyncSession, row: ReopeningRow, case: _Case) -> Standing:
    status = await session.scalar(select(DeliveryRow.status).where(DeliveryRow.id == row.trade_id))
    others = select(func.coalesce(func.sum(ReopeningRow.amount_minor), 0)).where(
        ReopeningRow.trade_id == row.trade_id,
        ReopeningRow.id != row.id,
        ReopeningRow.status == "settled",
        ReopeningRow.cause != Cause.CARRIER_REVERSED.value,
    )
    return Standing(
        cause=Cause(row.cause),
        ended_as=status or "",
        amount_minor=row.amount_minor,
        price_minor=case.trade.amount_minor,
        fee_minor=case.trade.fee_minor,
        quantity_mb=case.trade.quantity,
        returned_mb=row.returned_mb or 0,
        seller_has_minor=case.ledger.accounts[case.accounts.seller].available,
        fees_have_minor=case.ledger.accounts[case.accounts.fees].available + _charge_minor(row, case),
        outside_minor=int((await session.execute(others)).scalar_one()),
        decided_minor=int((await session.execute(others.where(ReopeningRow.cause == Cause.CASE_DECIDED))).scalar_one()),
    )


def _charge_minor(row: ReopeningRow, case: _Case) -> int:
    """The carrier's part of what the seller gave, for as much of the trade as this is about."""
    share = case.trade.charge_minor * row.amount_minor // case.trade.amount_minor
    return max(0, min(share, case.ledger.accounts[case.accounts.charges].available))


def _pay_back(ledger: Ledger, kind: Kind, reopening_id: int, named: _Accounts, shares: Shares) -> None:
    """The money goes to the buyer's wallet, whatever it was paid with: a card hold that has ended takes nothing."""
    _post(
        ledger,
        kind,
        reopening_id,
        Posting(named.seller, -shares.seller_now),
        Posting(named.seller_debt, -shares.seller_owes),
        Posting(named.fees, -shares.fees),
        Posting(named.reversals, -shares.house),
        Posting(named.buyer, shares.total),
    )


def _post(ledger: Ledger, kind: Kind, reopening_id: int, *postings: Posting) -> None:
    ledger.transfer(kind, reference_of(reopening_id), *(each for each in postings if each.available))


def _status(decision: Decision) -> str:
    if isinstance(decision, Waits):
        return "open"
    return "for_a_person" if isinstance(decision, ForAPerson) else "settled"


async def _party(session: AsyncSession, account_id: int) -> int:
    return (await session.execute(select(AccountRow.party_id).where(AccountRow.id == account_id))).scalar_one()


async def _now(session: AsyncSession) -> datetime:
    return (await session.execute(select(func.now()))).scalar_one()
