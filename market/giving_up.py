"""A buyer who has waited long enough takes the money back, unless the data is on its way or has moved."""

from market import audit, views
from market.announcing import announce
from market.engine.commands import SETTLEMENT_WAKE, party_channel
from market.parties import Member
from market.refusals import Conflict, NotAllowed
from market.venue import Venue
from market.views import TradeView
from settlement import escalation, giving_up
from settlement.escalation_tables import EscalationRow


def may_give_up(trade: TradeView, late: EscalationRow | None) -> bool:
    """Whether this side of a trade may end the waiting: the buyer's, once the delay has been said aloud."""
    return trade.side == "buy" and trade.status == "pending" and late is not None and trade.given_up_at is None


async def give_up(venue: Venue, member: Member, trade_id: int) -> TradeView:
    """Have a late purchase refunded as soon as it is sure that it was not delivered. Said again it changes nothing.

    Raises:
        NotFound: the member has no such trade.
        NotAllowed: it is a sale, or not late yet.
        Conflict: the data has moved, or the money is back already.
    """
    async with venue.sessions.begin() as session:
        trade = await views.trade(session, member.party_id, trade_id)
        late = (await escalation.of_subjects(session, "delivery", [trade_id])).get(trade_id)
        if trade.side != "buy":
            raise NotAllowed("Only who bought can take the money back.", code="not_the_buyer")
        if trade.status == "pending" and trade.given_up_at is None and late is None:
            raise NotAllowed(
                "The delivery is not late yet. After a quarter of an hour you can take your money back.",
                code="not_late",
            )
        is_new = await giving_up.give_up(session, trade_id)
        told = await views.trade(session, member.party_id, trade_id)
        if told.given_up_at is None:
            raise Conflict("This trade has been delivered or refunded already.", code="trade_has_ended")
        if is_new:
            await audit.append(session, audit.party(member.party_id), "give_up", f"trade:{trade_id}", {})
    await announce(venue.redis, SETTLEMENT_WAKE, party_channel(member.party_id))
    return told
