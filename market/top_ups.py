"""Money in: a card is charged, and what arrived is credited to the wallet once."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from market.card_payments import OPEN, begin, carry_out, take_up
from market.customers import customer_of
from market.keys import check_key, reused
from market.parties import Member
from market.purses import ensure_wallet, lock_party, midnight
from market.refusals import BadInput, NotFound, PaymentFailed, TooMany
from market.venue import Venue
from settlement.checkouts import CHECKOUT_METHOD
from settlement.claims import Claim
from settlement.tables import PaymentRow

SMALLEST_TOP_UP_MINOR = 400
"""The smallest charge in yuan that the provider takes."""
LARGEST_TOP_UP_MINOR = 500_000
TOP_UPS_A_DAY_MINOR = 2_000_000
DECLINES_AN_HOUR = 5
"""Someone who tries stolen cards is stopped here; an honest member asks the bank long before."""
DECLINED = "The card was declined. Try another card or ask your bank."


@dataclass(frozen=True, slots=True)
class TopUp:
    """A top-up as it stands; with an ``action_url`` its owner must first go there, to pay or to confirm."""

    id: int
    status: str
    amount_minor: int
    action_url: str | None


async def top_up(venue: Venue, member: Member, amount_minor: int, payment_method: str, key: str) -> TopUp:
    """Charge a card and credit the wallet. The same key finds the same top-up, however often it is asked.

    A status of ``unknown`` means that the provider has not said yet; it is asked until it does.

    Raises:
        BadInput: the amount is too small or too large, or the card is none.
        PaymentFailed: the card or the provider refused; nothing was taken.
        KeyReused: the key was used for another request.
        TooMany: the day's limit is reached, or too many cards were declined.
    """
    check_key(key)
    _check_amount(amount_minor)
    if not re.fullmatch(r"[A-Za-z0-9_]{1,100}", payment_method):
        raise BadInput("Choose a card.", field="payment_method")

    row, claim = await _intent(venue, member, amount_minor, payment_method, key)
    if row.status in OPEN:
        row = await carry_out(venue, row, claim)

    return _told(row)


async def payment_returned(venue: Venue, member: Member, payment_id: int) -> TopUp:
    """Ask the provider what became of a top-up whose owner has come back from the bank's page.

    Raises:
        NotFound: there is no such top-up of this member.
        PaymentFailed: it was declined.
    """
    async with venue.sessions() as session:
        row = await session.get(PaymentRow, payment_id)
    if row is None or row.party_id != member.party_id or row.kind != "top_up":
        raise NotFound("You have no such payment.")
    if row.status in OPEN:
        async with venue.sessions.begin() as session:
            claim = await take_up(session, venue, row)
        row = await carry_out(venue, row, claim)

    return _told(row)


def _check_amount(amount_minor: int) -> None:
    if not SMALLEST_TOP_UP_MINOR <= amount_minor <= LARGEST_TOP_UP_MINOR:
        raise BadInput(
            f"One top-up is {SMALLEST_TOP_UP_MINOR // 100} to {LARGEST_TOP_UP_MINOR // 100:,} yuan.", field="amount"
        )


def _told(row: PaymentRow) -> TopUp:
    if row.status == "declined":
        raise PaymentFailed(DECLINED, field="payment_method")
    status = "unknown" if row.status == "requested" else row.status
    return TopUp(row.id, status, row.amount_minor, row.action_url)


async def _intent(
    venue: Venue, member: Member, amount_minor: int, payment_method: str, key: str
) -> tuple[PaymentRow, Claim | None]:
    """Write down what will be asked of the provider, before asking, and take it into hands.

    A member's top-ups queue at the party's row, so that two at once can't both fit under the day's limit.
    """
    customer = await customer_of(venue, member)
    async with venue.sessions.begin() as session:
        wallet = await ensure_wallet(session, member.party_id, venue.settings.currency)
        await lock_party(session, member)
        own = select(PaymentRow).where(PaymentRow.party_id == member.party_id)
        row = await session.scalar(own.where(PaymentRow.key == key))
        if row is not None:
            if (row.kind, row.amount_minor, row.payment_method) != ("top_up", amount_minor, payment_method):
                raise reused()
            return row, await take_up(session, venue, row)
        await _check_limits(session, member, amount_minor)
        row = PaymentRow(
            party_id=member.party_id, key=key, kind="top_up", account_id=wallet, amount_minor=amount_minor,
            currency=venue.settings.currency, payment_method=payment_method, status="requested", customer=customer,
        )  # fmt: skip
        session.add(row)
        await session.flush()
        return row, await begin(session, venue, row)


async def _check_limits(session: AsyncSession, member: Member, amount_minor: int) -> None:
    now = datetime.now(UTC)
    own = (PaymentRow.party_id == member.party_id, PaymentRow.kind == "top_up")
    today = select(func.coalesce(func.sum(PaymentRow.amount_minor), 0)).where(
        *own, PaymentRow.status != "declined", PaymentRow.created_at >= midnight(now)
    )
    declined = select(func.count()).where(
        PaymentRow.party_id == member.party_id,
        PaymentRow.status == "declined",
        PaymentRow.payment_method != CHECKOUT_METHOD,  # leaving the provider's page is no decline
        PaymentRow.created_at >= now - timedelta(hours=1),
    )
    if (await session.scalar(declined) or 0) >= DECLINES_AN_HOUR:
        raise TooMany("Too many payments were declined. Please try again in an hour.", code="too_many_declines")
    if int(await session.scalar(today) or 0) + amount_minor > TOP_UPS_A_DAY_MINOR:
        raise TooMany(f"Top-ups are limited to {TOP_UPS_A_DAY_MINOR // 100:,} yuan a day.", code="top_up_limit")
