"""Checkout: a page of the provider's on which the payer enters a card, so that nobody else ever sees it."""

from settlement.simulators.payment import documents, events, lists, money, payment_intents, payment_methods
from settlement.simulators.payment.answers import Answer, Document, Refusal, malformed
from settlement.simulators.payment.cards import NUMBERS
from settlement.simulators.payment.desk import Call
from settlement.simulators.payment.form import Form

SHORTEST_SECONDS, LONGEST_SECONDS = 1_800, 86_400
PAID = {"succeeded", "requires_capture"}


async def create(call: Call) -> Answer:
    form = call.form
    if form.choice("mode", {"payment", "setup", "subscription"}) != "payment":
        raise Refusal("Only sessions in payment mode are simulated.", param="mode")
    form.choice("ui_mode", {"hosted_page"})
    if (customer := form.text("customer")) is not None:
        await documents.find(call, "customer", customer, param="customer", status=400)
    amount, currency, name = _item(form)
    money.check_chargeable(amount, currency)
    token = documents.token()
    session = _session(call, amount, currency, _expiry(call), token)
    intent_data = form.nested("payment_intent_data")
    hidden = {
        "token": token,
        "base_url": call.base_url,
        "item": name,
        "intent_metadata": intent_data.metadata(),
        "setup_future_usage": intent_data.choice("setup_future_usage", {"on_session", "off_session"}),
    }
    intent_data.allow("description")
    intent_data.end()
    form.allow("payment_method_types", "submit_type")
    await documents.insert(call, session, hidden)
    await documents.schedule(call, "expire_checkout", session["id"], session["expires_at"])
    return Answer(200, session)


async def retrieve(call: Call) -> Answer:
    return Answer(200, await documents.find(call, "checkout.session", call.path["id"]))


async def listed(call: Call) -> Answer:
    filters = ("customer", "payment_intent", "status")
    return Answer(200, await lists.listing(call, "checkout.session", "/v1/checkout/sessions", filters))


async def expire(call: Call) -> Answer:
    session = await documents.find(call, "checkout.session", call.path["id"])
    if session["status"] != "open":
        raise Refusal(
            f'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a status of'
            f" {session['status']}."
        )
    await _expire(call, session)
    return Answer(200, session)


async def run_out(call: Call, session_id: str) -> None:
    """The time of a session is over."""
    session = await documents.find(call, "checkout.session", session_id)
    if session["status"] == "open":
        await _expire(call, session)


async def pay(call: Call, session: Document, number: str, *, is_saved: bool) -> Document | None:
    """Put the payment to the card with this number; gives the payment, or nothing when there is no such test card."""
    name = NUMBERS.get(number)
    if name is None:
        return None
    hidden = await documents.hidden_of(call, session["id"])
    call.base_url = hidden["base_url"]
    intent = await _intent(call, session, hidden)
    method, _ = await payment_methods.usable(call, name, session["customer"])
    intent |= {"payment_method": method["id"], "status": "requires_confirmation"}
    await documents.save(call, intent)
    may_save = (session["saved_payment_method_options"] or {}).get("payment_method_save") == "enabled"
    back = f"{call.base_url}/checkout/{hidden['token']}/returned"
    await documents.hide(
        call, intent["id"], return_url=back, checkout=session["id"], is_saved=is_saved and may_save, method=method["id"]
    )
    await payment_intents.attempt(call, intent, is_authenticated=False)
    await settle(call, intent)
    return intent


async def of_token(call: Call, token: str) -> tuple[Document, Document] | None:
    """The session behind a page, locked, and what nobody is shown of it."""
    row = await call.connection.fetchrow(
        "SELECT account, data, hidden FROM objects WHERE hidden->>'token' = $1 AND kind = 'checkout.session'"
        " FOR NO KEY UPDATE",
        token,
    )
    if row is None:
        return None
    call.account = row["account"]
    return row["data"], row["hidden"]


async def way_back(call: Call, intent: Document) -> str | None:
    """Where the payer of a session goes in the end; nothing for a payment without one."""
    hidden = await documents.hidden_of(call, intent["id"])
    if hidden.get("checkout") is None:
        return None
    session = await documents.find(call, "checkout.session", hidden["checkout"])
    return success_url(session)


def success_url(session: Document) -> str:
    return (session["success_url"] or "/").replace("{CHECKOUT_SESSION_ID}", session["id"])


async def settle(call: Call, intent: Document) -> None:
    """When a payment of a session has succeeded, the session is complete, and the card kept if its owner wished so."""
    hidden = await documents.hidden_of(call, intent["id"])
    if hidden.get("checkout") is None or intent["status"] not in PAID:
        return
    session = await documents.find(call, "checkout.session", hidden["checkout"])
    session |= {"status": "complete", "payment_status": "paid", "url": None}
    await documents.save(call, session)
    if session["customer"] and (hidden["is_saved"] or intent["setup_future_usage"]):
        await _keep(call, session["customer"], hidden["method"])
    await events.record(call, "checkout.session.completed", session)


async def _keep(call: Call, customer: str, method_id: str) -> None:
    method = await documents.find(call, "payment_method", method_id)
    method |= {"customer": customer, "allow_redisplay": "always"}
    await documents.save(call, method)
    await events.record(call, "payment_method.attached", method)


async def _intent(call: Call, session: Document, hidden: Document) -> Document:
    """The session's payment: made at the first card, and used again for the next."""
    if session["payment_intent"] is not None:
        return await payment_intents.find(call, session["payment_intent"])
    intent = payment_intents.bare(call, session["amount_total"], session["currency"], session["customer"])
    intent |= {"metadata": hidden["intent_metadata"], "setup_future_usage": hidden["setup_future_usage"]}
    await documents.insert(call, intent)
    await events.record(call, "payment_intent.created", intent)
    session["payment_intent"] = intent["id"]
    await documents.save(call, session)
    return intent


async def _expire(call: Call, session: Document) -> None:
    session |= {"status": "expired", "url": None}
    await documents.save(call, session)
    if session["payment_intent"] is not None:
        await payment_intents.give_up(call, session["payment_intent"])
    await events.record(call, "checkout.session.expired", session)


def _item(form: Form) -> tuple[int, str, str]:
    """The amount, currency and name of the only line item."""
    items = form.nested("line_items")
    item = items.nested("0")
    items.end()
    price = item.nested("price_data")
    product = price.nested("product_data")
    name = product.needed("name")
    product.allow("description", "metadata")
    product.end()
    amount, currency = price.needed_amount("unit_amount"), money.read_currency(price)
    price.end()
    quantity = item.amount("quantity") or 1
    item.end()
    return amount * quantity, currency, name


def _expiry(call: Call) -> int:
    expires_at = call.form.integer("expires_at")
    if expires_at is None:
        return call.now + LONGEST_SECONDS
    if not SHORTEST_SECONDS - 60 <= expires_at - call.now <= LONGEST_SECONDS + 60:
        raise Refusal(
            "The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout Session creation.",
            param="expires_at",
        )
    return expires_at


def _saving(form: Form) -> Document | None:
    options = form.nested("saved_payment_method_options")
    save = options.choice("payment_method_save", {"enabled", "disabled"})
    remove = options.choice("payment_method_remove", {"enabled", "disabled"})
    options.end()
    if not form.has("saved_payment_method_options"):
        return None
    return {
        "allow_redisplay_filters": ["always"],
        "payment_method_remove": remove or "disabled",
        "payment_method_save": save or "disabled",
    }


def _address(form: Form, name: str) -> str | None:
    url = form.text(name)
    if url is not None and not url.startswith(("http://", "https://")):
        raise malformed("Not a valid URL", name, "url_invalid")
    return url


def _session(call: Call, amount: int, currency: str, expires_at: int, token: str) -> Document:
    form, session_id = call.form, documents.new_id("cs_test")
    return {
        "id": session_id,
        "object": "checkout.session",
        "adaptive_pricing": None,
        "after_expiration": None,
        "allow_promotion_codes": None,
        "amount_subtotal": amount,
        "amount_total": amount,
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "billing_address_collection": None,
        "cancel_url": _address(form, "cancel_url"),
        "client_reference_id": form.text("client_reference_id"),
        "client_secret": None,
        "collected_information": None,
        "consent": None,
        "consent_collection": None,
        "created": call.now,
        "currency": currency,
        "currency_conversion": None,
        "custom_fields": [],
        "custom_text": {
            "after_submit": None,
            "shipping_address": None,
            "submit": None,
            "terms_of_service_acceptance": None,
        },
        "customer": form.text("customer"),
        "customer_account": None,
        "customer_creation": None,
        "customer_details": None,
        "customer_email": form.text("customer_email"),
        "discounts": [],
        "expires_at": expires_at,
        "invoice": None,
        "invoice_creation": None,
        "livemode": False,
        "locale": form.text("locale"),
        "metadata": form.metadata(),
        "mode": "payment",
        "origin_context": None,
        "payment_intent": None,
        "payment_link": None,
        "payment_method_collection": "if_required",
        "payment_method_configuration_details": None,
        "payment_method_options": {},
        "payment_method_types": ["card"],
        "payment_status": "unpaid",
        "permissions": None,
        "phone_number_collection": {"enabled": False},
        "recovered_from": None,
        "saved_payment_method_options": _saving(form),
        "setup_intent": None,
        "shipping_address_collection": None,
        "shipping_cost": None,
        "shipping_options": [],
        "status": "open",
        "submit_type": None,
        "subscription": None,
        "success_url": _address(form, "success_url"),
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
        "url": f"{call.base_url}/checkout/{token}",
        "wallet_options": None,
    }
