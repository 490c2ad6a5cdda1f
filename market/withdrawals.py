"""Money out: it is set aside in the wallet, and settlement sends it to the member's bank."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from sqlalchemy import Select, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from market import audit, line_events, step_up
from market.announcing import announce
from market.engine.commands import SETTLEMENT_WAKE, party_channel
from market.installation import mark
from market.kept_back import kept_back
from market.keys import check_key, reused
from market.parties import Member
from market.payout_accounts import check_bank, take_in
from market.purses import ensure_wallet, lock_party, midnight
from market.refusals import BadInput, NotAllowed, TooMany, Unavailable
from market.standing import check_not_frozen
from market.tables import LineRow, PartyRow
from market.venue import Venue
from settlement import accounts, funding, payouts
from settlement.carriers.errors import CarrierError
from settlement.ledger import InsufficientFunds, Kind
from settlement.naming import external_id
from settlement.payments.errors import PaymentError
from settlement.tables import PayoutRow

logger = structlog.get_logger("surplusflow.withdrawals")

SMALLEST_WITHDRAWAL_MINOR = 100
WITHDRAWALS_A_DAY_MINOR = 2_000_000
SIM_QUIET_HOURS = 72
COUNTRY = "CN"
PROVIDER_AWAY = "The payment provider does not answer just now. Please try again in a moment."


class SimChanged(NotAllowed):
    """The phone may be in a stranger's hand."""

    def __init__(self) -> None:
        super().__init__(
            f"The SIM card was changed within the last {SIM_QUIET_HOURS} hours. To keep your money safe, withdrawals"
            " wait until that time is over.",
            code="sim_changed",
        )


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A withdrawal as it stands; with an ``onboarding_url`` nothing was begun: a bank account must be named first."""

    id: int | None
    status: str
    onboarding_url: str | None


async def withdraw(venue: Venue, member: Member, amount_minor: int, key: str) -> Withdrawal:
    """Set money aside and have it sent to the member's bank. The same key finds the same withdrawal.

    Without a bank account at the provider yet, nothing is set aside: the member is
    sent to ``onboarding_url`` and comes back to ask again.

    Raises:
        BadInput: the amount is too small.
        StepUpNeeded: the session has to prove itself first.
        NotAllowed: the SIM card or the bank account changed lately, no line vouches for the member, there is less
            money, or some of it can't be withdrawn yet.
        TooMany: the day's limit is reached.
        KeyReused: the key was used for another request.
        Unavailable: a carrier or the provider does not answer; nothing was set aside.
    """
    check_key(key)
    if amount_minor < SMALLEST_WITHDRAWAL_MINOR:
        raise BadInput(f"A withdrawal is at least {SMALLEST_WITHDRAWAL_MINOR // 100} yuan.", field="amount")
    if (known := await _earlier(venue, member, amount_minor, key)) is not None:
        return known
    await step_up.demand(venue, member, step_up.PAYOUT, amount_minor)
    async with venue.sessions() as session:
        await check_not_frozen(session, member.party_id)
    await _check_sim(venue, member)
    destination = await _payout_account(venue, member)
    onboarding_url = await _onboarding_url(venue, member, destination)
    if onboarding_url is not None:
        return Withdrawal(None, "onboarding", onboarding_url)

    made = await _set_aside(venue, member, amount_minor, key, destination)

    await announce(venue.redis, SETTLEMENT_WAKE, party_channel(member.party_id))
    return made


async def _earlier(venue: Venue, member: Member, amount_minor: int, key: str) -> Withdrawal | None:
    async with venue.sessions() as session:
        row = await session.scalar(_own_withdrawal(member, key))
    return None if row is None else _same(row, amount_minor)


def _own_withdrawal(member: Member, key: str) -> Select[PayoutRow]:
    return select(PayoutRow).where(PayoutRow.party_id == member.party_id, PayoutRow.key == key)


def _same(row: PayoutRow, amount_minor: int) -> Withdrawal:
    if row.amount_minor != amount_minor:
        raise reused()
    return Withdrawal(row.id, row.status, None)


async def _check_sim(venue: Venue, member: Member) -> None:
    """Pay nobody whose phone may be in a stranger's hand. Not knowing is as good as a change."""
    async with venue.sessions() as session:
        if await line_events.is_paused(session, member.party_id):
            raise SimChanged
        vouching = await session.scalars(
            select(LineRow).where(
                LineRow.party_id == member.party_id, LineRow.state == "active", LineRow.verified_at.is_not(None)
            )
        )
        lines = [(row.carrier, venue.vault.open(row.number_sealed)) for row in vouching]
    if not lines:
        raise NotAllowed("Withdrawals need an active line of yours that you have signed in with.", code="no_line")
    try:
        swapped = await asyncio.gather(
            *(venue.carriers[carrier].sim_swapped(number, SIM_QUIET_HOURS) for carrier, number in lines)
        )
    except (CarrierError, KeyError) as error:
        logger.warning("sim_not_checked", error=type(error).__name__)
        raise Unavailable("Your carrier can't vouch for your SIM card just now. Please try again later.") from error
    if any(swapped):
        raise SimChanged


async def _payout_account(venue: Venue, member: Member) -> str:
    """The member's account at the provider: opened on first use, once."""
    async with venue.sessions() as session:
        party = await session.get_one(PartyRow, member.party_id)
        name = external_id(await mark(session), "account", member.party_id)
    if party.payout_reference is not None:
        return party.payout_reference
    try:
        opened = await venue.payments.open_account(name, COUNTRY, name)
    except PaymentError as error:
        raise Unavailable(PROVIDER_AWAY) from error
    async with venue.sessions.begin() as session:
        await session.execute(update(PartyRow).where(PartyRow.id == member.party_id).values(payout_reference=opened))
    return opened


async def onboarding(venue: Venue, member: Member) -> str | None:
    """Where the member goes on with what the provider wants to know; None when it has all it needs.

    Raises:
        Unavailable: the provider does not answer.
    """
    return await _onboarding_url(venue, member, await _payout_account(venue, member))


async def _onboarding_url(venue: Venue, member: Member, account_id: str) -> str | None:
    """Where the member names a bank account; None when the provider has all it needs."""
    here = f"{venue.settings.public_url}/wallet"
    try:
        account = await venue.payments.account(account_id)
        await take_in(venue, member, account)
        return None if account.payouts_enabled else await venue.payments.onboarding_link(account_id, here, here)
    except PaymentError as error:
        raise Unavailable(PROVIDER_AWAY) from error


async def _set_aside(venue: Venue, member: Member, amount_minor: int, key: str, destination: str) -> Withdrawal:
    currency = venue.settings.currency
    async with venue.sessions.begin() as session:
        wallet = await ensure_wallet(session, member.party_id, currency)
        await lock_party(session, member)
        if (known := await session.scalar(_own_withdrawal(member, key))) is not None:
            return _same(known, amount_minor)
        await check_not_frozen(session, member.party_id)
        await check_bank(session, member.party_id)
        await _check_day(session, member, amount_minor)
        kept = await kept_back(session, member.party_id, datetime.now(UTC), venue.settings.phone_bill_wait_days)

        row = PayoutRow(
            party_id=member.party_id, key=key, account_id=wallet, amount_minor=amount_minor, currency=currency,
            destination=destination, status="requested",
        )  # fmt: skip
        session.add(row)
        await session.flush()
        await _hold(session, row, kept.minor)
        await funding.instruct(session, "transfer", row.id, "provider")
        detail: audit.Detail = {"amount_minor": amount_minor, "currency": currency}
        await audit.append(session, audit.party(member.party_id), "withdraw", f"withdrawal:{row.id}", detail)
    return Withdrawal(row.id, row.status, None)


async def _hold(session: AsyncSession, row: PayoutRow, kept_minor: int) -> None:
    """Set the amount aside, out of what is free and not kept back."""
    ledger = await accounts.lock(session, [row.account_id])
    free_minor = ledger.accounts[row.account_id].available
    if free_minor - kept_minor < row.amount_minor <= free_minor:
        raise NotAllowed(
            "Some of your money can be spent but not withdrawn yet: it came off the phone bill lately, or its card"
            " payment is disputed.",
            code="kept_back",
            field="amount",
        )
    try:
        ledger.hold(row.account_id, row.amount_minor, kind=Kind.PAYOUT_HELD, reference=payouts.reference_of(row.id))
    except InsufficientFunds as refused:
        raise NotAllowed(
            "There is not enough money available in your wallet.", code="insufficient_money", field="amount"
        ) from refused
    await accounts.save(session, ledger)


async def _check_day(session: AsyncSession, member: Member, amount_minor: int) -> None:
    today = select(func.coalesce(func.sum(PayoutRow.amount_minor), 0)).where(
        PayoutRow.party_id == member.party_id,
        PayoutRow.status != "refused",
        PayoutRow.created_at >= midnight(datetime.now(UTC)),
    )
    if int(await session.scalar(today) or 0) + amount_minor > WITHDRAWALS_A_DAY_MINOR:
        raise TooMany(f"Withdrawals are limited to {WITHDRAWALS_A_DAY_MINOR // 100:,} yuan a day.", code="payout_limit")
