"""The provider's own double entry: every movement has a payer and a payee, every account its lines."""

from settlement.simulators.payment import documents
from settlement.simulators.payment.answers import Document, Refusal
from settlement.simulators.payment.desk import Call

CARDS, BANKS, FEES = "world:cards", "world:banks", "provider:fees"

CATEGORIES = {
    "payment": "charge",
    "payment_refund": "refund",
    "payout_failure": "payout_reversal",
    "payout_cancel": "payout_reversal",
    "transfer_refund": "transfer_reversal",
    "refund_failure": "refund_failure",
    "adjustment": "dispute",
}


async def move(call: Call, sides: tuple[str, str], amount: int, currency: str, *, reason: str, source: str) -> None:
    """Move `amount` minor units; `sides` are the payer and the payee."""
    payer, payee = sides
    await call.connection.execute(
        "INSERT INTO movements (payer, payee, currency, amount, reason, source, created)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7)",
        payer,
        payee,
        currency,
        amount,
        reason,
        source,
        call.now,
    )


async def line(
    call: Call,
    kind: str,
    amount: int,
    currency: str,
    source: str,
    *,
    account: str | None = None,
    fee: int = 0,
    available_on: int | None = None,
) -> str:
    """Write a balance transaction of `amount` less `fee` minor units and return its id."""
    owner = account or call.account
    document: Document = {
        "id": documents.new_id("txn"),
        "object": "balance_transaction",
        "amount": amount,
        "available_on": call.now if available_on is None else available_on,
        "balance_type": "payments",
        "created": call.now,
        "currency": currency,
        "description": None,
        "exchange_rate": None,
        "fee": fee,
        "fee_details": _fee_details(fee, currency),
        "net": amount - fee,
        "reporting_category": CATEGORIES.get(kind, kind),
        "source": source,
        "status": "available",
        "type": kind,
    }
    await documents.insert(call, document, account=owner)
    await call.connection.execute(
        "INSERT INTO balances VALUES ($1, $2, $3)"
        " ON CONFLICT (account, currency) DO UPDATE SET total = balances.total + excluded.total",
        owner,
        currency,
        amount - fee,
    )
    return str(document["id"])


async def lock(call: Call, currency: str, *accounts: str) -> None:
    """Lock the balances that a debit will check, all together and in order, so that no two debits deadlock."""
    for account in sorted(accounts):
        await call.connection.execute(
            "INSERT INTO balances VALUES ($1, $2, 0)"
            " ON CONFLICT (account, currency) DO UPDATE SET total = balances.total",
            account,
            currency,
        )


async def demand(call: Call, amount: int, currency: str, account: str | None = None) -> None:
    """Refuse a debit that the settled money of the account does not cover."""
    if await available(call, currency, account or call.account) < amount:
        raise Refusal(
            "You have insufficient available funds in your account for this. Try adding funds directly to your"
            " available balance.",
            code="balance_insufficient",
        )


async def available(call: Call, currency: str, account: str) -> int:
    total = await call.connection.fetchval(
        "SELECT total FROM balances WHERE account = $1 AND currency = $2", account, currency
    )
    return int(total or 0) - (await pending(call, account)).get(currency, 0)


async def pending(call: Call, account: str) -> dict[str, int]:
    rows = await call.connection.fetch(
        "SELECT data->>'currency' AS currency, sum((data->>'net')::bigint)::bigint AS net FROM objects"
        " WHERE kind = 'balance_transaction' AND account = $1 AND (data->>'available_on')::bigint > $2 GROUP BY 1",
        account,
        call.now,
    )
    return {row["currency"]: row["net"] for row in rows}


async def balance(call: Call) -> Document:
    rows = await call.connection.fetch("SELECT currency, total FROM balances WHERE account = $1", call.account)
    totals = {row["currency"]: row["total"] for row in rows} or {"cny": 0}
    waiting = await pending(call, call.account)
    return {
        "object": "balance",
        "available": [_amount(total - waiting.get(currency, 0), currency) for currency, total in totals.items()],
        "livemode": False,
        "pending": [_amount(waiting.get(currency, 0), currency) for currency in totals],
    }


def _amount(amount: int, currency: str) -> Document:
    return {"amount": amount, "currency": currency, "source_types": {"card": amount}}


def _fee_details(fee: int, currency: str) -> list[Document]:
    if not fee:
        return []
    return [
        {
            "amount": fee,
            "application": None,
            "currency": currency,
            "description": "Processing fees",
            "type": "stripe_fee",
        }
    ]
