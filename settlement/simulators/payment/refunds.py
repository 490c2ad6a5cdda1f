"""Refunds: captured money back to the card, never more than was captured."""

from settlement.simulators.payment import books, documents, events, lists, money, payment_methods
from settlement.simulators.payment.answers import Answer, Document, Refusal, malformed
from settlement.simulators.payment.desk import Call

REASONS = {"duplicate", "fraudulent", "requested_by_customer"}


async def create(call: Call) -> Answer:
    form = call.form
    metadata, reason, wanted = form.metadata(), form.choice("reason", REASONS), form.amount("amount")
    charge = await _refundable(call)
    rest = charge["amount"] - charge["amount_refunded"]
    if rest == 0:
        raise Refusal(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    amount = rest if wanted is None else wanted
    if amount > rest:
        too_much, left = money.shown(amount, charge["currency"]), money.shown(rest, charge["currency"])
        raise Refusal(
            f"Refund amount ({too_much}) is greater than unrefunded amount on charge ({left})", param="amount"
        )
    card = payment_methods.card_of(await documents.hidden_of(call, charge["id"]))
    refund = _refund(call, charge, amount, reason, metadata)
    await documents.insert(call, refund)
    if card.refund == "is_pending":
        refund |= {"status": "pending", "pending_reason": "processing"}
    await _book(call, refund, charge)
    if card.refund != "succeeds":
        action = "finish_refund" if card.refund == "is_pending" else "fail_refund"
        await documents.schedule(call, action, refund["id"], call.now + call.settings.refund_step_seconds)
    await events.record(call, "refund.created", refund)
    await events.record(call, "charge.refunded", charge)
    return Answer(200, refund)


async def retrieve(call: Call) -> Answer:
    return Answer(200, await documents.find(call, "refund", call.path["id"]))


async def update(call: Call) -> Answer:
    refund = await documents.find(call, "refund", call.path["id"])
    refund["metadata"] = call.form.metadata(refund["metadata"])
    await documents.save(call, refund)
    await events.record(call, "refund.updated", refund)
    return Answer(200, refund)


async def listed(call: Call) -> Answer:
    return Answer(200, await lists.listing(call, "refund", "/v1/refunds", ("charge", "payment_intent")))


async def finish(call: Call, refund_id: str) -> None:
    refund = await documents.find(call, "refund", refund_id)
    refund["status"] = "succeeded"
    refund.pop("pending_reason", None)
    await documents.save(call, refund)
    await events.record(call, "refund.updated", refund)


async def fail(call: Call, refund_id: str) -> None:
    """The bank would not take it: the money comes back to the account."""
    refund = await documents.find(call, "refund", refund_id)
    charge = await documents.find(call, "charge", refund["charge"])
    amount, currency = refund["amount"], refund["currency"]
    await books.move(call, (books.CARDS, call.account), amount, currency, reason="refund_failure", source=refund_id)
    refund |= {
        "status": "failed",
        "failure_reason": "expired_or_canceled_card",
        "failure_balance_transaction": await books.line(call, "refund_failure", amount, currency, refund_id),
    }
    charge |= {"amount_refunded": charge["amount_refunded"] - amount, "refunded": False}
    await documents.save(call, refund)
    await documents.save(call, charge)
    await events.record(call, "refund.failed", refund)


async def _refundable(call: Call) -> Document:
    form = call.form
    intent_id, charge_id = form.text("payment_intent"), form.text("charge")
    if (intent_id is None) == (charge_id is None):
        raise malformed("You must provide exactly one of the parameters: payment_intent, charge.", "payment_intent")
    if intent_id is not None:
        intent = await documents.find(call, "payment_intent", intent_id, param="payment_intent", status=400)
        if intent["status"] != "succeeded":
            raise Refusal(
                f"This PaymentIntent ({intent_id}) does not have a successful charge to refund.",
                param="payment_intent",
                code="payment_intent_unexpected_state",
            )
        charge_id = intent["latest_charge"]
    assert charge_id is not None  # one of the two was given, and a success has a charge
    charge = await documents.find(call, "charge", charge_id, param="charge", status=400)
    if not charge["captured"] or charge["status"] != "succeeded":
        raise Refusal(f"Charge {charge_id} is not captured; cancel its PaymentIntent.", code="charge_not_refundable")
    if charge["disputed"]:
        raise Refusal(f"Charge {charge_id} has been charged back; cannot issue a refund.", code="charge_disputed")
    return charge


async def _book(call: Call, refund: Document, charge: Document) -> None:
    amount, currency = refund["amount"], refund["currency"]
    await books.move(call, (call.account, books.CARDS), amount, currency, reason="refund", source=refund["id"])
    refund["balance_transaction"] = await books.line(call, "refund", -amount, currency, refund["id"])
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    await documents.save(call, refund)
    await documents.save(call, charge)


def _refund(call: Call, charge: Document, amount: int, reason: str | None, metadata: dict[str, str]) -> Document:
    return {
        "id": documents.new_id("re"),
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": charge["id"],
        "created": call.now,
        "currency": charge["currency"],
        "customer": charge["customer"],
        "customer_account": None,
        "destination_details": {
            "card": {
                "reference_status": "pending",
                "reference_type": "acquirer_reference_number",
                "type": "refund",
            },
            "type": "card",
        },
        "metadata": metadata,
        "payment_intent": charge["payment_intent"],
        "payment_method": charge["payment_method"],
        "reason": reason,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "succeeded",
        "transfer_reversal": None,
    }
