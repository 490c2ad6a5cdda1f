"""The simulator's own switches, for tests and operators: faults, the clock, the totals."""

from dataclasses import asdict
from typing import Any

import msgspec

from settlement.simulators.payment import faults, jobs
from settlement.simulators.payment.answers import Document, malformed
from settlement.simulators.payment.desk import Call, Desk
from settlement.simulators.payment.faults import Mischief

CLOCK_MOST_SECONDS = 400 * 86_400

TOTALS = {
    "payments": "SELECT data->>'status' AS status, data->>'currency' AS currency, count(*) AS count,"
    " sum((data->>'amount')::bigint)::bigint AS amount, sum((data->>'amount_received')::bigint)::bigint AS received"
    " FROM objects WHERE kind = 'payment_intent' GROUP BY 1, 2 ORDER BY 1, 2",
    "refunds": "SELECT data->>'status' AS status, data->>'currency' AS currency, count(*) AS count,"
    " sum((data->>'amount')::bigint)::bigint AS amount"
    " FROM objects WHERE kind = 'refund' AND id LIKE 're!_%' ESCAPE '!' GROUP BY 1, 2 ORDER BY 1, 2",
    "transfers": "SELECT data->>'currency' AS currency, count(*) AS count,"
    " sum((data->>'amount')::bigint)::bigint AS amount,"
    " sum((data->>'amount_reversed')::bigint)::bigint AS reversed"
    " FROM objects WHERE kind = 'transfer' GROUP BY 1 ORDER BY 1",
    "payouts": "SELECT data->>'status' AS status, data->>'currency' AS currency, count(*) AS count,"
    " sum((data->>'amount')::bigint)::bigint AS amount FROM objects WHERE kind = 'payout' GROUP BY 1, 2 ORDER BY 1, 2",
    "deliveries": "SELECT status, count(*) AS count FROM deliveries GROUP BY 1 ORDER BY 1",
    "balances": "SELECT account, currency, total FROM balances ORDER BY 1, 2",
}

DISAGREEMENTS = """
WITH moved AS (
    SELECT account, currency, sum(amount)::bigint AS total FROM (
        SELECT payee AS account, currency, amount FROM movements
        UNION ALL SELECT payer, currency, -amount FROM movements) AS sides
    WHERE account LIKE 'acct!_%' ESCAPE '!' GROUP BY 1, 2),
lines AS (
    SELECT account, data->>'currency' AS currency, sum((data->>'net')::bigint)::bigint AS total
    FROM objects WHERE kind = 'balance_transaction' GROUP BY 1, 2)
SELECT account, currency, coalesce(moved.total, 0) AS moved, coalesce(lines.total, 0) AS lines,
    coalesce(balances.total, 0) AS balance
FROM moved FULL JOIN lines USING (account, currency) FULL JOIN balances USING (account, currency)
WHERE coalesce(moved.total, 0) <> coalesce(lines.total, 0)
    OR coalesce(lines.total, 0) <> coalesce(balances.total, 0)
ORDER BY 1, 2
"""


async def show_faults(desk: Desk, mischief: Mischief) -> Document:
    async with desk.open() as call:
        on = await mischief.load(call)
        return {"faults": asdict(on), "struck": await mischief.counters(call)}


async def change_faults(desk: Desk, mischief: Mischief, raw: bytes) -> Document:
    async with desk.open() as call:
        await mischief.change(call, faults.read(_json(raw), await mischief.load(call)))
    return await show_faults(desk, mischief)


async def show_clock(desk: Desk) -> Document:
    async with desk.open() as call:
        return {"now": call.now}


async def advance_clock(desk: Desk, raw: bytes) -> Document:
    """Move the clock forward and do all that falls due by it before answering."""
    body = _json(raw)
    seconds = body.get("advance_seconds") if isinstance(body, dict) else None
    if type(seconds) is not int or not 0 <= seconds <= CLOCK_MOST_SECONDS:
        raise malformed(f"advance_seconds must be a whole number of 0 to {CLOCK_MOST_SECONDS}.", "advance_seconds")
    now = await desk.advance(seconds)
    await jobs.run_due(desk)
    return {"now": now}


async def totals(desk: Desk) -> Document:
    """Sums over everything ever done here, from the simulator's own books."""
    async with desk.open() as call:
        sums: Document = {name: await _rows(call, query) for name, query in TOTALS.items()}
        disagreements = await _rows(call, DISAGREEMENTS)
        return sums | {"books_agree": not disagreements, "disagreements": disagreements}


async def _rows(call: Call, query: str) -> list[Document]:
    return [dict(row) for row in await call.connection.fetch(query)]


def _json(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise malformed("The body must be JSON.") from error
