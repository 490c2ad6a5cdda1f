"""The ledger on PostgreSQL: accounts found, locked together, and transfers written set-based."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from settlement.ledger import Account, Ledger, LedgerRefusal, Transfer

HOUSE = 1
"""The operator's party. The house's own accounts and those of the outside world belong to it."""

DEBT = "debt"
"""What a party owes the house, as an account of its own that is zero or below."""

WORLD = frozenset(
    {
        "carrier",
        "provider",
        "coin_issue",
        "uncaptured",
        "phone_bill",
        "reversals",
        "buy_in",
        "suspense",
        "provider_fees",
        "goodwill",
        "write_offs",
    }
)
"""House accounts that may go negative: they mirror what others hold, or what the house has covered."""

_FIND = text("""
    select account.party_id, account.asset_id, account.kind, account.reference, account.id
    from account join unnest(
        cast(:parties as bigint[]), cast(:assets as bigint[]), cast(:kinds as text[]), cast(:references as text[])
    ) as wanted (party_id, asset_id, kind, reference)
        on account.party_id = wanted.party_id and account.asset_id = wanted.asset_id
        and account.kind = wanted.kind and account.reference is not distinct from wanted.reference
""")
_CREATE = text("""
    insert into account (party_id, asset_id, kind, reference, may_go_negative)
    select party_id, asset_id, kind, reference, may_go_negative from unnest(
        cast(:parties as bigint[]), cast(:assets as bigint[]), cast(:kinds as text[]), cast(:references as text[]),
        cast(:negative as boolean[])
    ) as wanted (party_id, asset_id, kind, reference, may_go_negative)
    on conflict do nothing
""")
_LOCK = text("""
    select id, party_id, asset_id, available, held, may_go_negative from account
    where id = any(cast(:ids as bigint[])) order by id for no key update
""")
_SAVE = text("""
    with numbered as materialized (
        select position, nextval('transfer_number') as transfer_id from generate_series(1, :count) as position
    ), posted as (
        insert into posting (transfer_id, account_id, kind, reference, available_change, held_change)
        select transfer_id, account_id, kind, reference, available, held
        from unnest(
            cast(:positions as integer[]), cast(:accounts as bigint[]), cast(:kinds as smallint[]),
            cast(:references as text[]), cast(:available as bigint[]), cast(:held as bigint[])
        ) as made (position, account_id, kind, reference, available, held) join numbered using (position)
    )
    update account set available = account.available + change.available, held = account.held + change.held
    from unnest(cast(:ids as bigint[]), cast(:more_available as bigint[]), cast(:more_held as bigint[]))
        as change (id, available, held)
    where account.id = change.id
""")


class UnknownAccount(LedgerRefusal):
    """There is no such account."""

    code = "unknown_account"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """What tells one account from all others. ``reference`` is empty for an account that needs none."""

    party_id: int
    asset_id: int
    kind: str
    reference: str = ""


async def find_or_create(session: AsyncSession, places: Iterable[Place]) -> dict[Place, int]:
    """The ids of accounts, made where they are missing.

    Ask before anything is locked: an account that another transaction is just
    making is waited for.
    """
    wanted = sorted(set(places))
    found = await _find(session, wanted)
    missing = [place for place in wanted if place not in found]
    if missing:
        negative = [place.kind == DEBT or (place.party_id == HOUSE and place.kind in WORLD) for place in missing]
        await session.execute(_CREATE, {**_columns(missing), "negative": negative})
        found |= await _find(session, missing)
    return found


async def account_id(session: AsyncSession, party_id: int, asset_id: int, kind: str, reference: str = "") -> int:
    """The id of one account of a party, made when it is missing."""
    place = Place(party_id, asset_id, kind, reference)
    return (await find_or_create(session, [place]))[place]


async def house_account(session: AsyncSession, kind: str, asset_id: int, reference: str = "") -> int:
    """The id of an account of the house, made when it is missing.

    Kinds: fees (``reference`` is the carrier, so that carriers do not queue for one
    row), coin_budget, and those that may go negative: carrier, provider,
    coin_issue, uncaptured, reversals.
    """
    return await account_id(session, HOUSE, asset_id, kind, reference)


async def lock(session: AsyncSession, ids: Iterable[int]) -> Ledger:
    """Lock every account that a transaction will touch, at once and in id order.

    Two transactions that share accounts then queue behind each other; locking them
    one by one as they come up lets the two deadlock. Rows of instructions, payments
    and custodies are locked before this, never after.

    Raises:
        UnknownAccount: one of them does not exist.
    """
    wanted = set(ids)
    rows = await session.execute(_LOCK, {"ids": sorted(wanted)})
    ledger = Ledger.of(Account(*row) for row in rows)
    if missing := wanted - ledger.accounts.keys():
        raise UnknownAccount(f"There is no account {min(missing)}.")
    return ledger


async def save(session: AsyncSession, ledger: Ledger) -> None:
    """Write the ledger's new transfers and balances: one statement, however many there are."""
    made, ledger.transfers = ledger.transfers, []
    if not made:
        return
    merged = [_merged(transfer) for transfer in made]
    rows = [
        (position, account, int(transfer.kind), transfer.reference, available, held)
        for position, (transfer, changes) in enumerate(zip(made, merged, strict=True), start=1)
        for account, (available, held) in changes.items()
    ]
    names = ("positions", "accounts", "kinds", "references", "available", "held")
    total = _sum(merged)
    await session.execute(
        _SAVE,
        {
            "count": len(made),
            **dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)),
            "ids": list(total),
            "more_available": [available for available, _ in total.values()],
            "more_held": [held for _, held in total.values()],
        },
    )


def _merged(transfer: Transfer) -> dict[int, tuple[int, int]]:
    """One change per account: a transfer may name an account twice, its stored rows may not."""
    return _sum({posting.account_id: (posting.available, posting.held)} for posting in transfer.postings)


def _sum(changes: Iterable[Mapping[int, tuple[int, int]]]) -> dict[int, tuple[int, int]]:
    total: dict[int, tuple[int, int]] = {}
    for change in changes:
        for account, (available, held) in change.items():
            before = total.get(account, (0, 0))
            total[account] = (before[0] + available, before[1] + held)
    return total


async def _find(session: AsyncSession, places: list[Place]) -> dict[Place, int]:
    rows = await session.execute(_FIND, _columns(places))
    return {
        Place(party_id, asset_id, kind, reference or ""): found for party_id, asset_id, kind, reference, found in rows
    }


def _columns(places: list[Place]) -> dict[str, list[object]]:
    return {
        "parties": [place.party_id for place in places],
        "assets": [place.asset_id for place in places],
        "kinds": [place.kind for place in places],
        "references": [place.reference or None for place in places],
    }
