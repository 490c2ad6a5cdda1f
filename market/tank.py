"""The community tank: data that members give to whoever needs it, and that others take out of it at the end of a month.

There is one for each kind of data: carrier, scope, app and expiry. What is in it stays reserved at the carrier, in the
giver's bucket, until it moves to a taker's line; it keeps its date and can't be sold on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from market import custody, giving, rules
from market.announcing import announce
from market.custody import SHANGHAI, month_start
from market.destiny_tables import TankDepositRow, TankWithdrawalRow
from market.engine.commands import SETTLEMENT_WAKE, party_channel
from market.instruments import Tradable, tradable
from market.keys import check_key, reused
from market.parties import Member, line_row
from market.purses import lock_party
from market.refusals import BadInput, NotAllowed, TooMany
from market.settings import Settings
from market.tables import LineRow
from market.venue import Venue
from settlement import accounts, data_gifts
from settlement.accounts import HOUSE, Place
from settlement.data_gifts import NewGift
from settlement.ledger import Kind, Ledger
from settlement.tables import CustodyRow

_TAKEN = text("""
    select coalesce(sum(gift.amount_mb), 0)::bigint
    from tank_withdrawal withdrawal join data_gift gift on gift.withdrawal_id = withdrawal.id
    where withdrawal.line_id = :line and withdrawal.created_at >= :since and gift.status <> 'refused'
""")
# First given, first taken. Read under the lock of the tank's account, so that nobody else shares the same MB out.
_SHARE_OUT = text("""
    with stock as (
        select deposit.id, deposit.custody_id, deposit.party_id, amount_mb - returned_mb - coalesce((
            select sum(gift.amount_mb) from data_gift gift
            where gift.custody_id = deposit.custody_id and gift.purpose = 'tank' and gift.status <> 'refused'
        ), 0)::bigint as left_mb
        from tank_deposit deposit join custody on custody.id = deposit.custody_id
        where deposit.asset_id = :asset and ended_at is null and custody.line_id <> :line
    ), queue as (
        select *, sum(left_mb) over (order by id)::bigint - left_mb as before_mb from stock where left_mb > 0
    )
    select custody_id, party_id, least(left_mb, :wanted - before_mb) as taken_mb from queue
    where before_mb < :wanted order by id
""")


@dataclass(frozen=True, slots=True)
class NewDeposit:
    """All that is available of one custody, to become the tank's."""

    custody_id: int
    party_id: int
    account_id: int
    asset_id: int
    amount_mb: int


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """Data on its way from the tank to a line."""

    id: int
    amount_mb: int


def reference_of(deposit_id: int) -> str:
    """The ledger's reference for what one deposit brings in and leaves over."""
    return f"tnk_{deposit_id}"


def place(asset_id: int) -> Place:
    """Where the books keep what is in the tank of one kind of data."""
    return Place(HOUSE, asset_id, "tank")


def check_withdrawal(amount_mb: int, taken_mb: int, now: datetime, *, monthly_mb: int, from_day: int) -> None:
    """Refuse what a line may not take out of the tank: before the day of the month, or beyond the month's amount.

    Raises:
        NotAllowed: it is too early in the carrier's month.
        TooMany: the line has taken, with this, more than a month's amount.
    """
    if now.astimezone(SHANGHAI).day < from_day:
        raise NotAllowed(
            f"The tank is for the end of the month: data can be taken from day {from_day} on.", code="tank_not_yet"
        )
    if taken_mb + amount_mb > monthly_mb:
        left = max(0, monthly_mb - taken_mb)
        raise TooMany(
            f"A line takes at most {monthly_mb:,} MB out of the tank in a month; yours has {left:,} MB left.",
            code="tank_limit",
            field="amount_mb",
        )


# Giving.


async def deposit(venue: Venue, member: Member, symbol: str, amount_mb: int, *, line_id: int | None, key: str) -> int:
    """Give data of one of the member's lines to the tank; gives the deposit's id. The same key gives once.

    Raises:
        BadInput: the amount is none.
        NotAllowed: the carrier or its rules stand against it.
        OutcomeUnknown: the carrier gave no definite answer; ask again with the same key.
    """
    check_key(key)
    async with venue.sessions() as session:
        instrument = await tradable(session, symbol)
    check_data(instrument, amount_mb)
    held = await custody.reserve(venue, member, instrument, amount_mb, line_id=line_id, key=f"tank/{key}")
    async with venue.sessions.begin() as session:
        tanks = await accounts.find_or_create(session, [place(instrument.asset_id)])
        row = await lock_custody(session, held.id)
        known = await session.scalar(select(TankDepositRow.id).where(TankDepositRow.custody_id == row.id))
        if known is not None:
            return known
        if row.status != "reserved":
            raise NotAllowed("This data has been given back to you meanwhile. Please try again.", code="custody_gone")
        whole = NewDeposit(row.id, row.party_id, row.account_id, instrument.asset_id, row.quantity_mb)
        ledger = await accounts.lock(session, [row.account_id, *tanks.values()])
        (made,) = await fill(session, ledger, tanks, [whole])
        await accounts.save(session, ledger)
    await announce(venue.redis, party_channel(member.party_id))
    return made


async def fill(
    session: AsyncSession, ledger: Ledger, tanks: dict[Place, int], deposits: Sequence[NewDeposit]
) -> list[int]:
    """Make custodies the tank's; gives the deposits' ids. The caller has locked both sides, saves and commits."""
    if not deposits:
        return []
    columns = ("custody_id", "party_id", "asset_id", "amount_mb")
    rows = [{name: getattr(each, name) for name in columns} for each in deposits]
    made = insert(TankDepositRow).returning(TankDepositRow.id, sort_by_parameter_order=True)
    ids = list(await session.scalars(made, rows))
    for deposit_id, each in zip(ids, deposits, strict=True):
        target, reference = tanks[place(each.asset_id)], reference_of(deposit_id)
        ledger.move(Kind.TANK_FILLED, reference, source=each.account_id, target=target, amount=each.amount_mb)
    return ids


def check_data(instrument: Tradable, amount_mb: int) -> None:
    """Refuse what can't be given as data.

    Raises:
        BadInput: it is no data, or no amount, or its date has passed.
    """
    if instrument.carrier is None:
        raise BadInput("Only data can be given here.", field="symbol")
    if amount_mb < 1:
        raise BadInput("Please enter a whole number above zero.", field="amount_mb")
    if instrument.expires_at is not None and instrument.expires_at <= datetime.now(UTC):
        raise BadInput("The date of this data has passed.", field="symbol")


async def lock_custody(session: AsyncSession, custody_id: int) -> CustodyRow:
    query = select(CustodyRow).where(CustodyRow.id == custody_id).with_for_update(key_share=True)
    return (await session.scalars(query.execution_options(populate_existing=True))).one()


# Taking.


async def withdraw(
    venue: Venue, member: Member, symbol: str, amount_mb: int, *, line_id: int, key: str, now: datetime
) -> Withdrawal:
    """Take data out of the tank for one of the member's lines, first come, first served. The same key takes once.

    Raises:
        BadInput: the amount is none.
        NotAllowed: it is too early, the tank has less, or the carrier's rules stand against it.
        TooMany: the line has taken a month's amount.
        KeyReused: the key was used for another request.
    """
    check_key(key)
    async with venue.sessions.begin() as session:
        instrument = await tradable(session, symbol)
        check_data(instrument, amount_mb)
        tanks = await accounts.find_or_create(session, [place(instrument.asset_id)])
        await lock_party(session, member)
        row = await _known(session, member, key)
        if row is None:
            line = await line_row(session, member, line_id)
            await _check(session, venue.settings, instrument, line, amount_mb=amount_mb, now=now)
            row = await _take(session, instrument, line, tanks, amount_mb=amount_mb, key=key, now=now)
        elif (row.line_id, row.asset_id, row.amount_mb) != (line_id, instrument.asset_id, amount_mb):
            raise reused()
    await announce(venue.redis, SETTLEMENT_WAKE, party_channel(member.party_id))
    return Withdrawal(row.id, row.amount_mb)


async def _known(session: AsyncSession, member: Member, key: str) -> TankWithdrawalRow | None:
    own = select(TankWithdrawalRow).where(TankWithdrawalRow.party_id == member.party_id)
    found: TankWithdrawalRow | None = await session.scalar(own.where(TankWithdrawalRow.key == key))
    return found


async def _check(
    session: AsyncSession, settings: Settings, instrument: Tradable, line: LineRow, *, amount_mb: int, now: datetime
) -> None:
    if line.carrier != instrument.carrier:
        raise NotAllowed("This line is at another carrier.", code="other_carrier", field="line_id")
    taken = await session.scalar(_TAKEN, {"line": line.id, "since": month_start(now)}) or 0
    check_withdrawal(amount_mb, taken, now, monthly_mb=settings.tank_monthly_mb, from_day=settings.tank_from_day)
    profile = await rules.profile(session, line.carrier, now)
    taker = (await giving.parties(session, [line.id], now))[line.id]
    assert instrument.expires_at is not None
    code = giving.receiving_obstacle(profile, taker, amount_mb) or giving.shut(profile, instrument.expires_at, now)
    if code is not None:
        raise NotAllowed(giving.WORDS[code], code=code, field="amount_mb")


async def _take(
    session: AsyncSession,
    instrument: Tradable,
    line: LineRow,
    tanks: dict[Place, int],
    *,
    amount_mb: int,
    key: str,
    now: datetime,
) -> TankWithdrawalRow:
    """Share what is asked for out over the oldest deposits, and instruct the carrier for each part."""
    (tank,) = tanks.values()
    ledger = await accounts.lock(session, [tank])
    wanted = {"asset": instrument.asset_id, "line": line.id, "wanted": amount_mb}
    shares = list(await session.execute(_SHARE_OUT, wanted))
    found_mb = sum(share.taken_mb for share in shares)
    if found_mb < amount_mb:
        raise NotAllowed(f"The tank has {found_mb:,} MB for this line just now.", code="tank_low", field="amount_mb")
    row = TankWithdrawalRow(
        party_id=line.party_id, key=key, line_id=line.id, asset_id=instrument.asset_id, amount_mb=amount_mb,
        created_at=now,
    )  # fmt: skip
    session.add(row)
    await session.flush()
    gifts = [
        NewGift(
            purpose="tank", custody_id=share.custody_id, account_id=tank, giver_id=share.party_id,
            receiver_id=line.party_id, receiver_line_id=line.id, carrier=line.carrier, amount_mb=share.taken_mb,
            withdrawal_id=row.id,
        )
        for share in shares
    ]  # fmt: skip
    await data_gifts.begin(session, ledger, gifts)
    await accounts.save(session, ledger)
    return row
