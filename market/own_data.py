"""Everything that the house keeps about a member, as one JSON document that is written while it is read."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, LargeBinary, Table, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from market import limits, step_up
from market.limits import Limit
from market.parties import Member
from market.tables import LineRow, PartyRow, TradeRow
from market.venue import Venue
from settlement.base import Base
from settlement.ledger_tables import AccountRow, PostingRow

EXPORTS_OF_A_PARTY = Limit("exports of a party", count=3, seconds=86_400)
ROWS_AT_ONCE = 500
MOST_ROWS = 200_000
"""Of one table; nobody's history is longer, and nothing here runs without end."""
NOT_ABOUT_THE_MEMBER = frozenset({"account", "line", "surveillance_event"})
"""The first two are told in another form; the third is what the house suspects, not what it knows."""
OTHERS = frozenset({"group_id", "buyer_id", "seller_id", "inviter_id", "invited_id", "payer_id"})
"""Columns that would name somebody else; so would any other that ends in ``_party_id``."""

encode = msgspec.json.Encoder().encode


async def export(venue: Venue, member: Member) -> AsyncIterator[bytes]:
    """The document in parts, in the order of its tables; each is read through one open cursor.

    Raises:
        StepUpNeeded: the session has to prove itself first.
        LimitReached: it was asked for too often.
    """
    await step_up.demand(venue, member, step_up.EXPORT)
    await limits.take(venue.redis, venue.vault, EXPORTS_OF_A_PARTY.of(str(member.party_id)))
    return _document(venue, member)


async def _document(venue: Venue, member: Member) -> AsyncIterator[bytes]:
    yield b'{"exported_at":' + encode(datetime.now(UTC))
    async with venue.sessions() as session:
        party = PartyRow.__table__
        yield b',"member":' + encode(await _one(session, party, party.c.id == member.party_id))
        yield b',"lines":' + encode(await _lines(session, venue, member))
        for table in _tables():
            async for part in _rows(session, table.name, _own(table, table.c.party_id == member.party_id)):
                yield part
        async for part in _rows(session, "trades", _trades(member), member.party_id):
            yield part
        postings = PostingRow.__table__
        own = select(AccountRow.id).where(AccountRow.party_id == member.party_id)
        async for part in _rows(session, "postings", _own(postings, postings.c.account_id.in_(own))):
            yield part
    yield b"}\n"


def _tables() -> list[Table]:
    """Every table whose rows belong to a party, also those that were made after this was written."""
    return [
        table
        for table in Base.metadata.sorted_tables
        if "party_id" in table.c and not table.info.get("is_view") and table.name not in NOT_ABOUT_THE_MEMBER
    ]


def _own(table: Any, condition: ColumnElement[bool]) -> Any:
    """A table's rows in the order of their key, without secrets and without anybody else."""
    told = [
        column
        for column in table.c
        if not isinstance(column.type, LargeBinary)
        and column.name not in OTHERS
        and not (column.name.endswith("_party_id"))
    ]
    return select(*told).where(condition).order_by(*table.primary_key.columns).limit(MOST_ROWS)


def _trades(member: Member) -> Any:
    trades = TradeRow.__table__
    own = or_(trades.c.buyer_id == member.party_id, trades.c.seller_id == member.party_id)
    told = [
        trades.c[name] for name in ("id", "instrument_id", "price_minor", "quantity", "seller_id", "fee_minor", "at")
    ]
    return select(*told).where(own).order_by(trades.c.id).limit(MOST_ROWS)


async def _rows(session: AsyncSession, name: str, query: Any, seller_is: int | None = None) -> AsyncIterator[bytes]:
    """One section of the document: ``"name":[...]``."""
    yield b"," + encode(str(name)) + b":["
    first = True
    async for row in await session.stream(query.execution_options(yield_per=ROWS_AT_ONCE)):
        told = {str(name): value for name, value in row._mapping.items()}  # noqa: SLF001 - SQLAlchemy's public name for it
        if seller_is is not None:
            is_sale = told.pop("seller_id") == seller_is
            told |= {"side": "sell" if is_sale else "buy", "fee_minor": told["fee_minor"] if is_sale else 0}
        yield (b"" if first else b",") + encode(told)
        first = False
    yield b"]"


async def _one(session: AsyncSession, table: Any, condition: ColumnElement[bool]) -> Mapping[str, Any]:
    row = (await session.execute(_own(table, condition))).one()
    return {str(name): value for name, value in row._mapping.items()}  # noqa: SLF001 - the same


async def _lines(session: AsyncSession, venue: Venue, member: Member) -> list[dict[str, Any]]:
    """The member's lines with their numbers, which are the member's own to know."""
    found = await session.scalars(select(LineRow).where(LineRow.party_id == member.party_id).order_by(LineRow.id))
    return [
        {
            "number": venue.vault.open(line.number_sealed) if line.state != "closed" else None,
            "carrier": line.carrier,
            "province": line.province,
            "plan": line.plan,
            "state": line.state,
            "verified_at": line.verified_at,
        }
        for line in found
    ]
