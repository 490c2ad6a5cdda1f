"""The statement of a wallet for one month: opening and closing balance, every entry, and what it comes to by kind."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from market.parties import Member
from market.refusals import BadInput
from market.venue import Venue
from settlement.ledger import Kind

AT_A_TIME = 1_000
MOST_MONTHS = 36
"""Months that are offered to choose from; older ones can still be asked for."""
YEARS = range(2000, 2200)

_WALLET = """
    select account.id, account.available + account.held as balance, account.held
    from account join asset on asset.id = account.asset_id
    where account.party_id = :party and account.kind = 'wallet' and asset.code = :currency
"""
_FIRST = text(f"select min(posting.at) from ({_WALLET}) wallet join posting on posting.account_id = wallet.id")  # noqa: S608 - our own text
# A sale's fee is the trade's: the entry of the seller's proceeds names it.
_ENTRIES = f"""
    select posting.transfer_id, posting.at, posting.kind, posting.reference, posting.available_change,
        posting.held_change, coalesce(case when sold.proceeds_account_id = wallet.id then sold.fee_minor end, 0) as fee
    from ({_WALLET}) wallet join posting on posting.account_id = wallet.id
    left join delivery sold on posting.kind = {int(Kind.SETTLED)} and posting.available_change > 0
        and sold.id = cast(nullif(substring(posting.reference from '^trd_([0-9]+)$'), '') as bigint)
    where posting.at >= :since and posting.at < :until
"""  # noqa: S608 - our own text
_HEAD = text(f"""
    with wallet as ({_WALLET}), later as (
        select coalesce(sum(available_change + held_change), 0)::bigint as change,
            coalesce(sum(held_change), 0)::bigint as held_change
        from wallet join posting on posting.account_id = wallet.id where posting.at >= :until
    )
    select wallet.balance - later.change as closing, wallet.held - later.held_change as held from wallet, later
""")  # noqa: S608 - our own text
_TOTALS = text(f"""
    select kind, count(*) as entries, sum(greatest(available_change + held_change, 0))::bigint as came_in,
        sum(-least(available_change + held_change, 0))::bigint as went_out, sum(fee)::bigint as fee
    from ({_ENTRIES}) each group by kind order by kind
""")  # noqa: S608 - our own text
_IN_ORDER = text(f"{_ENTRIES} order by posting.at, posting.transfer_id limit :limit")
_AFTER = text(
    f"{_ENTRIES} and (posting.at, posting.transfer_id) > (:at, :transfer) "
    "order by posting.at, posting.transfer_id limit :limit"
)


@dataclass(frozen=True, slots=True)
class Month:
    """A month by the clock of ``zone``."""

    year: int
    number: int
    zone: tzinfo

    @classmethod
    def named(cls, name: str, zone: tzinfo) -> "Month":
        """The month of ``2026-11``.

        Raises:
            BadInput: it is none.
        """
        try:
            first = date.fromisoformat(f"{name}-01")
        except ValueError:
            raise BadInput("Please choose a month.", field="month") from None
        if first.year not in YEARS:
            raise BadInput("Please choose a month.", field="month")
        return cls(first.year, first.month, zone)

    @classmethod
    def of(cls, at: datetime, zone: tzinfo) -> "Month":
        there = at.astimezone(zone)
        return cls(there.year, there.month, zone)

    @property
    def name(self) -> str:
        return f"{self.year:04}-{self.number:02}"

    @property
    def since(self) -> datetime:
        return datetime.combine(date(self.year, self.number, 1), time(), self.zone)

    @property
    def until(self) -> datetime:
        """The first moment of the next one."""
        following = date(self.year, self.number, 28) + timedelta(days=4)
        return datetime.combine(following.replace(day=1), time(), self.zone)

    @property
    def before(self) -> "Month":
        return Month.of(self.since - timedelta(days=1), self.zone)


@dataclass(frozen=True, slots=True)
class Total:
    """What the entries of one kind come to, in minor units."""

    kind: str
    entries: int
    in_minor: int
    out_minor: int
    fee_minor: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One movement. What is held is still the member's: only ``change_minor`` moves the balance."""

    id: int
    at: datetime
    kind: str
    reference: str
    change_minor: int
    held_minor: int
    """What was set aside by it, negative for what was let go."""
    fee_minor: int
    """Our fee, already taken off a sale's proceeds."""
    balance_minor: int
    """The balance after it, what is held included."""


@dataclass(frozen=True, slots=True)
class Statement:
    """The head of a statement. Amounts are minor units; balances count what is held as well."""

    member: Member
    month: Month
    currency: str
    made_at: datetime
    opening_minor: int
    closing_minor: int
    held_minor: int
    """What of the closing balance is set aside."""
    totals: tuple[Total, ...]

    @property
    def entries(self) -> int:
        return sum(total.entries for total in self.totals)

    @property
    def in_minor(self) -> int:
        return sum(total.in_minor for total in self.totals)

    @property
    def out_minor(self) -> int:
        return sum(total.out_minor for total in self.totals)

    @property
    def fee_minor(self) -> int:
        return sum(total.fee_minor for total in self.totals)

    @property
    def is_running(self) -> bool:
        """Whether the month was not over when this was made."""
        return self.made_at < self.month.until


async def months(session: AsyncSession, member: Member, currency: str, zone: tzinfo, now: datetime) -> list[Month]:
    """The months since the wallet's first entry, newest first."""
    first = await session.scalar(_FIRST, {"party": member.party_id, "currency": currency})
    found = [Month.of(now, zone)]
    while first is not None and found[-1].since > first and len(found) < MOST_MONTHS:
        found.append(found[-1].before)
    return found


@asynccontextmanager
async def snapshot(venue: Venue) -> AsyncIterator[AsyncSession]:
    """One moment of the books, so that head and entries of a statement agree."""
    async with venue.engine.connect() as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        async with AsyncSession(connection) as session:
            yield session


async def head(session: AsyncSession, member: Member, month: Month, currency: str) -> Statement:
    """Balances and totals of a month, by two statements. A wallet that was never opened is empty."""
    values = {"party": member.party_id, "currency": currency, "since": month.since, "until": month.until}
    found = (await session.execute(_HEAD, values)).one_or_none()
    rows = await session.execute(_TOTALS, values)
    totals = tuple(Total(Kind(row.kind).name.lower(), row.entries, row.came_in, row.went_out, row.fee) for row in rows)
    closing, held = (0, 0) if found is None else found
    change = sum(total.in_minor - total.out_minor for total in totals)
    return Statement(member, month, currency, datetime.now(UTC), closing - change, closing, held, totals)


async def entries(session: AsyncSession, statement: Statement, most: int | None = None) -> AsyncIterator[Entry]:
    """The entries of a statement, oldest first, a thousand at a time; ``most`` ends them early."""
    values = {
        "party": statement.member.party_id,
        "currency": statement.currency,
        "since": statement.month.since,
        "until": statement.month.until,
    }
    balance, given = statement.opening_minor, 0
    query = _IN_ORDER
    place: dict[str, datetime | int] = {}
    while most is None or given < most:
        limit = AT_A_TIME if most is None else min(AT_A_TIME, most - given)
        rows = (await session.execute(query, {**values, **place, "limit": limit})).all()
        for row in rows:
            balance += row.available_change + row.held_change
            yield Entry(
                row.transfer_id,
                row.at,
                Kind(row.kind).name.lower(),
                row.reference,
                row.available_change + row.held_change,
                row.held_change,
                row.fee,
                balance,
            )
        given += len(rows)
        if len(rows) < limit:
            return
        query, place = _AFTER, {"at": rows[-1].at, "transfer": rows[-1].transfer_id}
