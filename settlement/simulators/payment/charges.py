"""Charges: each attempt on a card, and the money that comes of it."""

from settlement.simulators.payment import books, documents, events, lists
from settlement.simulators.payment.answers import Answer, Document, error_body
from settlement.simulators.payment.cards import MESSAGES, Card, error_code
from settlement.simulators.payment.desk import Call
from settlement.simulators.payment.payment_methods import EXPIRY_YEAR, billing_details, checks

BASIS_POINTS = 10_000


async def retrieve(call: Call) -> Answer:
    return Answer(200, await documents.find(call, "charge", call.path["id"]))


async def listed(call: Call) -> Answer:
    return Answer(
        200, await lists.listing(call, "charge", "/v1/charges", ("customer", "payment_intent", "transfer_group"))
    )


async def decline(call: Call, intent: Document, method: Document, card: Card, decline_code: str) -> Document:
    """Write down a declined attempt; returns the error body, without the payment."""
    charge = _charge(call, intent, method, card)
    code, message = error_code(decline_code), MESSAGES[decline_code]
    charge |= {"paid": False, "status": "failed", "failure_code": code, "failure_message": message}
    charge["outcome"] |= {
        "network_status": "declined_by_network",
        "reason": decline_code,
        "risk_level": "normal",
        "seller_message": "The bank did not return any further details with this decline.",
        "type": "issuer_declined",
    }
    await documents.insert(call, charge)
    await events.record(call, "charge.failed", charge)
    return error_body("card_error", message, code=code, decline_code=decline_code, charge=charge["id"])


async def succeed(call: Call, intent: Document, method: Document, card: Card, card_name: str) -> Document:
    """A charge that the bank approved: held, or taken at once."""
    charge = _charge(call, intent, method, card)
    details = charge["payment_method_details"]["card"]
    details["amount_authorized"] = intent["amount"]
    if intent["capture_method"] == "manual":
        details["capture_before"] = call.now + call.settings.hold_seconds
    await documents.insert(call, charge, {"card": card_name})
    if intent["capture_method"] != "manual":
        await take(call, charge, intent["amount"], card)
    await events.record(call, "charge.succeeded", charge)
    return charge


async def take(call: Call, charge: Document, amount: int, card: Card) -> None:
    """Capture: book the money, let go of the rest of the hold."""
    currency = charge["currency"]
    fee = -(-amount * call.settings.fee_basis_points // BASIS_POINTS)
    await books.move(call, (books.CARDS, call.account), amount, currency, reason="charge", source=charge["id"])
    if fee:
        await books.move(call, (call.account, books.FEES), fee, currency, reason="charge_fee", source=charge["id"])
    delay = 0 if card.is_available_at_once else call.settings.settle_seconds
    charge["balance_transaction"] = await books.line(
        call, "charge", amount, currency, charge["id"], fee=fee, available_on=call.now + delay
    )
    charge |= {"captured": True, "amount_captured": amount, "amount_refunded": charge["amount"] - amount}
    await documents.save(call, charge)


async def let_go(call: Call, charge: Document) -> None:
    """A hold ends without capture."""
    charge |= {"amount_refunded": charge["amount"], "refunded": True}
    await documents.save(call, charge)


def _charge(call: Call, intent: Document, method: Document, card: Card) -> Document:
    return {
        "id": documents.new_id("ch"),
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": 0,
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": None,
        "billing_details": billing_details(),
        "calculated_statement_descriptor": "SURPLUSFLOW",
        "captured": False,
        "created": call.now,
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": None,
        "failure_message": None,
        "fraud_details": {},
        "livemode": False,
        "metadata": intent["metadata"],
        "on_behalf_of": None,
        "outcome": {
            "advice_code": None,
            "network_advice_code": None,
            "network_decline_code": None,
            "network_status": "approved_by_network",
            "reason": None,
            "risk_level": "normal",
            "risk_score": 20,
            "seller_message": "Payment complete.",
            "type": "authorized",
        },
        "paid": True,
        "payment_intent": intent["id"],
        "payment_method": method["id"],
        "payment_method_details": {"card": _card_details(card), "type": "card"},
        "receipt_email": intent["receipt_email"],
        "receipt_number": None,
        "receipt_url": None,
        "refunded": False,
        "review": None,
        "shipping": None,
        "source_transfer": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "succeeded",
        "transfer_data": None,
        "transfer_group": intent["transfer_group"],
    }


def _card_details(card: Card) -> Document:
    return {
        "amount_authorized": None,
        "authorization_code": None,
        "brand": card.brand,
        "checks": checks(),
        "country": "CN",
        "exp_month": 12,
        "exp_year": EXPIRY_YEAR,
        "extended_authorization": {"status": "disabled"},
        "fingerprint": f"fingerprint{card.last4}",
        "funding": "credit",
        "incremental_authorization": {"status": "unavailable"},
        "installments": None,
        "last4": card.last4,
        "mandate": None,
        "multicapture": {"status": "unavailable"},
        "network": card.brand,
        "network_token": {"used": False},
        "network_transaction_id": None,
        "overcapture": {"maximum_amount_capturable": 0, "status": "unavailable"},
        "regulated_status": "unregulated",
        "three_d_secure": None,
        "wallet": None,
    }
