"""Disputes: a buyer takes the money back through the bank; the documented evidence texts decide who wins."""

from settlement.simulators.payment import books, documents, events, lists
from settlement.simulators.payment.answers import Answer, Document, Refusal
from settlement.simulators.payment.desk import Call

EVIDENCE_SECONDS = 7 * 86_400
OUTCOMES = {"winning_evidence": "won", "losing_evidence": "lost"}
EVIDENCE = (
    "access_activity_log", "billing_address", "cancellation_policy", "cancellation_policy_disclosure",
    "cancellation_rebuttal", "customer_communication", "customer_email_address", "customer_name",
    "customer_purchase_ip", "customer_signature", "duplicate_charge_documentation", "duplicate_charge_explanation",
    "duplicate_charge_id", "product_description", "receipt", "refund_policy", "refund_policy_disclosure",
    "refund_refusal_explanation", "service_date", "service_documentation", "shipping_address", "shipping_carrier",
    "shipping_date", "shipping_documentation", "shipping_tracking_number", "uncategorized_file",
    "uncategorized_text",
)  # fmt: skip


async def open_dispute(call: Call, charge: Document) -> None:
    """Take the money and a fee at once, as banks do."""
    dispute = _dispute(call, charge)
    amount, fee, currency = charge["amount_captured"], call.settings.dispute_fee_minor, charge["currency"]
    await books.move(call, (call.account, books.CARDS), amount, currency, reason="dispute", source=dispute["id"])
    if fee:
        await books.move(call, (call.account, books.FEES), fee, currency, reason="dispute_fee", source=dispute["id"])
    await _add_line(call, dispute, await books.line(call, "adjustment", -amount, currency, dispute["id"], fee=fee))
    await documents.insert(call, dispute)
    charge["disputed"] = True
    await documents.save(call, charge)
    await events.record(call, "charge.dispute.created", dispute)
    await events.record(call, "charge.dispute.funds_withdrawn", dispute)


async def retrieve(call: Call) -> Answer:
    return Answer(200, await documents.find(call, "dispute", call.path["id"]))


async def listed(call: Call) -> Answer:
    return Answer(200, await lists.listing(call, "dispute", "/v1/disputes", ("charge", "payment_intent")))


async def update(call: Call) -> Answer:
    dispute = await documents.find(call, "dispute", call.path["id"])
    dispute["metadata"] = call.form.metadata(dispute["metadata"])
    evidence = call.form.nested("evidence")
    given = {name: evidence.text(name) for name in EVIDENCE if evidence.has(name)}
    evidence.end()
    is_submitted = call.form.flag("submit") or not call.form.has("submit")
    if given and dispute["status"] != "needs_response":
        raise Refusal("This dispute is already closed.", code="status_transition_invalid")
    dispute["evidence"] |= given
    dispute["evidence_details"]["has_evidence"] |= bool(given)
    if given and is_submitted:
        dispute["evidence_details"]["submission_count"] += 1
        await _decide(call, dispute, OUTCOMES.get(given.get("uncategorized_text") or "", "under_review"))
    await documents.save(call, dispute)
    return Answer(200, dispute)


async def _decide(call: Call, dispute: Document, outcome: str) -> None:
    dispute["status"] = outcome
    if outcome == "won":
        amount, currency = dispute["amount"], dispute["currency"]
        await books.move(
            call, (books.CARDS, call.account), amount, currency, reason="dispute_won", source=dispute["id"]
        )
        await _add_line(call, dispute, await books.line(call, "adjustment", amount, currency, dispute["id"]))
        await events.record(call, "charge.dispute.funds_reinstated", dispute)
    await events.record(
        call, "charge.dispute.updated" if outcome == "under_review" else "charge.dispute.closed", dispute
    )


async def _add_line(call: Call, dispute: Document, line_id: str) -> None:
    dispute["balance_transactions"].append(
        await call.connection.fetchval("SELECT data FROM objects WHERE id = $1", line_id)
    )


def _dispute(call: Call, charge: Document) -> Document:
    return {
        "id": documents.new_id("dp"),
        "object": "dispute",
        "amount": charge["amount_captured"],
        "balance_transactions": [],
        "charge": charge["id"],
        "created": call.now,
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": dict.fromkeys(EVIDENCE) | {"enhanced_evidence": {}},
        "evidence_details": {
            "due_by": call.now + EVIDENCE_SECONDS,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        "is_charge_refundable": False,
        "livemode": False,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "payment_method_details": {
            "card": {"brand": "visa", "case_type": "chargeback", "network": "visa", "network_reason_code": "10.4"},
            "type": "card",
        },
        "reason": "fraudulent",
        "status": "needs_response",
    }
