"""Payment methods: cards made from the documented test names, attached to customers or used once."""

from settlement.simulators.payment import documents, events, lists
from settlement.simulators.payment.answers import Answer, Document, Refusal, malformed, missing
from settlement.simulators.payment.cards import CARDS, Card
from settlement.simulators.payment.desk import Call

EXPIRY_YEAR = 2034


def card_of(hidden: Document) -> Card:
    return CARDS[hidden["card"]]


def checks() -> Document:
    return {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"}


def billing_details() -> Document:
    address = {"city": None, "country": None, "line1": None, "line2": None, "postal_code": None, "state": None}
    return {"address": address, "email": None, "name": None, "phone": None, "tax_id": None}


async def usable(call: Call, method_id: str, customer: str | None) -> tuple[Document, Card]:
    """The payment method to charge; a test name makes a new one, as it does at the provider.

    Raises:
        Refusal: There is none, or it belongs to another customer.
    """
    if method_id in CARDS:
        method = await _make(call, method_id)
        return method, CARDS[method_id]
    if method_id.startswith("pm_card_"):
        raise missing("PaymentMethod", method_id, "payment_method", status=400)
    method = await documents.find(call, "payment_method", method_id, param="payment_method", status=400)
    if method["customer"] is not None and method["customer"] != customer:
        raise Refusal(
            f"The payment method {method_id} belongs to another customer and cannot be used for this payment.",
            param="payment_method",
        )
    hidden = await documents.hidden_of(call, method_id)
    if hidden.get("is_spent"):
        raise _spent()
    return method, card_of(hidden)


def _spent() -> Refusal:
    return Refusal(
        "This PaymentMethod was previously used without being attached to a Customer or was detached from a Customer,"
        " and may not be used again.",
        code="payment_method_unexpected_state",
    )


async def create(call: Call) -> Answer:
    if call.form.choice("type", {"card"}) is None:
        raise malformed("Missing required param: type.", "type", "parameter_missing")
    card = call.form.nested("card")
    name = card.needed("token").replace("tok_", "pm_card_", 1)
    card.end()
    if name not in CARDS:
        raise missing("token", name.replace("pm_card_", "tok_", 1), "card[token]", status=400)
    method = await _make(call, name)
    method["metadata"] = call.form.metadata()
    await documents.save(call, method)
    return Answer(200, method)


async def retrieve(call: Call) -> Answer:
    return Answer(200, await documents.find(call, "payment_method", call.path["id"]))


async def attach(call: Call) -> Answer:
    customer = call.form.needed("customer")
    await documents.find(call, "customer", customer, param="customer", status=400)
    method_id = call.path["id"]
    method, _ = await usable(call, method_id, customer)
    method["customer"] = customer
    await documents.save(call, method)
    await events.record(call, "payment_method.attached", method)
    return Answer(200, method)


async def detach(call: Call) -> Answer:
    method = await documents.find(call, "payment_method", call.path["id"])
    if method["customer"] is None:
        raise Refusal("The payment method you provided is not attached to a customer so detachment is impossible.")
    method["customer"] = None
    await documents.save(call, method)
    await documents.hide(call, method["id"], is_spent=True)
    await events.record(call, "payment_method.detached", method)
    return Answer(200, method)


async def listed(call: Call) -> Answer:
    call.form.choice("type", {"card"})
    return Answer(200, await lists.listing(call, "payment_method", "/v1/payment_methods", ("customer",)))


async def listed_of_customer(call: Call) -> Answer:
    customer = call.path["id"]
    await documents.find(call, "customer", customer)
    call.form.choice("type", {"card"})
    url = f"/v1/customers/{customer}/payment_methods"
    return Answer(200, await lists.listing(call, "payment_method", url, fixed={"customer": customer}))


async def _make(call: Call, name: str) -> Document:
    card = CARDS[name]
    method: Document = {
        "id": documents.new_id("pm"),
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": billing_details(),
        "card": {
            "brand": card.brand,
            "checks": checks(),
            "country": "CN",
            "display_brand": card.brand,
            "exp_month": 12,
            "exp_year": EXPIRY_YEAR,
            "fingerprint": f"fingerprint{card.last4}",
            "funding": "credit",
            "generated_from": None,
            "last4": card.last4,
            "networks": {"available": [card.brand], "preferred": None},
            "regulated_status": "unregulated",
            "three_d_secure_usage": {"supported": True},
            "wallet": None,
        },
        "created": call.now,
        "customer": None,
        "customer_account": None,
        "livemode": False,
        "metadata": {},
        "type": "card",
    }
    await documents.insert(call, method, {"card": name})
    return method
