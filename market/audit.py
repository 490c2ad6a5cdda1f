"""The house's own audit chain: who did what that is not an order, each entry linked to the former by its hash.

Entries name parties, officers and lines by their ids alone. So a person's number
can be erased from the vault without breaking a link.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

import msgspec
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from market.tables import AuditLinkRow

CHAIN = "house"
GENESIS = bytes(32)
"""What the first link is linked to."""
CHAIN_LOCK = 0x5F_A0D17
"""Advisory lock on the chain's end; held until the commit, so append last."""
NUMBER = re.compile(r"(?<![0-9a-f])(?:\+|00)?(?:86)?1[3-9][0-9]{9}(?![0-9a-f])")


Detail = Mapping[str, str | int | bool | None]


class Entry(msgspec.Struct, frozen=True):
    """What a link's stored bytes say. ``actor`` and ``subject`` are like ``party:12``, ``officer:3``, ``key:8``."""

    at: datetime
    actor: str
    action: str
    subject: str
    detail: Detail


encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Anchor:
    """The end of a chain at some time, kept outside of the database, so that a tail that was cut off is missed."""

    number: int
    hash: bytes


def party(party_id: int) -> str:
    return f"party:{party_id}"


def officer(officer_id: int) -> str:
    return f"officer:{officer_id}"


async def append(
    session: AsyncSession,
    actor: str,
    action: str,
    subject: str,
    detail: Detail,
) -> None:
    """Add a link within the caller's transaction, after everything else that it does."""
    at = datetime.now(UTC)
    payload = encode(Entry(at, actor, action, subject, detail))
    if NUMBER.search(payload.decode()):
        raise ValueError("An audit entry names no phone number.")

    await session.execute(select(func.pg_advisory_xact_lock(CHAIN_LOCK)))
    end = await anchor(session)

    link = AuditLinkRow(
        chain=CHAIN,
        number=end.number + 1,
        payload=payload,
        former_hash=end.hash,
        hash=link_hash(end.hash, payload),
        at=at,
    )
    session.add(link)
    await session.flush()


async def anchor(session: AsyncSession) -> Anchor:
    """The present end of the chain."""
    newest = select(AuditLinkRow).where(AuditLinkRow.chain == CHAIN).order_by(AuditLinkRow.number.desc()).limit(1)
    row = await session.scalar(newest)
    return Anchor(row.number, row.hash) if row else Anchor(0, GENESIS)


def link_hash(former_hash: bytes, payload: bytes) -> bytes:
    return sha256(former_hash + payload).digest()


def broken_links(rows: Iterable[AuditLinkRow], kept: Anchor | None = None) -> list[str]:
    """Every fault of a whole chain in the order of its numbers, in words; a kept anchor must still be in it."""
    faults: list[str] = []
    number, former_hash = 0, GENESIS
    hashes = {0: GENESIS}
    for row in rows:
        faults += [f"{row.chain} link {row.number}: {fault}" for fault in _faults(row, number + 1, former_hash)]
        number, former_hash = row.number, row.hash
        hashes[number] = row.hash
    if kept and hashes.get(kept.number) != kept.hash:
        faults.append(f"link {kept.number} is not the one that was kept outside")
    return faults


def _faults(row: AuditLinkRow, number: int, former_hash: bytes) -> list[str]:
    """What is wrong with one link, given what came before it."""
    if row.payload is None:
        return ["has no payload"]
    faults = []
    if row.number != number:
        faults.append(f"follows link {number - 1}")
    if row.former_hash != former_hash:
        faults.append("does not name the former link's hash")
    if row.hash != link_hash(row.former_hash, row.payload):
        faults.append("does not have the hash of its bytes")
    if _time_of(row.payload) != row.at:
        faults.append("has another time than its bytes")
    return faults


def _time_of(payload: bytes) -> datetime | None:
    try:
        return msgspec.json.decode(payload, type=Entry).at
    except msgspec.DecodeError:
        return None
