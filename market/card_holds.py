"""Card holds for immediate purchases: authorised before the order, captured after delivery, else let go."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from market.assets import asset_id
from market.card_payments import OPEN, begin, carry_out, take_up
from market.customers import customer_of
from market.keys import reused
from market.parties import Member
from market.refusals import BadInput, OutcomeUnknown, PaymentFailed
from market.venue import Venue
from settlement import accounts, funding
from settlement.claims import Claim
from settlement.tables import PaymentRow

DECLINED = "The card was declined. Try another card or ask your bank."


@dataclass(frozen=True, slots=True)
class Hold:
    """An authorised hold, or one whose owner must first confirm it at ``action_url``."""

    id: int
    account_id: int
    action_url: str | None


async def authorise(venue: Venue, member: Member, amount_minor: int, payment_method: str | None, key: str) -> Hold:
    """Hold an amount on the buyer's card; the same key finds the same hold.

    Raises:
        PaymentFailed: the card or the provider refused.
        KeyReused: the key was used for another request.
        OutcomeUnknown: the provider gave no definite answer; ask again with the same key.
    """
    if not payment_method:
        raise BadInput("Choose a card.", field="payment_method")
    row, claim = await _intent(venue, member, amount_minor, payment_method, key)
    if row.status in OPEN:
        row = await carry_out(venue, row, claim)
    if row.status == "requires_action":
        return Hold(row.id, row.account_id, row.action_url)
    if row.status in OPEN:
        raise OutcomeUnknown("It is not known yet whether your bank holds the money. Ask again with the same key.")
    if row.status != "authorised":
        raise PaymentFailed(DECLINED, field="payment_method")
    return Hold(row.id, row.account_id, None)


async def let_go(venue: Venue, payment_id: int) -> None:
    """Release a hold that no order will use."""
    async with venue.sessions() as session:
        await funding.finish_hold(session, payment_id)
        await session.commit()


async def _intent(
    venue: Venue, member: Member, amount_minor: int, payment_method: str, key: str
) -> tuple[PaymentRow, Claim | None]:
    """Write down what will be asked of the provider, before asking, and take it into hands."""
    customer = await customer_of(venue, member)
    async with venue.sessions.begin() as session:
        cny = await asset_id(session, venue.settings.currency)
        account = await accounts.account_id(session, member.party_id, cny, "card", key)
        values = {
            "party_id": member.party_id, "key": key, "kind": "card_hold", "account_id": account,
            "amount_minor": amount_minor, "currency": venue.settings.currency, "payment_method": payment_method,
            "status": "requested", "customer": customer,
        }  # fmt: skip
        made = insert(PaymentRow).values(values).on_conflict_do_nothing().returning(PaymentRow.id)
        is_new = await session.scalar(made) is not None
        own = select(PaymentRow).where(PaymentRow.party_id == member.party_id, PaymentRow.key == key)
        row = (await session.scalars(own)).one()
        if (row.kind, row.amount_minor, row.payment_method) != ("card_hold", amount_minor, payment_method):
            raise reused()
        return row, await (begin if is_new else take_up)(session, venue, row)
