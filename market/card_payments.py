"""Asking the provider for a card's money: at once for whoever waits, through an instruction that outlives us."""

from collections.abc import Iterable, Sequence

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from market.announcing import announce
from market.engine.commands import SETTLEMENT_WAKE, party_channel
from market.installation import mark
from market.venue import Venue
from settlement import at_once, checkouts, funding
from settlement.claims import Claim
from settlement.instructions import Lost
from settlement.payments.errors import PaymentError
from settlement.steps import PROVIDER_LANE, Outside
from settlement.tables import PaymentRow

logger = structlog.get_logger("surplusflow.card_payments")

OPEN = frozenset({"requested", "requires_action", "unknown"})
"""Payments whose end the provider knows better than we do."""


def returned_url(venue: Venue, payment_id: int) -> str:
    """Where the bank sends the payer back to."""
    return f"{venue.settings.public_url}/payments/{payment_id}/returned"


async def begin(session: AsyncSession, venue: Venue, row: PaymentRow) -> Claim | None:
    """Write down what will be asked of the provider, and take it. The caller commits, then carries it out."""
    row.return_url = returned_url(venue, row.id)
    await session.flush()
    kind = at_once.kind_of(row)
    await funding.instruct(session, kind, row.id, PROVIDER_LANE)
    return await at_once.claim(session, await _outside(session, venue), kind, row.id)


async def take_up(session: AsyncSession, venue: Venue, row: PaymentRow) -> Claim | None:
    """The instruction of a payment that the provider has not answered yet, unless another has it in hands."""
    return await at_once.claim(session, await _outside(session, venue), at_once.kind_of(row), row.id)


async def carry_out(venue: Venue, row: PaymentRow, claim: Claim | None) -> PaymentRow:
    """Do what was claimed, or read what the provider has by now; gives the payment as it stands then."""
    if claim is not None:
        await _do(venue, row, claim)
    elif row.provider_id is not None or row.checkout_id is not None:
        await _read(venue, row)
    async with venue.sessions() as session:
        return await session.get_one(PaymentRow, row.id)


async def _do(venue: Venue, row: PaymentRow, claim: Claim) -> None:
    async def tell(parties: Iterable[int]) -> None:
        await announce(venue.redis, *map(party_channel, sorted(parties)))

    async with venue.sessions() as session:
        outside = await _outside(session, venue)
    outcome = await at_once.do(venue.sessions, outside, tell, claim)
    if isinstance(outcome, Lost):
        logger.warning("payment_not_known", payment=row.id, reason=outcome.reason)
        async with venue.sessions.begin() as session:
            await funding.doubt_payment(session, row.id, outcome.reason)
    await announce(venue.redis, SETTLEMENT_WAKE)


async def _read(venue: Venue, row: PaymentRow) -> None:
    try:
        if row.checkout_id is not None:
            await checkouts.follow(venue.sessions, venue.payments, row.id, row.checkout_id)
        else:
            payment = await venue.payments.payment(row.provider_id or "")
            async with venue.sessions.begin() as session:
                await funding.book_payment(session, row.id, payment)
    except PaymentError as error:
        logger.warning("payment_not_known", payment=row.id, reason=type(error).__name__)
    await announce(venue.redis, party_channel(row.party_id))


async def _outside(session: AsyncSession, venue: Venue) -> Outside:
    async def nobody(_: Sequence[int]) -> dict[int, str]:
        return {}  # a payment goes to no line

    return Outside(venue.carriers, venue.payments, nobody, await mark(session))
