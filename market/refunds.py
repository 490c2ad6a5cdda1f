"""A part of a top-up back to its card: asked for by its owner, out of money that is not spent."""

from sqlalchemy import select

from market import audit
from market.announcing import announce
from market.engine.commands import SETTLEMENT_WAKE, party_channel
from market.keys import check_key, reused
from market.parties import Member
from market.purses import lock_party
from market.refusals import BadInput, NotAllowed, NotFound
from market.standing import check_not_frozen
from market.venue import Venue
from settlement import part_refunds
from settlement.card_tables import TopUpRefundRow
from settlement.funding import UnknownPayment
from settlement.ledger import InsufficientFunds


async def refund_part(venue: Venue, member: Member, payment_id: int, amount_minor: int, key: str) -> TopUpRefundRow:
    """Set money aside and have it sent back to the card it came from. The same key finds the same refund.

    Raises:
        BadInput: that much is not left of the top-up.
        NotFound: the member has no such top-up, or all of it is on its way back.
        NotAllowed: the wallet has less, or the member is frozen.
        KeyReused: the key was used for another request.
    """
    check_key(key)
    if amount_minor <= 0:
        raise BadInput("Please enter an amount above zero.", field="amount")
    async with venue.sessions.begin() as session:
        await lock_party(session, member)
        known = await session.scalar(
            select(TopUpRefundRow).where(TopUpRefundRow.party_id == member.party_id, TopUpRefundRow.key == key)
        )
        if known is not None:
            if (known.payment_id, known.amount_minor) != (payment_id, amount_minor):
                raise reused()
            return known
        await check_not_frozen(session, member.party_id)
        try:
            row = await part_refunds.request(
                session, payment_id, party_id=member.party_id, amount_minor=amount_minor, key=key
            )
        except UnknownPayment as error:
            raise NotFound("You have no such top-up, or all of it is on its way back.") from error
        except part_refunds.TooMuch as error:
            raise BadInput("So much is not left of this top-up.", field="amount") from error
        except InsufficientFunds as error:
            raise NotAllowed(
                "There is not enough money available in your wallet.", code="insufficient_money", field="amount"
            ) from error
        detail: audit.Detail = {"amount_minor": amount_minor, "payment": payment_id}
        await audit.append(session, audit.party(member.party_id), "refund_top_up", f"refund:{row.id}", detail)
    await announce(venue.redis, SETTLEMENT_WAKE, party_channel(member.party_id))
    return row
