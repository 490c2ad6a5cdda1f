"""What parties owe the house: an account of their own at zero or below, paid by whatever comes into the wallet."""

from collections.abc import Iterable

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from settlement import accounts
from settlement.accounts import DEBT, Place
from settlement.ledger import Kind

_OWED = text("""
    select coalesce(-sum(available), 0) from account where party_id = :party and kind = 'debt' and available < 0
""")
_PAYABLE = text("""
    select debt.id as debt, wallet.id as wallet
    from account debt join account wallet
        on wallet.party_id = debt.party_id and wallet.asset_id = debt.asset_id and wallet.kind = 'wallet'
    where debt.kind = 'debt' and debt.available < 0 and wallet.available > 0
        and (cast(:parties as bigint[]) is null or debt.party_id = any(cast(:parties as bigint[])))
    order by debt.id limit :limit
""")
_NUMBER = text("select nextval('transfer_number')")
BATCH = 200


def place_of(party_id: int, asset_id: int) -> Place:
    """Where a party's debt is kept."""
    return Place(party_id, asset_id, DEBT)


async def owed(session: AsyncSession, party_id: int) -> int:
    """What a party owes the house, in minor units; it is one currency."""
    return int((await session.execute(_OWED, {"party": party_id})).scalar_one())


async def collect(session: AsyncSession, parties: Iterable[int] | None = None) -> set[int]:
    """Pay debts out of what is free in their owners' wallets; says who paid. The caller commits.

    ``parties`` limits it to these; a withdrawal asks for its own party's before it
    takes anything. Comes before the caller locks accounts of its own.
    """
    wanted = None if parties is None else sorted(set(parties))
    pairs = (await session.execute(_PAYABLE, {"parties": wanted, "limit": BATCH})).all()
    ledger = await accounts.lock(session, {account for pair in pairs for account in pair})
    paid = set()
    for debt_id, wallet_id in pairs:
        debt, wallet = ledger.accounts[debt_id], ledger.accounts[wallet_id]
        amount = min(-debt.available, wallet.available)
        if amount > 0:
            number = (await session.execute(_NUMBER)).scalar_one()
            ledger.move(Kind.DEBT_PAID, f"dbt_{number}", source=wallet.id, target=debt.id, amount=amount)
            paid.add(debt.party_id)
    await accounts.save(session, ledger)
    return paid
