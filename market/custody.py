"""What an order in data needs of the carrier: the seller's data reserved, and a line that may receive the buyer's."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from market import reserving, rules
from market.engine.caps import Line, Tally, day_of
from market.engine.times import microseconds
from market.instruments import Tradable
from market.keys import reused
from market.line_tables import LineUsageRow
from market.parties import Member, line_row
from market.refusals import NotAllowed, OutcomeUnknown
from market.tables import LineRow
from market.venue import Venue
from settlement import accounts
from settlement import custody as books
from settlement.carriers.errors import CarrierError
from settlement.carriers.values import Bucket
from settlement.claims import Claim
from settlement.tables import CustodyRow

SHANGHAI = ZoneInfo("Asia/Shanghai")
"""Carriers count their months by this clock."""


async def reserve(
    venue: Venue, member: Member, instrument: Tradable, amount_mb: int, *, line_id: int | None, key: str
) -> CustodyRow:
    """Reserve the seller's data at the carrier and take it into the books; the same key finds the same custody.

    Raises:
        NotAllowed: the carrier's rules, or the carrier itself, stand against it.
        OutcomeUnknown: the carrier gave no definite answer; ask again with the same key.
    """
    row = await _known(venue, member, instrument, amount_mb, key)
    if row is None:
        row, claim = await _request(venue, member, instrument, amount_mb, line_id=line_id, key=key)
        row = await reserving.carry_out(venue, row, claim)
    elif row.status == "requested":
        async with venue.sessions.begin() as session:
            claim = await reserving.take(session, venue, row)
        row = await reserving.carry_out(venue, row, claim)
    if row.status != "reserved":
        raise NotAllowed(
            "The carrier did not set this data aside. Place a new order to try again.", code="custody_refused"
        )
    return row


async def give_back(venue: Venue, custody_id: int) -> None:
    """Return a custody that the engine refused to sell from."""
    async with venue.sessions() as session:
        await books.give_back(session, custody_id)
        await session.commit()


async def receiving_line(
    session: AsyncSession, member: Member, instrument: Tradable, amount_mb: int, line_id: int | None
) -> LineRow:
    """The member's line that the purchase is delivered to.

    Raises:
        NotAllowed: none of the member's lines can receive it.
    """
    line = await _line(session, member, instrument, line_id)
    now = datetime.now(UTC)
    profile = await rules.profile(session, line.carrier, now)
    moved = await _moved(session, line, now)
    rules.check_purchase(
        profile,
        rules.Purchase(
            amount_mb,
            line.plan,
            line.state,
            received_this_month_mb=moved.month.received_mb,
            received_today_mb=moved.today.received_mb,
            receipts_this_month=moved.month.received,
            receipts_today=moved.today.received,
        ),
    )
    return line


def month_start(now: datetime) -> datetime:
    """The first moment of the carrier's month."""
    return now.astimezone(SHANGHAI).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def fits(instrument: Tradable, bucket: Bucket) -> bool:
    """Whether a bucket holds what the instrument trades: the same scope, app and expiry."""
    return (bucket.scope, bucket.app_scope, bucket.expires_at) == (
        instrument.scope,
        instrument.app_scope,
        instrument.expires_at,
    )


async def _known(venue: Venue, member: Member, instrument: Tradable, amount_mb: int, key: str) -> CustodyRow | None:
    async with venue.sessions() as session:
        return _same(await _of_key(session, member, key), instrument, amount_mb)


async def _of_key(session: AsyncSession, member: Member, key: str) -> CustodyRow | None:
    row: CustodyRow | None = await session.scalar(
        select(CustodyRow).where(CustodyRow.party_id == member.party_id, CustodyRow.key == key)
    )
    return row


def _same(row: CustodyRow | None, instrument: Tradable, amount_mb: int) -> CustodyRow | None:
    """The custody of that key, which has to be about the same."""
    if row is not None and (row.carrier, row.quantity_mb) != (instrument.carrier, amount_mb):
        raise reused()
    return row


async def _request(
    venue: Venue, member: Member, instrument: Tradable, amount_mb: int, *, line_id: int | None, key: str
) -> tuple[CustodyRow, Claim | None]:
    """Check the rules against what the carrier says, and write down what will be asked before asking."""
    async with venue.sessions() as session:
        line = await _line(session, member, instrument, line_id)
        now = datetime.now(UTC)
        profile = await rules.profile(session, line.carrier, now)
        moved = await _moved(session, line, now)
    bucket = await _bucket(venue, line, instrument)
    rules.check_sale(
        profile,
        rules.Sale(
            amount_mb, bucket.remaining_mb, line.base_mb, bucket.transferable, bucket.app_scope, line.plan,
            line.state, moved.month.sent, bucket.distributable, moved.today.sent,
        ),
    )  # fmt: skip

    async with venue.sessions() as session:
        account = await accounts.account_id(session, member.party_id, instrument.asset_id, "custody", key)
        statement = insert(CustodyRow).values(
            party_id=member.party_id, key=key, line_id=line.id, account_id=account, carrier=line.carrier,
            bucket_id=bucket.id, quantity_mb=amount_mb, status="requested", expires_at=bucket.expires_at,
        ).on_conflict_do_nothing()  # fmt: skip
        await session.execute(statement)
        row = _same(await _of_key(session, member, key), instrument, amount_mb)
        assert row is not None
        claim = await reserving.take(session, venue, row) if row.status == "requested" else None
        await session.commit()
    return row, claim


async def _bucket(venue: Venue, line: LineRow, instrument: Tradable) -> Bucket:
    try:
        buckets = await venue.carriers[line.carrier].buckets(venue.vault.open(line.number_sealed))
    except CarrierError as error:
        raise OutcomeUnknown("The carrier does not answer just now. Try again in a moment.") from error
    fitting = [bucket for bucket in buckets if fits(instrument, bucket)]
    if not fitting:
        raise NotAllowed("This line has no data of this kind.", code="insufficient_data", field="lots")
    return max(fitting, key=lambda bucket: (bucket.transferable, bucket.distributable, bucket.remaining_mb))


async def _line(session: AsyncSession, member: Member, instrument: Tradable, line_id: int | None) -> LineRow:
    """The line that was named, or the member's only one at the carrier."""
    if line_id is None:
        own = select(LineRow.id).where(LineRow.party_id == member.party_id, LineRow.carrier == instrument.carrier)
        found = list(await session.scalars(own.order_by(LineRow.id)))
        if not found:
            raise NotAllowed("You have no line at this carrier.", code="no_line", field="line_id")
        if len(found) > 1:
            raise NotAllowed("You have several lines at this carrier: choose one.", code="choose_line", field="line_id")
        (line_id,) = found
    line = await line_row(session, member, line_id)
    if line.carrier != instrument.carrier:
        raise NotAllowed("This line is at another carrier.", code="other_carrier", field="line_id")
    return line


async def _moved(session: AsyncSession, line: LineRow, now: datetime) -> Line:
    """What the line has moved, as the engine counts it: a trade that was refunded still counts."""
    row = await session.get(LineUsageRow, line.id)
    if row is None:
        return Line()
    moved = Line(
        line.carrier, None, row.day, Tally(row.sent_today, row.received_today, row.received_today_mb),
        Tally(row.sent_month, row.received_month, row.received_month_mb),
    )  # fmt: skip
    moved.roll(day_of(microseconds(now)))
    return moved
