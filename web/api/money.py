"""Money in and out: pages for a new card, saved cards, the phone bill, refunds in part, payouts by schedule."""

from datetime import UTC, datetime

from litestar import Response, delete, get, post, put
from litestar.params import JSONBody

from market import payout_schedule, phone_bill, refunds, saved_cards, top_ups
from market.phone_bill import BillPayment
from market.top_ups import TopUp
from settlement.checkouts import CHECKOUT_METHOD
from web.api import ids
from web.api.documented import BillPaymentId, CardId, CheckoutId, Key, answers, problems
from web.api.money_shapes import (
    CardTopUp,
    CheckoutBody,
    CheckoutSession,
    PartRefund,
    PartRefundBody,
    PayoutSchedule,
    PayoutScheduleBody,
    PhoneBillBody,
    PhoneBillPayment,
    SavedCard,
    TopUpBody,
)
from web.api.orders import Asking
from web.edge.idempotency import idempotency_key
from web.edge.venue import Venue


@post(
    "/checkout-sessions",
    tags=["money"],
    summary="Open the provider's page for a new card",
    operation_id="createCheckoutSession",
    responses=answers({201: CheckoutSession, 202: CheckoutSession}) | problems(413, 415, 422),
)
async def create_checkout(
    request: Asking, venue: Venue, data: JSONBody[CheckoutBody], key: Key
) -> Response[CheckoutSession]:
    """Fill the wallet by a card that is entered at the payment provider, and may be saved there.

    202 while it is not known whether the page is open; the same request with the same key tells.
    """
    made = await top_ups.top_up(venue, request.user, data.amount_minor, CHECKOUT_METHOD, idempotency_key(key))
    return Response(_checkout(made), status_code=202 if made.status == "unknown" else 201)


@get(
    "/checkout-sessions/{checkout_id:str}",
    tags=["money"],
    summary="How such a page stands",
    operation_id="getCheckoutSession",
    response_description="The page and what came of it.",
    responses=problems(402, 404),
)
async def get_checkout(request: Asking, venue: Venue, checkout_id: CheckoutId) -> CheckoutSession:
    return _checkout(await top_ups.payment_returned(venue, request.user, ids.checkout_id(checkout_id)))


@post(
    "/top-ups",
    tags=["money"],
    summary="Fill the wallet by a saved card",
    operation_id="topUp",
    responses=answers({201: CardTopUp, 202: CardTopUp}) | problems(402, 413, 415, 422),
)
async def top_up(request: Asking, venue: Venue, data: JSONBody[TopUpBody], key: Key) -> Response[CardTopUp]:
    """Charge a saved card. 202 while the bank asks its owner, at `action_url`, or the outcome is not known yet."""
    made = await top_ups.top_up(venue, request.user, data.amount_minor, data.card_id, idempotency_key(key))
    told = CardTopUp(f"pay_{made.id}", made.status, made.amount_minor, made.action_url)
    return Response(told, status_code=201 if made.status == "succeeded" else 202)


@get(
    "/cards",
    tags=["money"],
    summary="Your saved cards",
    operation_id="listCards",
    response_description="Your cards, newest first.",
    responses=problems(),
)
async def list_cards(request: Asking, venue: Venue) -> list[SavedCard]:
    async with venue.reads() as session:
        rows = await saved_cards.cards(session, request.user)
    return [SavedCard(row.id, row.brand, row.last4, row.expiry_month, row.expiry_year) for row in rows]


@delete(
    "/cards/{card_id:str}",
    tags=["money"],
    summary="Forget a saved card",
    operation_id="deleteCard",
    status_code=204,
    response_description="It can't be charged again.",
    responses=problems(404),
)
async def delete_card(request: Asking, venue: Venue, card_id: CardId) -> None:
    await saved_cards.forget(venue, request.user, ids.card_id(card_id))


@post(
    "/top-ups/{checkout_id:str}/refunds",
    tags=["money"],
    summary="Send a part of a top-up back to its card",
    operation_id="refundTopUp",
    status_code=202,
    response_description="The refund; its money has left what is available.",
    responses=problems(404, 413, 415, 422),
)
async def refund_top_up(
    request: Asking, venue: Venue, checkout_id: CheckoutId, data: JSONBody[PartRefundBody], key: Key
) -> PartRefund:
    payment_id = ids.checkout_id(checkout_id)
    row = await refunds.refund_part(venue, request.user, payment_id, data.amount_minor, idempotency_key(key))
    return PartRefund(f"rfd_{row.id}", f"pay_{payment_id}", row.amount_minor, row.status)


@post(
    "/phone-bill-payments",
    tags=["money"],
    summary="Have an amount reserved on a phone bill",
    operation_id="preparePhoneBillPayment",
    status_code=202,
    response_description="The payment, while the carrier reserves it.",
    responses=problems(404, 413, 415, 422),
)
async def prepare_bill(request: Asking, venue: Venue, data: JSONBody[PhoneBillBody], key: Key) -> PhoneBillPayment:
    """Nothing is charged before you confirm it, within a quarter of an hour."""
    line_id = ids.line_id(data.line_id)
    return _bill(await phone_bill.top_up(venue, request.user, line_id, data.amount_minor, idempotency_key(key)))


@get(
    "/phone-bill-payments/{bill_id:str}",
    tags=["money"],
    summary="How a payment on the phone bill stands",
    operation_id="getPhoneBillPayment",
    response_description="The payment.",
    responses=problems(404),
)
async def get_bill(request: Asking, venue: Venue, bill_id: BillPaymentId) -> PhoneBillPayment:
    return _bill(await phone_bill.payment(venue, request.user, ids.bill_id(bill_id)))


@post(
    "/phone-bill-payments/{bill_id:str}/confirm",
    tags=["money"],
    summary="Have a reserved payment charged",
    operation_id="confirmPhoneBillPayment",
    status_code=202,
    response_description="The payment, while the carrier charges it.",
    responses=problems(404, 409),
)
async def confirm_bill(request: Asking, venue: Venue, bill_id: BillPaymentId, key: Key) -> PhoneBillPayment:
    """What is confirmed stays so: saying it again, under any key, tells how it stands."""
    idempotency_key(key)
    return _bill(await phone_bill.confirm(venue, request.user, ids.bill_id(bill_id)))


@post(
    "/phone-bill-payments/{bill_id:str}/cancel",
    tags=["money"],
    summary="Let a reserved payment go",
    operation_id="cancelPhoneBillPayment",
    status_code=202,
    response_description="The payment, while the carrier lets it go.",
    responses=problems(404, 409),
)
async def cancel_bill(request: Asking, venue: Venue, bill_id: BillPaymentId, key: Key) -> PhoneBillPayment:
    """What is let go stays so: saying it again, under any key, tells how it stands."""
    idempotency_key(key)
    return _bill(await phone_bill.cancel(venue, request.user, ids.bill_id(bill_id)))


@get(
    "/payout-schedule",
    tags=["money"],
    summary="When you are paid out by itself",
    operation_id="getPayoutSchedule",
    response_description="Your setting.",
    responses=problems(),
)
async def get_schedule(request: Asking, venue: Venue) -> PayoutSchedule:
    async with venue.reads() as session:
        setting = await payout_schedule.schedule_of(session, request.user)
    return PayoutSchedule(setting.every, setting.minimum_minor, setting.effective_at)


@put(
    "/payout-schedule",
    tags=["money"],
    summary="Set when you are paid out",
    operation_id="putPayoutSchedule",
    response_description="Your setting; payouts by it begin 24 hours later.",
    responses=problems(413, 415, 422),
)
async def put_schedule(request: Asking, venue: Venue, data: JSONBody[PayoutScheduleBody]) -> PayoutSchedule:
    setting = await payout_schedule.change(venue, request.user, data.every, data.minimum_minor, datetime.now(UTC))
    return PayoutSchedule(setting.every, setting.minimum_minor, setting.effective_at)


def _checkout(made: TopUp) -> CheckoutSession:
    return CheckoutSession(f"pay_{made.id}", made.status, made.amount_minor, made.action_url)


def _bill(payment: BillPayment) -> PhoneBillPayment:
    return PhoneBillPayment(
        id=f"bil_{payment.id}",
        status=payment.status,
        decided=payment.decided,
        amount_minor=payment.amount_minor,
        currency=payment.currency,
        line_id=f"lin_{payment.line_id}",
        decide_by=payment.decide_by,
        reason=payment.reason,
    )


routes = [
    create_checkout,
    get_checkout,
    top_up,
    list_cards,
    delete_card,
    refund_top_up,
    prepare_bill,
    get_bill,
    confirm_bill,
    cancel_bill,
    get_schedule,
    put_schedule,
]
