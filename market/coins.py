"""Coins: the daily reward, gifts, and turning them into data. 1 coin is 1 MB, and data was bought for each of them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from market.announcing import announce
from market.assets import COIN, asset_id
from market.custody import SHANGHAI, month_start
from market.engine.commands import SETTLEMENT_WAKE, party_channel
from market.keys import check_key, reused
from market.numbers import canonical_number, issuing_carrier
from market.parties import Member, line_of_number, line_or_invitation, line_row
from market.purses import ensure_wallet, lock_party, midnight
from market.refusals import BadInput, NotAllowed, TooMany
from market.tables import LineRow, PartyRow
from market.vault import mask
from market.venue import Venue
from settlement import accounts, funding, gifts
from settlement.ledger import InsufficientFunds, Kind
from settlement.ledger_tables import PostingRow
from settlement.tables import RedemptionRow

REWARD_COINS = 5
EARNED_A_MONTH_COINS = 500
LARGEST_GIFT_COINS = 1_000
GIVEN_A_MONTH_COINS = 1_000
GIFTS_A_DAY = 20
REDEEMED_A_MONTH_COINS = 5_000
GIVEN = (Kind.COIN_GIVEN, Kind.GIFT_LINK_HELD)


@dataclass(frozen=True, slots=True)
class Reward:
    """What signing in earned today; ``is_new`` is false when it was granted before."""

    coins: int
    is_new: bool


@dataclass(frozen=True, slots=True)
class Gift:
    """Coins that were given away, and to which number, masked."""

    reference: str
    coins: int
    masked: str


@dataclass(frozen=True, slots=True)
class Redemption:
    """Coins on their way to becoming data."""

    id: int
    status: str


# The reward.


async def claim_daily_reward(venue: Venue, member: Member, now: datetime) -> Reward:
    """Grant the coins for signing in, once for each day by the clock of Shanghai, however often it is asked.

    They come out of a budget that the house has paid for: no budget, no reward.

    Raises:
        NotAllowed: the member has no line of their own, has earned the month's coins, or the budget is used up.
    """
    async with venue.sessions.begin() as session:
        coin = await asset_id(session, COIN)
        wallet = await ensure_wallet(session, member.party_id, COIN)
        budget = await accounts.house_account(session, "coin_budget", coin)
        await lock_party(session, member)
        party = await session.get_one(PartyRow, member.party_id, populate_existing=True)
        if party.rewarded_on is not None and midnight(party.rewarded_on) >= midnight(now):
            return Reward(REWARD_COINS, is_new=False)
        await _check_earning(session, member, wallet, now)

        party.rewarded_on = now
        reference = f"reward_{member.party_id}_{now.astimezone(SHANGHAI):%Y%m%d}"
        try:
            await _move(session, Kind.COIN_EARNED, reference, source=budget, target=wallet, coins=REWARD_COINS)
        except InsufficientFunds as empty:
            raise NotAllowed(
                "The house's coins for rewards are used up. Please try again tomorrow.", code="budget_used_up"
            ) from empty
    await announce(venue.redis, party_channel(member.party_id))
    return Reward(REWARD_COINS, is_new=True)


async def _check_earning(session: AsyncSession, member: Member, wallet: int, now: datetime) -> None:
    own = select(LineRow.id).where(
        LineRow.party_id == member.party_id, LineRow.state == "active", LineRow.verified_at.is_not(None)
    )
    if member.kind != "subscriber" or (await session.scalar(own.limit(1))) is None:
        raise NotAllowed("The reward is for subscribers with a line of their own.", code="no_line")
    earned, _ = await _moved(
        session, PostingRow.kind == Kind.COIN_EARNED, PostingRow.account_id == wallet, since=month_start(now)
    )
    if earned + REWARD_COINS > EARNED_A_MONTH_COINS:
        raise NotAllowed(f"At most {EARNED_A_MONTH_COINS} coins can be earned in a month.", code="earning_limit")


# Gifts.


async def give(venue: Venue, member: Member, phone: str, coins: int, key: str) -> Gift:
    """Give coins to whoever has a phone number; with a number that never signed in, they wait until it does.

    Nothing tells whether the number was known. A gift is final. The same key finds the same gift.

    Raises:
        BadInput: the number or the amount is none.
        NotAllowed: it is the member's own number, or the coins are not there.
        TooMany: the day's gifts or the month's coins are used up.
        KeyReused: the key was used for another request.
    """
    check_key(key)
    msisdn = canonical_number(phone)
    if not 1 <= coins <= LARGEST_GIFT_COINS:
        raise BadInput(f"A gift is 1 to {LARGEST_GIFT_COINS:,} coins.", field="coins")

    reference = f"gift_{member.party_id}_{sha256(key.encode()).hexdigest()[:32]}"
    async with venue.sessions.begin() as session:
        wallet = await ensure_wallet(session, member.party_id, COIN)
        receiver_id = await _receiver(venue, session, msisdn)
        if receiver_id == member.party_id:
            raise NotAllowed("This is your own number.", code="own_number", field="phone")
        target = await ensure_wallet(session, receiver_id, COIN)
        await lock_party(session, member)
        if not await _is_given(session, reference, wallet, target, coins):
            await check_giving(session, wallet, coins)
            try:
                await _move(session, Kind.COIN_GIVEN, reference, source=wallet, target=target, coins=coins)
            except InsufficientFunds as refused:
                raise _too_few() from refused
    await announce(venue.redis, party_channel(member.party_id), party_channel(receiver_id))
    return Gift(reference, coins, mask(msisdn))


async def _receiver(venue: Venue, session: AsyncSession, msisdn: str) -> int:
    """The party of a number, invited when the number is new here."""
    known = await line_of_number(session, venue.vault, msisdn)
    carrier = known.carrier if known else issuing_carrier(msisdn)
    if carrier is None or carrier not in venue.carriers:
        raise BadInput("The carrier of this number takes no part in this market.", field="phone")
    return (await line_or_invitation(session, venue.vault, msisdn, carrier)).party_id


async def _is_given(session: AsyncSession, reference: str, wallet: int, target: int, coins: int) -> bool:
    """Whether the gift was made before; made to somebody else or of another size, its key was reused."""
    rows = await session.execute(
        select(PostingRow.account_id, PostingRow.available_change).where(
            PostingRow.kind == Kind.COIN_GIVEN, PostingRow.reference == reference
        )
    )
    posted = {row.account_id: row.available_change for row in rows}
    if posted and posted != {wallet: -coins, target: coins}:
        raise reused()
    return bool(posted)


async def check_giving(session: AsyncSession, wallet: int, coins: int) -> None:
    """Refuse a gift beyond the day's number or the month's coins; one that waits behind its link counts from then on.

    Raises:
        TooMany: it is beyond them.
    """
    now = datetime.now(UTC)
    own = (PostingRow.kind.in_(GIVEN), PostingRow.account_id == wallet, PostingRow.available_change < 0)
    _, today = await _moved(session, *own, since=midnight(now))
    this_month, _ = await _moved(session, *own, since=month_start(now))
    if today >= GIFTS_A_DAY:
        raise TooMany(f"At most {GIFTS_A_DAY} gifts can be made in a day.", code="gift_limit")
    if coins - this_month > GIVEN_A_MONTH_COINS:
        raise TooMany(f"At most {GIVEN_A_MONTH_COINS:,} coins can be given in a month.", code="gift_limit")


# Redemptions.


async def redeem(venue: Venue, member: Member, line_id: int, coins: int, key: str) -> Redemption:
    """Turn coins into data on one of the member's lines; it lasts until the end of the next month.

    Raises:
        BadInput: the number of coins is none.
        NotFound: there is no such line of this member.
        NotAllowed: the coins are not there.
        TooMany: the month's redemptions are used up.
        KeyReused: the key was used for another request.
    """
    check_key(key)
    if not 1 <= coins <= REDEEMED_A_MONTH_COINS:
        raise BadInput(f"1 to {REDEEMED_A_MONTH_COINS:,} coins can be redeemed.", field="coins")

    async with venue.sessions.begin() as session:
        wallet = await ensure_wallet(session, member.party_id, COIN)
        await lock_party(session, member)
        own = select(RedemptionRow).where(RedemptionRow.party_id == member.party_id)
        row = await session.scalar(own.where(RedemptionRow.key == key))
        if row is None:
            line = await line_row(session, member, line_id)
            row = await _begin(session, member, line, wallet, coins=coins, key=key)
        elif (row.line_id, row.coins) != (line_id, coins):
            raise reused()
    await announce(venue.redis, SETTLEMENT_WAKE, party_channel(member.party_id))
    return Redemption(row.id, row.status)


async def _begin(
    session: AsyncSession, member: Member, line: LineRow, wallet: int, *, coins: int, key: str
) -> RedemptionRow:
    """Set the coins aside, and write down what the carrier will be asked for."""
    now = datetime.now(UTC)
    redeemed = select(func.coalesce(func.sum(RedemptionRow.coins), 0)).where(
        RedemptionRow.party_id == member.party_id,
        RedemptionRow.status != "refused",
        RedemptionRow.created_at >= month_start(now),
    )
    if int(await session.scalar(redeemed) or 0) + coins > REDEEMED_A_MONTH_COINS:
        raise TooMany(f"At most {REDEEMED_A_MONTH_COINS:,} coins can be redeemed in a month.", code="redemption_limit")
    row = RedemptionRow(
        party_id=member.party_id, key=key, account_id=wallet, line_id=line.id, carrier=line.carrier, coins=coins,
        expires_at=end_of_next_month(now), status="requested",
    )  # fmt: skip
    session.add(row)
    await session.flush()
    ledger = await accounts.lock(session, [wallet])
    try:
        ledger.hold(wallet, coins, kind=Kind.COIN_REDEEM_HELD, reference=gifts.reference_of(row.id))
    except InsufficientFunds as refused:
        raise _too_few() from refused
    await accounts.save(session, ledger)
    await funding.instruct(session, "redeem", row.id, line.carrier)
    return row


def end_of_next_month(now: datetime) -> datetime:
    """The last moment of the next month by the carriers' clock, which is the first of the one after it."""
    next_month = month_start(month_start(now) + timedelta(days=31))
    return month_start(next_month + timedelta(days=31))


def _too_few() -> NotAllowed:
    return NotAllowed("You don't have that many coins available.", code="insufficient_coins", field="coins")


async def _move(session: AsyncSession, kind: Kind, reference: str, *, source: int, target: int, coins: int) -> None:
    ledger = await accounts.lock(session, [source, target])
    ledger.move(kind, reference, source=source, target=target, amount=coins)
    await accounts.save(session, ledger)


async def _moved(session: AsyncSession, *which: ColumnElement[bool], since: datetime) -> tuple[int, int]:
    """The sum of the postings since then, in coins, and how many they are."""
    total = select(func.coalesce(func.sum(PostingRow.available_change), 0), func.count())
    coins, count = (await session.execute(total.where(*which, PostingRow.at >= since))).one()
    return int(coins), count
