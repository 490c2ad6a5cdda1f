"""Payments: from a wish to pay, through the card and the buyer's confirmation, to capture or release."""

from settlement.simulators.payment import charges, disputes, documents, events, lists, money, payment_methods
from settlement.simulators.payment.answers import Answer, Document, Refusal, malformed
from settlement.simulators.payment.cards import Card, error_code
from settlement.simulators.payment.desk import Call

REASONS = {"abandoned", "duplicate", "fraudulent", "requested_by_customer"}
CANCELABLE = {
    "requires_payment_method", "requires_capture", "requires_confirmation", "requires_action", "processing",
}  # fmt: skip
CONFIRMABLE = {"requires_payment_method", "requires_confirmation", "requires_action"}
PLAIN = ("description", "receipt_email", "statement_descriptor", "statement_descriptor_suffix", "transfer_group")
OPTIONS = (
    "automatic_payment_methods",
    "confirmation_method",
    "payment_method_options",
    "payment_method_types",
    "setup_future_usage",
    "use_stripe_sdk",
)


async def create(call: Call) -> Answer:
    form = call.form
    amount, currency = form.needed_amount("amount"), money.read_currency(form)
    money.check_chargeable(amount, currency)
    if (customer := form.text("customer")) is not None:
        await documents.find(call, "customer", customer, param="customer", status=400)
    capture_method = form.choice("capture_method", {"automatic", "automatic_async", "manual"}) or "automatic"
    intent = _intent(call, amount, currency, capture_method)
    is_confirmed = form.flag("confirm")
    if form.has("return_url") and not is_confirmed:
        raise malformed("You can only provide `return_url` when `confirm` is true.", "return_url")
    await documents.insert(call, intent)
    await events.record(call, "payment_intent.created", intent)
    if form.text("payment_method"):
        method, _ = await payment_methods.usable(call, form.needed("payment_method"), customer)
        intent |= {"payment_method": method["id"], "status": "requires_confirmation"}
        await documents.save(call, intent)
    return await _confirm(call, intent) if is_confirmed else Answer(200, intent)


async def retrieve(call: Call) -> Answer:
    call.form.text("client_secret")
    return Answer(200, await find(call, call.path["id"]))


async def listed(call: Call) -> Answer:
    return Answer(200, await lists.listing(call, "payment_intent", "/v1/payment_intents", ("customer",)))


async def update(call: Call) -> Answer:
    intent, form = await find(call, call.path["id"]), call.form
    intent["metadata"] = form.metadata(intent["metadata"])
    intent |= {name: form.text(name) for name in PLAIN if form.has(name)}
    form.allow(*OPTIONS)
    if form.has("amount") or form.has("payment_method"):
        if intent["status"] not in {"requires_payment_method", "requires_confirmation"}:
            raise _unexpected(intent, "be updated in this way", {"requires_payment_method", "requires_confirmation"})
        intent["amount"] = form.amount("amount") or intent["amount"]
        money.check_chargeable(intent["amount"], intent["currency"])
        if form.text("payment_method"):
            method, _ = await payment_methods.usable(call, form.needed("payment_method"), intent["customer"])
            intent |= {"payment_method": method["id"], "status": "requires_confirmation"}
    await documents.save(call, intent)
    return Answer(200, intent)


async def confirm(call: Call) -> Answer:
    intent, form = await find(call, call.path["id"]), call.form
    if intent["status"] not in CONFIRMABLE:
        raise _unexpected(intent, "be confirmed", CONFIRMABLE)
    if form.text("payment_method"):
        method, _ = await payment_methods.usable(call, form.needed("payment_method"), intent["customer"])
        intent["payment_method"] = method["id"]
    form.allow("client_secret", "receipt_email", *OPTIONS)
    return await _confirm(call, intent)


async def capture(call: Call) -> Answer:
    intent, form = await find(call, call.path["id"]), call.form
    wanted = form.amount("amount_to_capture")
    form.flag("final_capture")
    form.allow("statement_descriptor", "statement_descriptor_suffix")
    if intent["status"] != "requires_capture":
        raise _unexpected(intent, "be captured", {"requires_capture"})
    amount = intent["amount_capturable"] if wanted is None else wanted
    if amount > intent["amount_capturable"]:
        raise Refusal(
            f"The amount to capture ({amount}) is greater than the remaining capturable amount"
            f" ({intent['amount_capturable']}).",
            param="amount_to_capture",
            code="amount_too_large",
        )
    if form.has("metadata"):
        intent["metadata"] = form.metadata(intent["metadata"])
    charge = await documents.find(call, "charge", intent["latest_charge"])
    card = payment_methods.card_of(await documents.hidden_of(call, charge["id"]))
    await charges.take(call, charge, amount, card)
    await _succeed(call, intent, charge, card)
    await events.record(call, "charge.captured", charge)
    return Answer(200, intent)


async def cancel(call: Call) -> Answer:
    intent = await find(call, call.path["id"])
    reason = call.form.choice("cancellation_reason", REASONS)
    if intent["status"] not in CANCELABLE:
        raise _unexpected(intent, "be canceled", CANCELABLE)
    await _release(call, intent, reason, "charge.refunded")
    return Answer(200, intent)


async def give_up(call: Call, intent_id: str) -> None:
    """Let a payment go that nobody can pay any more."""
    intent = await find(call, intent_id)
    if intent["status"] in CANCELABLE:
        await _release(call, intent, "abandoned", "charge.refunded")


async def find(call: Call, intent_id: str) -> Document:
    intent = await documents.find(call, "payment_intent", intent_id, param="intent")
    await lapse(call, intent)
    return intent


async def lapse(call: Call, intent: Document) -> None:
    """Give the money back when the hold's time is over, whether or not the schedule has come to it."""
    if intent["status"] != "requires_capture":
        return
    charge = await documents.find(call, "charge", intent["latest_charge"])
    if charge["payment_method_details"]["card"]["capture_before"] <= call.now:
        await _release(call, intent, "expired", "charge.expired")


async def attempt(call: Call, intent: Document, *, is_authenticated: bool, is_alone: bool = False) -> Answer:
    """Put the payment to the card. `is_alone`: no buyer is there who could confirm."""
    method = await documents.find(call, "payment_method", intent["payment_method"])
    hidden = await documents.hidden_of(call, method["id"])
    card = payment_methods.card_of(hidden)
    if card.is_challenged and not is_authenticated:
        if is_alone:
            return await _decline(call, intent, method, card, "authentication_required")
        return await _challenge(call, intent)
    if card.decline:
        return await _decline(call, intent, method, card, card.decline)
    charge = await charges.succeed(call, intent, method, card, hidden["card"])
    intent |= {"latest_charge": charge["id"], "next_action": None, "last_payment_error": None}
    if intent["capture_method"] == "manual":
        await _hold(call, intent, charge)
    else:
        await _succeed(call, intent, charge, card)
    return Answer(200, intent)


async def give_up_authentication(call: Call, intent: Document) -> None:
    """The buyer failed or refused the bank's question."""
    error = {
        "type": "invalid_request_error",
        "code": "payment_intent_authentication_failure",
        "message": "The provided PaymentMethod has failed authentication.",
    }
    intent |= {
        "status": "requires_payment_method",
        "payment_method": None,
        "next_action": None,
        "last_payment_error": error,
    }
    await documents.save(call, intent)
    await events.record(call, "payment_intent.payment_failed", intent)


async def _confirm(call: Call, intent: Document) -> Answer:
    form = call.form
    return_url = form.text("return_url")
    if return_url and not return_url.startswith(("http://", "https://")):
        raise malformed("Not a valid URL", "return_url", "url_invalid")
    is_alone = form.flag("off_session") | form.flag("error_on_requires_action")
    if intent["payment_method"] is None:
        raise Refusal(
            "You cannot confirm this PaymentIntent because it's missing a payment method.",
            code="payment_intent_unexpected_state",
        )
    await documents.hide(call, intent["id"], return_url=return_url)
    return await attempt(call, intent, is_authenticated=False, is_alone=is_alone)


async def _challenge(call: Call, intent: Document) -> Answer:
    hidden = await documents.hidden_of(call, intent["id"])
    token = documents.token()
    await documents.hide(call, intent["id"], token=token)
    url = f"{call.base_url}/3ds/{token}"
    if hidden.get("return_url"):
        action: Document = {
            "type": "redirect_to_url",
            "redirect_to_url": {"return_url": hidden["return_url"], "url": url},
        }
    else:
        action = {"type": "use_stripe_sdk", "use_stripe_sdk": {"type": "three_d_secure_redirect", "stripe_js": url}}
    intent |= {"status": "requires_action", "next_action": action}
    await documents.save(call, intent)
    await events.record(call, "payment_intent.requires_action", intent)
    return Answer(200, intent)


async def _decline(call: Call, intent: Document, method: Document, card: Card, decline: str) -> Answer:
    body = await charges.decline(call, intent, method, card, decline)
    error = body["error"] | {"payment_method": method}
    intent |= {
        "status": "requires_payment_method",
        "payment_method": None,
        "latest_charge": error["charge"],
        "last_payment_error": error,
        "next_action": None,
    }
    assert error["code"] == error_code(decline)  # one table speaks for both
    await documents.save(call, intent)
    await events.record(call, "payment_intent.payment_failed", intent)
    return Answer(402, {"error": error | {"payment_intent": dict(intent)}})


async def _hold(call: Call, intent: Document, charge: Document) -> None:
    intent |= {"status": "requires_capture", "amount_capturable": intent["amount"]}
    await documents.save(call, intent)
    lapses_at = charge["payment_method_details"]["card"]["capture_before"]
    await documents.schedule(call, "lapse_hold", intent["id"], lapses_at)
    await events.record(call, "payment_intent.amount_capturable_updated", intent)


async def _succeed(call: Call, intent: Document, charge: Document, card: Card) -> None:
    intent |= {"status": "succeeded", "amount_capturable": 0, "amount_received": charge["amount_captured"]}
    await documents.save(call, intent)
    await events.record(call, "payment_intent.succeeded", intent)
    if card.is_disputed:
        await disputes.open_dispute(call, charge)


async def _release(call: Call, intent: Document, reason: str | None, charge_event: str) -> None:
    was_held = intent["status"] == "requires_capture"
    intent |= {
        "status": "canceled",
        "amount_capturable": 0,
        "canceled_at": call.now,
        "cancellation_reason": reason,
        "next_action": None,
    }
    await documents.save(call, intent)
    if was_held:
        charge = await documents.find(call, "charge", intent["latest_charge"])
        await charges.let_go(call, charge)
        await events.record(call, charge_event, charge)
    await events.record(call, "payment_intent.canceled", intent)


def _unexpected(intent: Document, what: str, wanted: set[str]) -> Refusal:
    return Refusal(
        f"This PaymentIntent could not {what} because it has a status of {intent['status']}."
        f" Only a PaymentIntent with one of the following statuses may {what}: {', '.join(sorted(wanted))}.",
        code="payment_intent_unexpected_state",
    )


def _intent(call: Call, amount: int, currency: str, capture_method: str) -> Document:
    form = call.form
    form.allow(*OPTIONS)
    given = {name: form.text(name) for name in PLAIN} | {"metadata": form.metadata()}
    return bare(call, amount, currency, form.text("customer"), capture_method) | given


def bare(call: Call, amount: int, currency: str, customer: str | None, capture_method: str = "automatic") -> Document:
    """A payment that nobody has named a card for yet."""
    intent_id = documents.new_id("pi")
    return {
        "id": intent_id,
        "object": "payment_intent",
        "amount": amount,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": None,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": capture_method,
        "client_secret": f"{intent_id}_secret_{documents.token()}",
        "confirmation_method": "automatic",
        "created": call.now,
        "currency": currency,
        "customer": customer,
        "customer_account": None,
        "excluded_payment_method_types": None,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "metadata": {},
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": {
            "card": {
                "installments": None,
                "mandate_options": None,
                "network": None,
                "request_three_d_secure": "automatic",
            }
        },
        "payment_method_types": ["card"],
        "processing": None,
        "review": None,
        "setup_future_usage": None,
        "shipping": None,
        "status": "requires_payment_method",
        "transfer_data": None,
    } | dict.fromkeys(PLAIN)
