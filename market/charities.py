"""Charities: one at each carrier may receive data that members give. What is given moves to its line at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from market import custody, giving, rules, tank
from market.announcing import announce
from market.destiny_tables import CharityRow
from market.engine.commands import SETTLEMENT_WAKE, party_channel
from market.instruments import tradable
from market.keys import check_key
from market.numbers import canonical_number
from market.parties import Member, line_or_invitation
from market.refusals import NotAllowed
from market.tables import PartyRow
from market.venue import Venue
from settlement import accounts, data_gifts
from settlement.data_gift_tables import DataGiftRow
from settlement.data_gifts import NewGift


@dataclass(frozen=True, slots=True)
class Charity:
    """Who receives given data at a carrier, and on which line."""

    carrier: str
    name: str
    party_id: int
    line_id: int


async def of_carriers(session: AsyncSession) -> Mapping[str, Charity]:
    """The charities by carrier."""
    rows = await session.scalars(select(CharityRow).order_by(CharityRow.carrier))
    return {row.carrier: Charity(row.carrier, row.name, row.party_id, row.line_id) for row in rows}


async def appoint(venue: Venue, carrier: str, name: str, phone: str) -> Charity:
    """Make the owner of a number the charity of a carrier, in place of the one before.

    Raises:
        BadInput: the number is none.
        NotAllowed: it belongs to a line of another carrier.
    """
    async with venue.sessions.begin() as session:
        line = await line_or_invitation(session, venue.vault, canonical_number(phone), carrier)
        if line.carrier != carrier:
            raise NotAllowed("This line is at another carrier.", code="other_carrier", field="phone")
        party = await session.get_one(PartyRow, line.party_id)
        party.name = name
        values = {"carrier": carrier, "name": name, "party_id": party.id, "line_id": line.id}
        added = insert(CharityRow).values(values)
        await session.execute(added.on_conflict_do_update(index_elements=["carrier"], set_=values))
        return Charity(carrier, name, party.id, line.id)


async def donate(venue: Venue, member: Member, symbol: str, amount_mb: int, *, line_id: int | None, key: str) -> int:
    """Give data of one of the member's lines to its carrier's charity; gives the gift's id. The same key gives once.

    Raises:
        BadInput: the amount is none.
        NotAllowed: there is no charity, or the carrier or its rules stand against it.
        OutcomeUnknown: the carrier gave no definite answer; ask again with the same key.
    """
    check_key(key)
    async with venue.sessions() as session:
        instrument = await tradable(session, symbol)
        charity = (await of_carriers(session)).get(instrument.carrier or "")
    tank.check_data(instrument, amount_mb)
    if charity is None:
        raise NotAllowed(giving.WORDS["no_charity"], code="no_charity", field="symbol")
    held = await custody.reserve(venue, member, instrument, amount_mb, line_id=line_id, key=f"charity/{key}")
    try:
        given = await _give(venue, held.id, charity, instrument.expires_at)
    except NotAllowed:
        await custody.give_back(venue, held.id)
        raise
    await announce(venue.redis, SETTLEMENT_WAKE, party_channel(member.party_id))
    return given


async def _give(venue: Venue, custody_id: int, charity: Charity, expires_at: datetime | None) -> int:
    """Set all of a custody aside for a charity, by as many transfers as it takes; gives the first one's id."""
    now = datetime.now(UTC)
    assert expires_at is not None
    async with venue.sessions.begin() as session:
        row = await tank.lock_custody(session, custody_id)
        known = select(DataGiftRow.id).where(DataGiftRow.custody_id == row.id).order_by(DataGiftRow.id).limit(1)
        if (given := await session.scalar(known)) is not None:
            return given
        if row.status != "reserved":
            raise NotAllowed("This data has been given back to you meanwhile. Please try again.", code="custody_gone")
        profile = await rules.profile(session, row.carrier, now)
        sides = await giving.parties(session, [row.line_id, charity.line_id], now)
        giver, taker = sides[row.line_id], sides[charity.line_id]
        code = giving.obstacle(profile, giver, taker, row.quantity_mb, expires_at=expires_at, now=now)
        if code is not None:
            raise NotAllowed(giving.WORDS[code], code=code, field="amount_mb")
        ledger = await accounts.lock(session, [row.account_id])
        gifts = [
            NewGift(
                purpose="charity", custody_id=row.id, account_id=row.account_id, giver_id=row.party_id,
                receiver_id=charity.party_id, receiver_line_id=charity.line_id, carrier=row.carrier, amount_mb=part,
            )
            for part in giving.parts(profile, row.quantity_mb)
        ]  # fmt: skip
        ids = await data_gifts.begin(session, ledger, gifts)
        await accounts.save(session, ledger)
        return ids[0]
