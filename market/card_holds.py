"""Card holds for immediate purchases: authorised before the order, captured after delivery, else let go."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from market.assets import asset_id
from market.customers import customer_of
from market.installation import mark
from market.keys import reused
from market.parties import Member
from market.refusals import BadInput, OutcomeUnknown, PaymentFailed
from market.venue import Venue
from settlement import accounts, funding
from settlement.naming import external_id
from settlement.payments.errors import PaymentDeclined, PaymentError, PaymentRefused
from settlement.payments.values import Payment
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
    row = await _intent(venue, member, amount_minor, payment_method, key)
    if row.status in {"requested", "unknown", "requires_action"}:
        row = await _ask_provider(venue, member, row)
    if row.status == "requires_action":
        return Hold(row.id, row.account_id, row.action_url)
    if row.status != "authorised":
        raise PaymentFailed(DECLINED, field="payment_method")
    return Hold(row.id, row.account_id, None)


async def let_go(venue: Venue, payment_id: int) -> None:
    """Release a hold that no order will use."""
    async with venue.sessions() as session:
        await funding.finish_hold(session, payment_id)
        await session.commit()


async def _intent(venue: Venue, member: Member, amount_minor: int, payment_method: str, key: str) -> PaymentRow:
    """Write down what will be asked of the provider, before asking."""
    async with venue.sessions() as session:
        cny = await asset_id(session, venue.settings.currency)
        account = await accounts.account_id(session, member.party_id, cny, "card", key)
        values = {
            "party_id": member.party_id, "key": key, "kind": "card_hold", "account_id": account,
            "amount_minor": amount_minor, "currency": venue.settings.currency, "payment_method": payment_method,
            "status": "requested",
        }  # fmt: skip
        await session.execute(insert(PaymentRow).values(values).on_conflict_do_nothing())
        await session.commit()
        row = await session.scalar(
            select(PaymentRow).where(PaymentRow.party_id == member.party_id, PaymentRow.key == key)
        )
    assert row is not None
    if (row.kind, row.amount_minor, row.payment_method) != ("card_hold", amount_minor, payment_method):
        raise reused()
    return row


async def _ask_provider(venue: Venue, member: Member, row: PaymentRow) -> PaymentRow:
    customer = await customer_of(venue, member)
    async with venue.sessions() as session:
        name = external_id(await mark(session), row.kind, row.id)
    try:
        payment = await _authorise_or_ask(venue, row, customer, name)
    except (PaymentDeclined, PaymentRefused) as refused:
        async with venue.sessions() as session:
            await funding.decline_payment(session, row.id, refused.code)
            await session.commit()
        raise PaymentFailed(DECLINED, field="payment_method") from refused
    except PaymentError as error:
        async with venue.sessions() as session:
            await funding.doubt_payment(session, row.id, type(error).__name__)
            await session.commit()
        raise OutcomeUnknown(
            "It is not known yet whether your bank holds the money. Ask again with the same key."
        ) from error
    async with venue.sessions() as session:
        booked = await funding.book_authorisation(session, row.id, payment)
        await session.commit()
    return booked


async def _authorise_or_ask(venue: Venue, row: PaymentRow, customer: str, name: str) -> Payment:
    if row.provider_id is not None:
        return await venue.payments.payment(row.provider_id)
    return await venue.payments.authorise(
        customer=customer,
        amount_minor=row.amount_minor,
        currency=row.currency,
        payment_method=row.payment_method,
        reference=name,
        key=name,
        return_url=f"{venue.settings.public_url}/payments/{row.id}/returned",
    )
