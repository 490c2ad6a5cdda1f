"""Customers: who pays."""

from settlement.simulators.payment import documents, events, lists
from settlement.simulators.payment.answers import Answer, Document
from settlement.simulators.payment.desk import Call

PLAIN = ("description", "email", "name", "phone")


async def create(call: Call) -> Answer:
    customer: Document = {
        "id": documents.new_id("cus"),
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": call.now,
        "currency": None,
        "default_source": None,
        "delinquent": False,
        "discount": None,
        "invoice_prefix": documents.token()[:8].upper(),
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": call.form.metadata(),
        "next_invoice_sequence": 1,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    } | {name: call.form.text(name) for name in PLAIN}
    await documents.insert(call, customer)
    await events.record(call, "customer.created", customer)
    return Answer(200, customer)


async def retrieve(call: Call) -> Answer:
    return Answer(200, await documents.find(call, "customer", call.path["id"]))


async def update(call: Call) -> Answer:
    customer = await documents.find(call, "customer", call.path["id"])
    customer["metadata"] = call.form.metadata(customer["metadata"])
    customer |= {name: call.form.text(name) for name in PLAIN if call.form.has(name)}
    await documents.save(call, customer)
    await events.record(call, "customer.updated", customer)
    return Answer(200, customer)


async def delete(call: Call) -> Answer:
    customer = await documents.find(call, "customer", call.path["id"])
    await call.connection.execute("DELETE FROM objects WHERE id = $1", customer["id"])
    await events.record(call, "customer.deleted", customer)
    return Answer(200, {"id": customer["id"], "object": "customer", "deleted": True})


async def listed(call: Call) -> Answer:
    return Answer(200, await lists.listing(call, "customer", "/v1/customers", ("email",)))
