"""Partners: keys for their programs, buying in bulk, and handing data out to their users."""

import asyncio
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from market import audit, baskets
from market.announcing import announce
from market.baskets import BasketLeg, BasketRequest
from market.custody import fits
from market.engine.commands import SETTLEMENT_WAKE, Filled, party_channel
from market.instruments import Tradable, tradable
from market.keys import check_key, reused
from market.numbers import canonical_number
from market.parties import Member, line_or_invitation
from market.parties import member as load_member
from market.purses import lock_party
from market.refusals import BadInput, Forbidden, KeyReused, NotAllowed, NotFound, NotSignedIn, Refusal, Unavailable
from market.tables import ApiKeyRow, LineRow
from market.trading import OrderRequest, place
from market.venue import Venue
from settlement import funding
from settlement.carriers.errors import CarrierError
from settlement.carriers.values import Bucket
from settlement.tables import HandoutRow

MARK = "sf_live_"
PREFIX_CHARACTERS = len(MARK) + 4
"""What is shown of a key after the first time."""
NAME_CHARACTERS = 80
MOST_KEYS = 50
USED_EVERY = timedelta(minutes=1)
"""How exactly the last use of a key is noted."""
MOST_LEGS = 50
LEGS_AT_ONCE = 5
BULK_KEY_CHARACTERS = 250
"""Each leg's own key is the request's with the leg's number behind it."""
LARGEST_HANDOUT_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class BulkLeg:
    """One purchase of a bulk order: at once, up to the limit, in minor units per lot."""

    symbol: str
    lots: int
    limit_price_minor: int


@dataclass(frozen=True, slots=True)
class BulkResult:
    """What became of one leg; ``code`` and ``detail`` say what is wrong with one that was not accepted."""

    symbol: str
    accepted: bool
    filled: int = 0
    open: int = 0
    code: str | None = None
    detail: str | None = None
    order_id: int | None = None
    fills: tuple[Filled, ...] = ()


# Keys.


async def issue_key(session: AsyncSession, party_id: int, name: str) -> str:
    """Make a key and give it this once; only its hash is kept. The caller commits.

    Raises:
        BadInput: the name is empty, too long or unprintable.
        NotAllowed: the party has too many keys.
    """
    name = name.strip()
    if not 1 <= len(name) <= NAME_CHARACTERS or not name.isprintable():
        raise BadInput(f"A key needs a name of at most {NAME_CHARACTERS} characters.", field="name")
    in_use = select(func.count()).where(ApiKeyRow.party_id == party_id, ApiKeyRow.revoked_at.is_(None))
    if (await session.scalar(in_use) or 0) >= MOST_KEYS:
        raise NotAllowed(f"There are {MOST_KEYS} keys already. Revoke one first.", code="too_many_keys", field="name")

    key = MARK + secrets.token_urlsafe(32)
    row = ApiKeyRow(party_id=party_id, name=name, prefix=key[:PREFIX_CHARACTERS], key_hash=_hash(key))
    session.add(row)
    await session.flush()
    await audit.append(session, audit.party(party_id), "issue_key", f"key:{row.id}", {})
    return key


async def revoke_key(session: AsyncSession, party_id: int, key_id: int) -> None:
    """End a key. Ending it again changes nothing. The caller commits.

    Raises:
        NotFound: the party has no such key.
    """
    row = await session.get(ApiKeyRow, key_id, with_for_update=True)
    if row is None or row.party_id != party_id:
        raise NotFound("There is no such key.")
    if row.revoked_at is None:
        row.revoked_at = datetime.now(UTC)
        await audit.append(session, audit.party(party_id), "revoke_key", f"key:{key_id}", {})


async def authenticate(session: AsyncSession, key: str) -> Member:
    """The member whose key this is; notes when it was last used, to the minute. The caller commits.

    Raises:
        NotSignedIn: the key is unknown or revoked; which of them is not told.
    """
    hashed, now = _hash(key), datetime.now(UTC)
    row = await session.scalar(select(ApiKeyRow).where(ApiKeyRow.key_hash == hashed))
    if row is None or not hmac.compare_digest(row.key_hash, hashed) or row.revoked_at is not None:
        raise NotSignedIn("This key is not valid.", code="bad_key")
    if row.last_used_at is None or row.last_used_at < now - USED_EVERY:
        await session.execute(update(ApiKeyRow).where(ApiKeyRow.id == row.id).values(last_used_at=now))
    return await load_member(session, row.party_id)


def _hash(key: str) -> bytes:
    """A key is random enough that a plain hash gives nothing away."""
    return sha256(key.encode()).digest()


# Buying in bulk.


async def bulk_buy(
    venue: Venue, member: Member, legs: Sequence[BulkLeg], key: str, *, all_or_none: bool = False
) -> list[BulkResult]:
    """Buy several instruments at once, each immediately or not at all, to the member's own line at its carrier.

    Each leg stands alone and has a key of its own, so asking again finishes what was
    interrupted and repeats nothing. With ``all_or_none`` they are one basket: every leg is
    filled whole, or none at all.

    Raises:
        BadInput: there are no legs, or too many.
        NotAllowed: all or none was asked for, and not all can be bought.
        KeyReused: a leg's key was used for another purchase.
    """
    check_key(key)
    if all_or_none:
        return await _buy_together(venue, member, legs, key)
    if not 1 <= len(legs) <= MOST_LEGS:
        raise BadInput(f"A bulk order has 1 to {MOST_LEGS} legs.", field="legs")
    if len(key) > BULK_KEY_CHARACTERS:
        raise BadInput(
            f"The key of a bulk order has at most {BULK_KEY_CHARACTERS} characters.", field="idempotency_key"
        )

    at_once = asyncio.Semaphore(LEGS_AT_ONCE)
    return await asyncio.gather(
        *(_buy(venue, member, leg, f"{key}/{number}", at_once) for number, leg in enumerate(legs, start=1))
    )


async def _buy_together(venue: Venue, member: Member, legs: Sequence[BulkLeg], key: str) -> list[BulkResult]:
    request = BasketRequest(
        kind="basket",
        legs=tuple(BasketLeg(leg.symbol, "buy", leg.lots, limit_price_minor=leg.limit_price_minor) for leg in legs),
        limit_minor=sum(leg.lots * leg.limit_price_minor for leg in legs),
    )
    result = await baskets.place(venue, member, request, key)
    return [
        BulkResult(
            each.leg.symbol, accepted=True, filled=each.filled, order_id=next(iter(each.order_ids), None),
            fills=each.fills,
        )
        for each in result.legs
    ]  # fmt: skip


async def _buy(venue: Venue, member: Member, leg: BulkLeg, key: str, at_once: asyncio.Semaphore) -> BulkResult:
    request = OrderRequest(
        symbol=leg.symbol, side="buy", lots=leg.lots, price_minor=leg.limit_price_minor, time_in_force="ioc"
    )
    try:
        async with at_once:
            placed = await place(venue, member, request, key)
    except KeyReused:
        raise
    except Refusal as refusal:
        return BulkResult(leg.symbol, accepted=False, code=refusal.code, detail=refusal.detail)
    answer = placed.answer
    if answer is None:
        raise RuntimeError("A purchase from the wallet never waits for a bank.")
    return BulkResult(
        leg.symbol, accepted=True, filled=answer.filled, open=answer.open, order_id=answer.order_id, fills=answer.fills
    )


# Handing out.


async def hand_out(  # noqa: PLR0917 - said in the order in which a partner would say it
    venue: Venue, member: Member, symbol: str, phone: str, amount_mb: int, key: str
) -> HandoutRow:
    """Have the carrier pass data of the partner's own line to one of its users. The same key finds the same handout.

    Whether the receiver can take it is the carrier's to say, so nothing here tells whether the number is known.

    Raises:
        BadInput: the number or the amount is none, or the instrument is no data.
        Forbidden: the member is no partner.
        NotFound: there is no such instrument.
        NotAllowed: no line of the partner has that much to pass on.
        KeyReused: the key was used for another request.
        Unavailable: the carrier does not answer.
    """
    check_key(key)
    if member.kind != "partner":
        raise Forbidden("Only partners hand data out.")
    msisdn = canonical_number(phone)
    if not 1 <= amount_mb <= LARGEST_HANDOUT_MB:
        raise BadInput(f"A handout is 1 to {LARGEST_HANDOUT_MB:,} MB.", field="amount_mb")
    async with venue.sessions() as session:
        instrument = await tradable(session, symbol)
        known = await _handout(session, member, key)
    if instrument.carrier is None:
        raise BadInput("Only data can be handed out.", field="symbol")
    if known is not None:
        return await _same(venue, known, instrument.carrier, msisdn, amount_mb)
    line, bucket = await _source(venue, member, instrument, amount_mb)

    row = await _request(venue, member, line, bucket, msisdn=msisdn, amount_mb=amount_mb, key=key)

    await announce(venue.redis, SETTLEMENT_WAKE, party_channel(member.party_id))
    return row


async def _handout(session: AsyncSession, member: Member, key: str) -> HandoutRow | None:
    own = select(HandoutRow).where(HandoutRow.party_id == member.party_id, HandoutRow.key == key)
    found: HandoutRow | None = await session.scalar(own)
    return found


async def _same(venue: Venue, row: HandoutRow, carrier: str, msisdn: str, amount_mb: int) -> HandoutRow:
    async with venue.sessions() as session:
        receiver = await session.get_one(LineRow, row.receiver_line_id)
    if (row.carrier, row.amount_mb, receiver.number_hash) != (carrier, amount_mb, venue.vault.lookup(msisdn)):
        raise reused()
    return row


async def _source(venue: Venue, member: Member, instrument: Tradable, amount_mb: int) -> tuple[LineRow, Bucket]:
    """The partner's line, and its data of this kind that may be passed on."""
    async with venue.sessions() as session:
        own = select(LineRow).where(
            LineRow.party_id == member.party_id, LineRow.carrier == instrument.carrier,
            LineRow.state == "active", LineRow.verified_at.is_not(None),
        )  # fmt: skip
        lines = (await session.scalars(own.order_by(LineRow.id))).all()
    if not lines:
        raise NotAllowed("You have no line at this carrier.", code="no_line", field="symbol")
    try:
        found = await asyncio.gather(
            *(venue.carriers[line.carrier].buckets(venue.vault.open(line.number_sealed)) for line in lines)
        )
    except (CarrierError, KeyError) as error:
        raise Unavailable("The carrier does not answer just now. Please try again in a moment.") from error
    fitting = [
        (line, bucket)
        for line, buckets in zip(lines, found, strict=True)
        for bucket in buckets
        if fits(instrument, bucket)
    ]
    return _enough(fitting, amount_mb)


def _enough(fitting: Sequence[tuple[LineRow, Bucket]], amount_mb: int) -> tuple[LineRow, Bucket]:
    """The bucket to hand out from: first one that can't be sold, then the fullest."""
    movable = [(line, bucket) for line, bucket in fitting if bucket.transferable or bucket.distributable]
    if fitting and not movable:
        raise NotAllowed(
            "This data can't be passed on: the carrier binds it to your line.", code="not_transferable", field="symbol"
        )
    enough = [(line, bucket) for line, bucket in movable if bucket.remaining_mb >= amount_mb]
    if not enough:
        raise NotAllowed("Your line does not have that much of this data.", code="insufficient_data", field="amount_mb")
    return max(enough, key=lambda each: (each[1].distributable, each[1].remaining_mb))


async def _request(
    venue: Venue, member: Member, line: LineRow, bucket: Bucket, *, msisdn: str, amount_mb: int, key: str
) -> HandoutRow:
    """Write down what the carrier will be asked for."""
    async with venue.sessions.begin() as session:
        receiver = await line_or_invitation(session, venue.vault, msisdn, line.carrier)
        if receiver.party_id == member.party_id:
            raise NotAllowed("This is your own number.", code="own_number", field="phone")
        await lock_party(session, member)
        if (row := await _handout(session, member, key)) is None:
            row = HandoutRow(
                party_id=member.party_id, key=key, line_id=line.id, receiver_line_id=receiver.id, carrier=line.carrier,
                bucket_id=bucket.id, amount_mb=amount_mb, status="requested",
            )  # fmt: skip
            session.add(row)
            await session.flush()
            await funding.instruct(session, "handout", row.id, line.carrier)
    return await _same(venue, row, line.carrier, msisdn, amount_mb)
