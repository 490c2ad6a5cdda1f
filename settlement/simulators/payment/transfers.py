"""Transfers from the platform to sellers' accounts, and their reversals."""

from settlement.simulators.payment import accounts, books, documents, events, lists, money
from settlement.simulators.payment.answers import Answer, Document, Refusal, missing
from settlement.simulators.payment.desk import Call
from settlement.simulators.payment.payment_methods import billing_details


async def create(call: Call) -> Answer:
    form = call.form
    amount, currency = form.needed_amount("amount"), money.read_currency(form)
    destination = await _destination(call, form.needed("destination"))
    transfer = _transfer(call, amount, currency, destination["id"])
    charge = await _source(call, transfer)
    await books.lock(call, currency, call.account, destination["id"])
    if charge is None:
        await books.demand(call, amount, currency)
    transfer_id, payee = transfer["id"], destination["id"]
    await books.move(call, (call.account, payee), amount, currency, reason="transfer", source=transfer_id)
    usable_on = call.now if charge is None else await _available_on(call, charge)
    transfer["balance_transaction"] = await books.line(
        call, "transfer", -amount, currency, transfer_id, available_on=usable_on
    )
    await _receive(call, transfer, usable_on)
    await documents.insert(call, transfer)
    await events.record(call, "transfer.created", transfer)
    return Answer(200, transfer)


async def retrieve(call: Call) -> Answer:
    return Answer(200, await documents.find(call, "transfer", call.path["id"]))


async def update(call: Call) -> Answer:
    transfer = await documents.find(call, "transfer", call.path["id"])
    transfer["metadata"] = call.form.metadata(transfer["metadata"])
    if call.form.has("description"):
        transfer["description"] = call.form.text("description")
    await documents.save(call, transfer)
    await events.record(call, "transfer.updated", transfer)
    return Answer(200, transfer)


async def listed(call: Call) -> Answer:
    return Answer(200, await lists.listing(call, "transfer", "/v1/transfers", ("destination", "transfer_group")))


async def reverse(call: Call) -> Answer:
    form = call.form
    transfer = await documents.find(call, "transfer", call.path["id"])
    rest = transfer["amount"] - transfer["amount_reversed"]
    wanted, metadata = form.amount("amount"), form.metadata()
    form.allow("description")
    amount, currency = rest if wanted is None else wanted, transfer["currency"]
    if rest == 0:
        raise Refusal(f"Transfer {transfer['id']} is already fully reversed.")
    if amount > rest:
        left = money.shown(rest, currency)
        raise Refusal(f"The reversal is greater than what is left of the transfer ({left}).", param="amount")
    await books.lock(call, currency, call.account, transfer["destination"])
    await books.demand(call, amount, currency, transfer["destination"])
    reversal = _reversal(call, transfer, amount, metadata)
    await _give_back(call, transfer, reversal)
    transfer["amount_reversed"] += amount
    transfer["reversed"] = transfer["amount_reversed"] == transfer["amount"]
    transfer["reversals"]["data"] = [reversal, *transfer["reversals"]["data"]][:10]
    transfer["reversals"]["has_more"] = await _reversal_count(call, transfer) > len(transfer["reversals"]["data"])
    await documents.save(call, transfer)
    await events.record(call, "transfer.reversed", transfer)
    return Answer(200, reversal)


async def listed_reversals(call: Call) -> Answer:
    transfer = await documents.find(call, "transfer", call.path["id"])
    url = f"/v1/transfers/{transfer['id']}/reversals"
    return Answer(200, await lists.listing(call, "transfer_reversal", url, fixed={"transfer": transfer["id"]}))


async def retrieve_reversal(call: Call) -> Answer:
    reversal = await documents.find(call, "transfer_reversal", call.path["reversal"])
    if reversal["transfer"] != call.path["id"]:
        raise missing("transfer_reversal", reversal["id"])
    return Answer(200, reversal)


async def _destination(call: Call, account_id: str) -> Document:
    account = await accounts.find(call, account_id, param="destination", status=400)
    if account["capabilities"]["transfers"] != "active":
        raise Refusal(
            "Your destination account needs to have the `transfers` capability enabled.",
            code="insufficient_capabilities_for_transfer",
        )
    return account


async def _source(call: Call, transfer: Document) -> Document | None:
    """The charge that the transfer draws on, if it names one and has enough left."""
    charge_id = transfer["source_transaction"]
    if charge_id is None:
        return None
    charge = await documents.find(call, "charge", charge_id, param="source_transaction", status=400)
    drawn = await call.connection.fetchval(
        "SELECT coalesce(sum((data->>'amount')::bigint), 0)::bigint FROM objects"
        " WHERE kind = 'transfer' AND data->>'source_transaction' = $1",
        charge_id,
    )
    if not charge["captured"] or transfer["currency"] != charge["currency"]:
        raise Refusal("The source_transaction is not a captured charge in this currency.", param="source_transaction")
    if drawn + transfer["amount"] > charge["amount_captured"]:
        raise Refusal(
            "Transfers using this transaction as a source must not exceed the source amount of"
            f" {money.shown(charge['amount_captured'], charge['currency'])}.",
            param="amount",
            code="balance_insufficient",
        )
    transfer["transfer_group"] = transfer["transfer_group"] or f"group_{charge['payment_intent']}"
    return charge


async def _available_on(call: Call, charge: Document) -> int:
    available_on: int = await call.connection.fetchval(
        "SELECT (data->>'available_on')::bigint FROM objects WHERE id = $1", charge["balance_transaction"]
    )
    return max(available_on, call.now)


async def _receive(call: Call, transfer: Document, usable_on: int) -> None:
    """On the seller's side a transfer arrives as a payment."""
    payee, payment_id = transfer["destination"], documents.new_id("py")
    line_id = await books.line(
        call, "payment", transfer["amount"], transfer["currency"], payment_id, account=payee, available_on=usable_on
    )
    payment: Document = {
        "id": payment_id,
        "object": "charge",
        "amount": transfer["amount"],
        "amount_captured": transfer["amount"],
        "amount_refunded": 0,
        "balance_transaction": line_id,
        "billing_details": billing_details(),
        "captured": True,
        "created": call.now,
        "currency": transfer["currency"],
        "disputed": False,
        "livemode": False,
        "metadata": {},
        "paid": True,
        "refunded": False,
        "source_transfer": transfer["id"],
        "status": "succeeded",
    }
    await documents.insert(call, payment, account=payee)
    transfer["destination_payment"] = payment_id


async def _give_back(call: Call, transfer: Document, reversal: Document) -> None:
    amount, currency, payee = reversal["amount"], reversal["currency"], transfer["destination"]
    reversal_id, refund_id = reversal["id"], documents.new_id("pyr")
    await books.move(call, (payee, call.account), amount, currency, reason="transfer_reversal", source=reversal_id)
    reversal["balance_transaction"] = await books.line(call, "transfer_refund", amount, currency, reversal_id)
    refund: Document = {
        "id": refund_id,
        "object": "refund",
        "amount": amount,
        "balance_transaction": await books.line(call, "payment_refund", -amount, currency, refund_id, account=payee),
        "charge": transfer["destination_payment"],
        "created": call.now,
        "currency": currency,
        "metadata": {},
        "payment_intent": None,
        "reason": None,
        "receipt_number": None,
        "source_transfer_reversal": reversal_id,
        "status": "succeeded",
        "transfer_reversal": None,
    }
    await documents.insert(call, refund, account=payee)
    reversal["destination_payment_refund"] = refund_id
    await documents.insert(call, reversal)


async def _reversal_count(call: Call, transfer: Document) -> int:
    return int(
        await call.connection.fetchval(
            "SELECT count(*) FROM objects WHERE kind = 'transfer_reversal' AND data->>'transfer' = $1", transfer["id"]
        )
    )


def _reversal(call: Call, transfer: Document, amount: int, metadata: dict[str, str]) -> Document:
    return {
        "id": documents.new_id("trr"),
        "object": "transfer_reversal",
        "amount": amount,
        "balance_transaction": None,
        "created": call.now,
        "currency": transfer["currency"],
        "destination_payment_refund": None,
        "metadata": metadata,
        "source_refund": None,
        "transfer": transfer["id"],
    }


def _transfer(call: Call, amount: int, currency: str, destination: str) -> Document:
    form, transfer_id = call.form, documents.new_id("tr")
    form.choice("source_type", {"card"})
    return {
        "id": transfer_id,
        "object": "transfer",
        "amount": amount,
        "amount_reversed": 0,
        "balance_transaction": None,
        "created": call.now,
        "currency": currency,
        "description": form.text("description"),
        "destination": destination,
        "livemode": False,
        "metadata": form.metadata(),
        "reversals": {
            "object": "list",
            "data": [],
            "has_more": False,
            "url": f"/v1/transfers/{transfer_id}/reversals",
        },
        "reversed": False,
        "source_transaction": form.text("source_transaction"),
        "source_type": "card",
        "transfer_group": form.text("transfer_group"),
    }
