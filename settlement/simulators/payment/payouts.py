"""Payouts from an account to its bank: pending, in transit, then paid or failed."""

from settlement.simulators.payment import accounts, books, documents, events, lists, money
from settlement.simulators.payment.answers import Answer, Document, Refusal
from settlement.simulators.payment.cards import BANK_FAILURES, RETURNED_AFTER_PAID
from settlement.simulators.payment.desk import PLATFORM, Call

RETURNED = ("account_closed", "The bank sent the money back.")


async def create(call: Call) -> Answer:
    form = call.form
    amount, currency = form.needed_amount("amount"), money.read_currency(form)
    bank, number = await _bank(call)
    payout = _payout(call, amount, currency, bank)
    await books.lock(call, currency, call.account)
    await books.demand(call, amount, currency)
    await books.move(call, (call.account, books.BANKS), amount, currency, reason="payout", source=payout["id"])
    payout["balance_transaction"] = await books.line(call, "payout", -amount, currency, payout["id"])
    await documents.insert(call, payout, {"bank_number": number})
    await documents.schedule(call, "send_payout", payout["id"], call.now + call.settings.payout_step_seconds)
    await events.record(call, "payout.created", payout)
    return Answer(200, payout)


async def retrieve(call: Call) -> Answer:
    return Answer(200, await documents.find(call, "payout", call.path["id"], param="payout"))


async def update(call: Call) -> Answer:
    payout = await documents.find(call, "payout", call.path["id"], param="payout")
    payout["metadata"] = call.form.metadata(payout["metadata"])
    await documents.save(call, payout)
    await events.record(call, "payout.updated", payout)
    return Answer(200, payout)


async def listed(call: Call) -> Answer:
    return Answer(200, await lists.listing(call, "payout", "/v1/payouts", ("status", "destination")))


async def cancel(call: Call) -> Answer:
    payout = await documents.find(call, "payout", call.path["id"], param="payout")
    if payout["status"] != "pending":
        raise Refusal("Payouts can only be canceled while they are pending.", code="status_transition_invalid")
    payout["status"] = "canceled"
    payout["failure_balance_transaction"] = await _return_money(call, payout, "payout_cancel")
    await documents.save(call, payout)
    await events.record(call, "payout.canceled", payout)
    return Answer(200, payout)


async def send(call: Call, payout_id: str) -> None:
    payout = await documents.find(call, "payout", payout_id)
    if payout["status"] != "pending":
        return
    payout["status"] = "in_transit"
    await documents.save(call, payout)
    await documents.schedule(call, "finish_payout", payout_id, call.now + call.settings.payout_step_seconds)
    await events.record(call, "payout.updated", payout, before={"status": "pending"})


async def finish(call: Call, payout_id: str) -> None:
    """The bank has answered."""
    payout = await documents.find(call, "payout", payout_id)
    number = (await documents.hidden_of(call, payout_id))["bank_number"]
    if number in BANK_FAILURES:
        await _fail(call, payout, *BANK_FAILURES[number])
        return
    payout |= {"status": "paid", "reconciliation_status": "not_applicable"}
    await documents.save(call, payout)
    if number == RETURNED_AFTER_PAID:
        await documents.schedule(call, "return_payout", payout_id, call.now + call.settings.payout_step_seconds)
    await events.record(call, "payout.paid", payout)


async def come_back(call: Call, payout_id: str) -> None:
    await _fail(call, await documents.find(call, "payout", payout_id), *RETURNED)


async def _fail(call: Call, payout: Document, code: str, message: str) -> None:
    payout |= {
        "status": "failed",
        "failure_code": code,
        "failure_message": message,
        "failure_balance_transaction": await _return_money(call, payout, "payout_failure"),
    }
    await documents.save(call, payout)
    await events.record(call, "payout.failed", payout)


async def _return_money(call: Call, payout: Document, kind: str) -> str:
    amount, currency = payout["amount"], payout["currency"]
    await books.move(call, (books.BANKS, call.account), amount, currency, reason=kind, source=payout["id"])
    return await books.line(call, kind, amount, currency, payout["id"])


async def _bank(call: Call) -> tuple[str, str]:
    """The id and number of the account's bank account; the platform has a good one of its own."""
    if call.account == PLATFORM:
        return "ba_1Platform0BankAccount", "000123456789"
    account = await accounts.find(call, call.account)
    if not account["external_accounts"]["data"]:
        raise Refusal("Sorry, you don't have any external accounts in that currency.", code="payouts_not_allowed")
    number: str = (await documents.hidden_of(call, account["id"]))["bank_number"]
    return account["external_accounts"]["data"][0]["id"], number


def _payout(call: Call, amount: int, currency: str, bank: str) -> Document:
    form = call.form
    if (destination := form.text("destination")) not in {None, bank}:
        raise Refusal(f"No such external account: '{destination}'", param="destination", code="resource_missing")
    form.choice("method", {"standard"})
    form.choice("source_type", {"card"})
    return {
        "id": documents.new_id("po"),
        "object": "payout",
        "amount": amount,
        "application_fee": None,
        "application_fee_amount": None,
        "arrival_date": call.now + 2 * call.settings.payout_step_seconds,
        "automatic": False,
        "balance_transaction": None,
        "created": call.now,
        "currency": currency,
        "description": form.text("description"),
        "destination": bank,
        "failure_balance_transaction": None,
        "failure_code": None,
        "failure_message": None,
        "livemode": False,
        "metadata": form.metadata(),
        "method": "standard",
        "original_payout": None,
        "payout_method": None,
        "reconciliation_status": "not_applicable",
        "reversed_by": None,
        "source_type": "card",
        "statement_descriptor": form.text("statement_descriptor"),
        "status": "pending",
        "trace_id": None,
        "type": "bank_account",
    }
