"""A member's account for payouts: what the provider wants to know, and a bank account changed by a stranger."""

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from market import audit
from market.announcing import announce
from market.engine.commands import party_channel
from market.parties import Member
from market.purses import lock_party
from market.refusals import Conflict, NotAllowed
from market.venue import Venue
from settlement import payout_accounts
from settlement.payment_tables import PayoutAccountRow
from settlement.payments.values import PayoutAccount
from settlement.payout_accounts import NothingToDisown

logger = structlog.get_logger("surplusflow.payout_accounts")


class BankChanged(NotAllowed):
    """The bank account was changed lately, perhaps by a stranger."""

    def __init__(self) -> None:
        super().__init__(
            "Your bank account was changed less than 24 hours ago. To keep your money safe, payouts wait until that"
            " time is over.",
            code="bank_changed",
        )


async def account_of(session: AsyncSession, member: Member) -> PayoutAccountRow | None:
    """What is known of the member's account; none before the first withdrawal was asked for."""
    return await payout_accounts.of_party(session, member.party_id)


async def take_in(venue: Venue, member: Member, account: PayoutAccount) -> None:
    """Take in an account as it was just read, whether or not its news have come."""
    async with venue.sessions.begin() as session:
        await payout_accounts.opened(session, account.id, member.party_id)
        _, is_changed = await payout_accounts.take_in(session, account)
    if is_changed:
        await announce(venue.redis, party_channel(member.party_id))


async def check_bank(session: AsyncSession, party_id: int) -> None:
    """Let a party pass whose bank account has not changed lately.

    Raises:
        BankChanged: it has.
    """
    if await payout_accounts.quiet_until(session, party_id) is not None:
        raise BankChanged


async def disown(venue: Venue, member: Member) -> None:
    """The member says that somebody else changed the bank account: nothing is paid out until officers have looked.

    Raises:
        Conflict: no bank account was changed within the last day.
    """
    async with venue.sessions.begin() as session:
        await lock_party(session, member)
        try:
            row = await payout_accounts.disown(session, member.party_id)
        except NothingToDisown as refused:
            raise Conflict("Your bank account was not changed lately.", code="bank_not_changed") from refused
        subject = f"party:{member.party_id}"
        await audit.append(session, audit.party(member.party_id), "disown_bank", subject, {"account": row.id})
    logger.error("bank_account_disowned", party=member.party_id, account=row.id)
