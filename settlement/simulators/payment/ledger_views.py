"""What an account may read of its balance and of what happened to it."""

from settlement.simulators.payment import books, documents, lists
from settlement.simulators.payment.answers import Answer
from settlement.simulators.payment.desk import Call


async def balance(call: Call) -> Answer:
    return Answer(200, await books.balance(call))


async def transaction(call: Call) -> Answer:
    return Answer(200, await documents.find(call, "balance_transaction", call.path["id"]))


async def transactions(call: Call) -> Answer:
    filters = ("type", "source", "payout", "currency")
    return Answer(200, await lists.listing(call, "balance_transaction", "/v1/balance_transactions", filters))


async def event(call: Call) -> Answer:
    return Answer(200, await documents.find(call, "event", call.path["id"]))


async def events(call: Call) -> Answer:
    return Answer(200, await lists.listing(call, "event", "/v1/events", ("type",), any_of={"type": "types"}))
