"""Gifts of coins by a link: whoever has its code may claim them, once, until it expires.

The code is made from the member's key by our secret, so that the same request always has the same link; only its hash
is kept. The coins are held in the giver's wallet until they are claimed or given back.
"""

import base64
import hmac
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from market import coins
from market.announcing import announce
from market.assets import COIN
from market.custody import month_start
from market.engine.commands import party_channel
from market.gift_link_tables import GiftLinkRow
from market.keys import check_key, reused
from market.parties import Member
from market.purses import ensure_wallet, lock_party
from market.refusals import BadInput, Conflict, NotAllowed, NotFound
from market.rounds import Rounds, beside
from market.venue import Venue
from settlement import accounts
from settlement.ledger import InsufficientFunds, Kind, Posting
from settlement.notices import tell

VALID = timedelta(hours=48)
CODE_BYTES = 16
PURPOSE = b"surplusflow/gifts/code"
LOOK_SECONDS = 30.0
BATCH = 200


@dataclass(frozen=True, slots=True)
class GiftLink:
    """One link as the page shows it. ``code`` is known to its giver, and to whoever came with it."""

    id: int
    code: str
    giver_id: int
    coins: int
    status: str
    expires_at: datetime
    claimed_by: int | None

    def is_open(self, now: datetime) -> bool:
        return self.status == "open" and now < self.expires_at


def reference_of(link_id: int) -> str:
    """The ledger's reference for all that one link moves."""
    return f"gfl_{link_id}"


def expiry(now: datetime) -> datetime:
    """When a link made now expires: after 48 hours, or with the month by the clock of Shanghai if that ends before."""
    return min(now + VALID, month_start(month_start(now) + timedelta(days=32)))


async def make(venue: Venue, member: Member, count: int, key: str, now: datetime) -> GiftLink:
    """Set coins aside for whoever gets the link. The same key finds the same link.

    Raises:
        BadInput: the number of coins is none.
        NotAllowed: the coins are not there.
        TooMany: the day's gifts or the month's coins are used up.
        KeyReused: the key was used for another gift.
    """
    check_key(key)
    if not 1 <= count <= coins.LARGEST_GIFT_COINS:
        raise BadInput(f"A gift is 1 to {coins.LARGEST_GIFT_COINS:,} coins.", field="coins")
    code = _code(venue.settings.secret_key, member.party_id, key)
    async with venue.sessions.begin() as session:
        wallet = await ensure_wallet(session, member.party_id, COIN)
        await lock_party(session, member)
        own = select(GiftLinkRow).where(GiftLinkRow.party_id == member.party_id, GiftLinkRow.key == key)
        row = await session.scalar(own)
        if row is None:
            await coins.check_giving(session, wallet, count)
            row = GiftLinkRow(
                party_id=member.party_id, key=key, code_hash=_hash(code), account_id=wallet, coins=count,
                status="open", expires_at=expiry(now), claimed_by=None, ended_at=None,
            )  # fmt: skip
            session.add(row)
            await session.flush()
            await _hold(session, row)
        elif row.coins != count:
            raise reused()
    await announce(venue.redis, party_channel(member.party_id))
    return _link(row, code)


async def _hold(session: AsyncSession, row: GiftLinkRow) -> None:
    ledger = await accounts.lock(session, [row.account_id])
    try:
        ledger.hold(row.account_id, row.coins, kind=Kind.GIFT_LINK_HELD, reference=reference_of(row.id))
    except InsufficientFunds as refused:
        raise NotAllowed(
            "You don't have that many coins available.", code="insufficient_coins", field="coins"
        ) from refused
    await accounts.save(session, ledger)


async def find(session: AsyncSession, code: str) -> GiftLink:
    """The link with this code, in any state.

    Raises:
        NotFound: there is none.
    """
    row = await session.scalar(select(GiftLinkRow).where(GiftLinkRow.code_hash == _hash(code)))
    if row is None:
        raise NotFound("There is no such gift.")
    return _link(row, code)


async def claim(venue: Venue, member: Member, code: str, now: datetime) -> GiftLink:
    """Move the coins to whoever claims them first. Claimed again by the same member, it is theirs already.

    Raises:
        NotFound: there is no such gift.
        NotAllowed: it is the member's own.
        Conflict: somebody else was first, or it has expired.
    """
    async with venue.sessions.begin() as session:
        target = await ensure_wallet(session, member.party_id, COIN)
        query = select(GiftLinkRow).where(GiftLinkRow.code_hash == _hash(code)).with_for_update(key_share=True)
        row = await session.scalar(query)
        if row is None:
            raise NotFound("There is no such gift.")
        if row.claimed_by == member.party_id:
            return _link(row, code)
        _check_claim(row, member, now)
        ledger = await accounts.lock(session, [row.account_id, target])
        moved = Posting(row.account_id, held=-row.coins), Posting(target, row.coins)
        ledger.transfer(Kind.GIFT_LINK_CLAIMED, reference_of(row.id), *moved)
        await accounts.save(session, ledger)
        row.status, row.claimed_by, row.ended_at = "claimed", member.party_id, now
        await tell(session, row.party_id, "gift_claimed", "/gifts", once=reference_of(row.id), coins=row.coins)
    await announce(venue.redis, party_channel(member.party_id), party_channel(row.party_id))
    return _link(row, code)


def _check_claim(row: GiftLinkRow, member: Member, now: datetime) -> None:
    if row.party_id == member.party_id:
        raise NotAllowed("This is your own gift: send the link to somebody else.", code="own_gift")
    if row.status == "claimed":
        raise Conflict("Somebody else has claimed this gift already.", code="gift_claimed")
    if row.status == "returned" or now >= row.expires_at:
        raise Conflict("This gift has expired; its coins went back.", code="gift_expired")


async def latest(venue: Venue, member: Member, limit: int) -> Sequence[GiftLink]:
    """The newest links of a member."""
    own = select(GiftLinkRow).where(GiftLinkRow.party_id == member.party_id)
    async with venue.sessions() as session:
        rows = list(await session.scalars(own.order_by(GiftLinkRow.id.desc()).limit(limit)))
    return [_link(row, _code(venue.settings.secret_key, row.party_id, row.key)) for row in rows]


def watching(venue: Venue) -> AbstractAsyncContextManager[None]:
    """Give expired gifts back beside a program, until the block ends."""
    return beside(venue, Rounds("gift links", lambda where: give_back(where, datetime.now(UTC)), LOOK_SECONDS))


async def give_back(venue: Venue, now: datetime) -> int:
    """Give the coins of expired links back to their givers; says how many. One that is being claimed is left."""
    async with venue.sessions.begin() as session:
        query = select(GiftLinkRow).where(GiftLinkRow.status == "open", GiftLinkRow.expires_at <= now)
        query = query.order_by(GiftLinkRow.id).limit(BATCH).with_for_update(key_share=True, skip_locked=True)
        rows = list(await session.scalars(query))
        ledger = await accounts.lock(session, {row.account_id for row in rows})
        for row in rows:
            kind, reference = Kind.GIFT_LINK_RETURNED, reference_of(row.id)
            ledger.hold(row.account_id, -row.coins, kind=kind, reference=reference)
            row.status, row.ended_at = "returned", now
        await accounts.save(session, ledger)
        for row in rows:
            await tell(session, row.party_id, "gift_returned", "/gifts", once=reference_of(row.id), coins=row.coins)
    await announce(venue.redis, *{party_channel(row.party_id) for row in rows})
    return len(rows)


def _code(secret_key: str, party_id: int, key: str) -> str:
    """128 bits that nobody can guess without the secret, the same for the same request."""
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=PURPOSE).derive(secret_key.encode())
    digest = hmac.digest(derived, f"{party_id} {key}".encode(), sha256)
    return base64.urlsafe_b64encode(digest[:CODE_BYTES]).rstrip(b"=").decode()


def _hash(code: str) -> bytes:
    return sha256(code.encode()).digest()


def _link(row: GiftLinkRow, code: str) -> GiftLink:
    return GiftLink(row.id, code, row.party_id, row.coins, row.status, row.expires_at, row.claimed_by)
