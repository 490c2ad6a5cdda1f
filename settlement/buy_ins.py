"""Buy-ins in the books: which refused trades are bought in, money set aside for it, and who pays what in the end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from settlement import accounts, debts
from settlement.accounts import HOUSE, Place
from settlement.buy_in_tables import BuyInRow
from settlement.instructions import Absent, Done, Outcome
from settlement.ledger import Kind, Posting
from settlement.ledger_tables import AccountRow
from settlement.steps import Ended, Loaded, Numbers, Outside, Postponed, Step
from settlement.tables import DeliveryRow

NEVER_RESERVED = "The seller's data was never reserved at the carrier."
TAKEN_AWAY = frozenset({"RESERVATION_NOT_FOUND", "BUCKET_NOT_FOUND", "NOT_TRANSFERABLE", "INSUFFICIENT_BALANCE"})
"""Refusals by which the seller's side no longer has what it sold: what the replacement costs more is the seller's."""
RAN_OUT = frozenset({"RESERVATION_EXPIRED", "BUCKET_EXPIRED"})
"""What was sold had come to its end by the clock: nobody's doing, so the house bears what a replacement costs more."""

# A trade that was itself bought in is not bought in again: its money does not come from a wallet.
_WANT = text("""
    with wanted as (
        insert into buy_in (trade_id, charges_seller)
        select delivery.id, refused.charges
        from unnest(cast(:ids as bigint[]), cast(:charges as boolean[])) as refused (id, charges)
        join delivery on delivery.id = refused.id join account on account.id = delivery.money_account_id
        where delivery.carrier is not null and delivery.payment_id is null and account.kind = 'wallet'
        on conflict do nothing returning trade_id
    )
    insert into instruction (kind, subject_id, lane) select 'buy_in', trade_id, 'house' from wanted
    on conflict do nothing
""")
_TO_CLOSE = text("""
    insert into instruction (kind, subject_id, lane) select 'close_buy_in', unnest(cast(:ids as bigint[])), 'house'
    on conflict do nothing
""")


@dataclass(frozen=True, slots=True)
class Fault:
    """The seller's side did not deliver. ``charges_seller``: and what the replacement costs more is the seller's."""

    charges_seller: bool


def fault_of(reason: str) -> Fault | None:
    """Whether a delivery was refused because of the seller's side; none when it was the receiver's or is not clear."""
    code = reason.partition(":")[0]
    if code in TAKEN_AWAY:
        return Fault(charges_seller=True)
    return Fault(charges_seller=False) if code in RAN_OUT or reason == NEVER_RESERVED else None


class Shares(NamedTuple):
    """How what was set aside is given back, and what is asked of the seller, in minor units."""

    to_buyer: int
    to_house: int
    covered: int
    """What the replacement cost beyond the first trade's price for as much."""


def share_out(*, price_minor: int, quantity: int, advance_minor: int, cost_minor: int, bought: int) -> Shares:
    """Share out what is left of a buy-in: ``bought`` of ``quantity`` units came for ``cost_minor``.

    The buyer pays at most what the first trade asked for as much; what that leaves open is covered by the advance.
    """
    buyer_pays = min(cost_minor, price_minor * bought // quantity)
    covered = cost_minor - buyer_pays
    return Shares(price_minor - buyer_pays, advance_minor - covered, covered)


def reference_of(trade_id: int) -> str:
    """The ledger's reference for the buy-in of one trade."""
    return f"bin_{trade_id}"


async def want(session: AsyncSession, refused: Mapping[int, str]) -> None:
    """Have the refused deliveries (trade and reason) bought in that are the seller's fault and were paid by a wallet.

    A card pays for its own order alone: such trades are refunded, no more. Committed with the refusals.
    """
    faults = {trade_id: fault for trade_id, reason in refused.items() if (fault := fault_of(reason)) is not None}
    if faults:
        charges = [fault.charges_seller for fault in faults.values()]
        await session.execute(_WANT, {"ids": list(faults), "charges": charges})


async def set_aside(session: AsyncSession, row: BuyInRow, lots: int, limit_minor: int) -> bool:
    """Set the buyer's money aside, and the house's for a dearer seller, in an account that nothing else can spend.

    Says whether the wallet still had the money. The caller commits.
    """
    delivery = await session.get_one(DeliveryRow, row.trade_id)
    wallet = await session.get_one(AccountRow, delivery.money_account_id)
    own, house = _aside(wallet, row.trade_id), Place(HOUSE, wallet.asset_id, "buy_in")
    found = await accounts.find_or_create(session, [own, house])
    ledger = await accounts.lock(session, {wallet.id, *found.values()})
    if ledger.accounts[wallet.id].available < delivery.amount_minor:
        return False
    row.status, row.account_id, row.limit_minor = "funded", found[own], limit_minor
    row.advance_minor = max(limit_minor * lots - delivery.amount_minor, 0)
    postings = [
        Posting(wallet.id, -delivery.amount_minor),
        Posting(found[house], -row.advance_minor),
        Posting(found[own], delivery.amount_minor + row.advance_minor),
    ]
    ledger.transfer(Kind.BUY_IN_FUNDED, reference_of(row.trade_id), *(one for one in postings if one.available))
    await accounts.save(session, ledger)
    await session.flush()
    return True


async def close(session: AsyncSession, bought: Mapping[int, Sequence[int]]) -> None:
    """The orders have been answered: by buy-in, the trades that came of each. What is left is shared out after them."""
    rows = await session.scalars(select(BuyInRow).where(BuyInRow.trade_id.in_(bought)).with_for_update())
    to_close = []
    for row in rows:
        if row.status == "funded":
            row.status, row.trade_ids = "closing", sorted(bought[row.trade_id])
            to_close.append(row.trade_id)
        elif row.status == "wanted":
            row.status, row.ended_at = "ended", (await session.execute(select(func.now()))).scalar_one()
    await session.flush()
    await session.execute(_TO_CLOSE, {"ids": to_close})


async def of_trade(session: AsyncSession, trade_id: int) -> BuyInRow | None:
    """The buy-in of a trade, if there is one."""
    return await session.get(BuyInRow, trade_id)


@dataclass(frozen=True, slots=True)
class Closing:
    """A buy-in whose trades have all ended."""

    trade_id: int
    fingerprint: str
    lines: tuple[int, ...] = ()


async def _load(session: AsyncSession, ids: Sequence[int], mark: str) -> Loaded[Closing]:  # noqa: ARG001 - a step's form
    found: dict[int, Closing | Postponed | Done] = {}
    for row in await session.scalars(select(BuyInRow).where(BuyInRow.trade_id.in_(ids))):
        under_way = select(func.count()).where(
            DeliveryRow.id.in_(row.trade_ids), DeliveryRow.status.in_(["pending", "delivered"])
        )
        if await session.scalar(under_way):
            found[row.trade_id] = Postponed("What was bought in is still to be delivered.")
        else:
            found[row.trade_id] = Closing(row.trade_id, f"{row.trade_id} {row.trade_ids}")
    return found


async def _send(outside: Outside, closing: Closing, numbers: Numbers) -> Outcome:  # noqa: ARG001 - a step's form
    return Done()  # it happens in our own books alone


async def _ask(outside: Outside, closing: Closing, numbers: Numbers) -> Outcome:  # noqa: ARG001 - the same
    return Absent()


async def _book(session: AsyncSession, ended: Sequence[Ended[Closing]]) -> set[int]:
    told: set[int] = set()
    for end in ended:
        row = await session.get_one(BuyInRow, end.subject_id, with_for_update=True)
        if row.status == "closing":
            told |= await _share_out(session, row)
            row.status, row.ended_at = "ended", end.at
            await session.flush()
    return told


async def _share_out(session: AsyncSession, row: BuyInRow) -> set[int]:
    first = await session.get_one(DeliveryRow, row.trade_id)
    wallet = await session.get_one(AccountRow, first.money_account_id)
    seller = await session.get_one(AccountRow, first.proceeds_account_id)
    totals = select(
        func.coalesce(func.sum(DeliveryRow.amount_minor), 0), func.coalesce(func.sum(DeliveryRow.quantity), 0)
    ).where(DeliveryRow.id.in_(row.trade_ids), DeliveryRow.status == "settled")
    cost, bought = map(int, (await session.execute(totals)).one())
    places = own, house, debt = (
        _aside(wallet, row.trade_id),
        Place(HOUSE, wallet.asset_id, "buy_in"),
        debts.place_of(seller.party_id, wallet.asset_id),
    )
    found = await accounts.find_or_create(session, places)
    ledger = await accounts.lock(session, {wallet.id, seller.id, *found.values()})

    shares = share_out(
        price_minor=first.amount_minor,
        quantity=first.quantity,
        advance_minor=row.advance_minor,
        cost_minor=cost,
        bought=bought,
    )
    charged = shares.covered if row.charges_seller else 0
    has = max(ledger.accounts[seller.id].available, 0)

    row.covered_minor = shares.covered
    postings = [
        Posting(found[own], -shares.to_buyer - shares.to_house),
        Posting(wallet.id, shares.to_buyer),
        Posting(found[house], shares.to_house + charged),
        Posting(seller.id, -min(charged, has)),
        Posting(found[debt], min(charged, has) - charged),
    ]
    if moved := [posting for posting in postings if posting.available]:
        ledger.transfer(Kind.BUY_IN_CLOSED, reference_of(row.trade_id), *moved)
        await accounts.save(session, ledger)
    return {wallet.party_id, seller.party_id}


def _aside(wallet: AccountRow, trade_id: int) -> Place:
    return Place(wallet.party_id, wallet.asset_id, "buy_in", str(trade_id))


CLOSE_BUY_IN = Step("close_buy_in", _load, _send, _ask, _book)
