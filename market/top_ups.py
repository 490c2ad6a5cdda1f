"""Money in: a card is charged, and what arrived is credited to the wallet once."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from market.announcing import announce
from market.customers import customer_of
from market.engine.commands import party_channel
from market.installation import mark
from market.keys import check_key, reused
from market.parties import Member
from market.purses import ensure_wallet, lock_party, midnight
from market.refusals import BadInput, NotFound, PaymentFailed, TooMany
from market.venue import Venue
from settlement import funding
from settlement.naming import external_id
from settlement.payments.errors import PaymentDeclined, PaymentError, PaymentRefused
from settlement.payments.values import Payment
from settlement.tables import PaymentRow

logger = structlog.get_logger("surplusflow.top_ups")

SMALLEST_TOP_UP_MINOR = 400
"""The smallest charge in yuan that the provider takes."""
LARGEST_TOP_UP_MINOR = 500_000
TOP_UPS_A_DAY_MINOR = 2_000_000
DECLINES_AN_HOUR = 5
"""Someone who tries stolen cards is stopped here; an honest member asks the bank long before."""
OPEN = frozenset({"requested", "requires_action", "unknown"})
"""Top-ups whose end the provider knows better than we do."""
DECLINED = "The card was declined. Try another card or ask your bank."


@dataclass(frozen=True, slots=True)
class TopUp:
    """A top-up as it stands; with an ``action_url`` the buyer must first confirm it at the bank."""

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

    row = await _intent(venue, member, amount_minor, payment_method, key)
    if row.status in OPEN:
        row = await _ask_provider(venue, member, row)

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
        row = await _ask_provider(venue, member, row)

    return _told(row)


def _check_amount(amount_minor: int) -> None:
    if not SMALLEST_TOP_UP_MINOR <= amount_minor <= LARGEST_TOP_UP_MINOR:
        raise BadInput(
            f"One top-up is {SMALLEST_TOP_UP_MINOR // 100} to {LARGEST_TOP_UP_MINOR // 100:,} yuan.", field="amount"
        )


def _told(row: PaymentRow) -> TopUp:
    if row.status == "declined":
        raise PaymentFailed(DECLINED, field="payment_method")
    return TopUp(row.id, row.status, row.amount_minor, row.action_url)


async def _intent(venue: Venue, member: Member, amount_minor: int, payment_method: str, key: str) -> PaymentRow:
    """Write down what will be asked of the provider, before asking.

    A member's top-ups queue at the party's row, so that two at once can't both fit under the day's limit.
    """
    async with venue.sessions.begin() as session:
        wallet = await ensure_wallet(session, member.party_id, venue.settings.currency)
        await lock_party(session, member)
        own = select(PaymentRow).where(PaymentRow.party_id == member.party_id)
        row = await session.scalar(own.where(PaymentRow.key == key))
        if row is None:
            await _check_limits(session, member, amount_minor)
            row = PaymentRow(
                party_id=member.party_id, key=key, kind="top_up", account_id=wallet, amount_minor=amount_minor,
                currency=venue.settings.currency, payment_method=payment_method, status="requested",
            )  # fmt: skip
            session.add(row)
    if (row.kind, row.amount_minor, row.payment_method) != ("top_up", amount_minor, payment_method):
        raise reused()
    return row


async def _check_limits(session: AsyncSession, member: Member, amount_minor: int) -> None:
    now = datetime.now(UTC)
    own = (PaymentRow.party_id == member.party_id, PaymentRow.kind == "top_up")
    today = select(func.coalesce(func.sum(PaymentRow.amount_minor), 0)).where(
        *own, PaymentRow.status != "declined", PaymentRow.created_at >= midnight(now)
    )
    declined = select(func.count()).where(
        PaymentRow.party_id == member.party_id,
        PaymentRow.status == "declined",
        PaymentRow.created_at >= now - timedelta(hours=1),
    )
    if (await session.scalar(declined) or 0) >= DECLINES_AN_HOUR:
        raise TooMany("Too many payments were declined. Please try again in an hour.", code="too_many_declines")
    if int(await session.scalar(today) or 0) + amount_minor > TOP_UPS_A_DAY_MINOR:
        raise TooMany(f"Top-ups are limited to {TOP_UPS_A_DAY_MINOR // 100:,} yuan a day.", code="top_up_limit")


async def _ask_provider(venue: Venue, member: Member, row: PaymentRow) -> PaymentRow:
    """Charge, or ask what became of an earlier charge, and take the answer into the books.

    Asking again under the same name is safe: the provider does one thing for one name.
    """
    try:
        payment = await _charge_or_ask(venue, member, row)
        async with venue.sessions.begin() as session:
            row = await funding.credit_top_up(session, row.id, payment)
    except (PaymentDeclined, PaymentRefused) as refused:
        async with venue.sessions.begin() as session:
            await funding.decline_payment(session, row.id, refused.code)
    except PaymentError as error:
        logger.warning("top_up_not_known", payment=row.id, error=type(error).__name__)
        async with venue.sessions.begin() as session:
            await funding.doubt_payment(session, row.id, type(error).__name__)
    await announce(venue.redis, party_channel(member.party_id))
    async with venue.sessions() as session:
        return await session.get_one(PaymentRow, row.id)


async def _charge_or_ask(venue: Venue, member: Member, row: PaymentRow) -> Payment:
    if row.provider_id is not None:
        return await venue.payments.payment(row.provider_id)
    customer = await customer_of(venue, member)
    async with venue.sessions() as session:
        name = external_id(await mark(session), row.kind, row.id)
    return await venue.payments.charge(
        customer=customer,
        amount_minor=row.amount_minor,
        currency=row.currency,
        payment_method=row.payment_method,
        reference=name,
        key=name,
        return_url=f"{venue.settings.public_url}/payments/{row.id}/returned",
    )
