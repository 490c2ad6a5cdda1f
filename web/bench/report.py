"""How long a day is reconciled: our books in PostgreSQL, the carrier's and the provider's page by page over HTTP."""

import asyncio
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, timedelta
from time import perf_counter
from typing import Any

import asyncpg

from settlement.carriers.client import Carrier
from settlement.carriers.values import CarrierProfile
from settlement.payments.port import Payments
from settlement.payments.values import PaymentSettings
from settlement.reconciliation.gathering import Gatherer
from settlement.reconciliation.runs import ALL, Run, begin, connected
from settlement.reconciliation.window import Window
from settlement.steps import Outside
from web.bench.books_server import DAY, DAY_SECONDS, MARK, PAID_MINOR, QUANTITY_MB, TRADES_A_PAYMENT
from web.bench.stack import stack

TRADES = 1_000_000
EXPECTED = {
    "CMCC": {"missing_there": 4, "missing_here": 1, "amount_differs": 1, "done_twice": 1, "status_differs": 1,
             "in_flight": 1, "unreadable": 1, "ledger_differs": 1},
    "provider": {"amount_differs": 1, "missing_there": 1, "missing_here": 1},
    "ledger": {},
}  # fmt: skip
"""The breaks that are planted; nothing else may be found. What has another name there is missing as well."""

_LOAD = """
set session_replication_role = replica;
insert into asset (id, code, kind, carrier) overriding system value values (3, 'CMCC-CN-2611', 'data', 'CMCC');
insert into account (id, party_id, asset_id, kind, may_go_negative, available) overriding system value values
    (1, 1, 3, 'carrier', true, 0), (2, 1, 1, 'provider', true, 0);
insert into delivery (id, carrier, custody_account_id, quantity, money_account_id, amount_minor, fee_minor,
    proceeds_account_id, receiver_line_id, status, carrier_reference, payment_reference, created_at, delivered_at,
    ended_at)
select n, 'CMCC', 1, {quantity}, 202, 500, 25, 204, n, 'settled', 'mov_' || n, 'wallet', at, at, at
from generate_series(1, {trades}) n cross join lateral (
    select timestamptz '{day}' + (n - 1) * interval '{step} microseconds' as at) moment;
insert into posting (transfer_id, account_id, kind, reference, available_change, held_change, at)
select (1::bigint << 60) + id, 1, 30, 'trd_' || id, case id when 80 then 99 else quantity end, 0, ended_at
from delivery;
insert into payment (id, party_id, key, kind, account_id, amount_minor, captured_minor, currency, payment_method,
    status, provider_id, created_at) overriding system value
select n, 101 + n % 1000, 'bench' || n, 'top_up', (101 + n % 1000) * 2, {paid}, {paid}, 'CNY', 'pm', 'succeeded',
    'pi_' || n, timestamptz '{day}' + (n - 1) * interval '{pause} microseconds' from generate_series(1, {payments}) n;
insert into posting (transfer_id, account_id, kind, reference, available_change, held_change, at)
select (1::bigint << 61) + id, side.account_id, 40, 'pay_' || id, side.change, 0, created_at
from payment cross join lateral (values (account_id, amount_minor), (2, -amount_minor)) side (account_id, change);
update delivery set status = 'refunded' where id = 50;
update delivery set status = 'pending', delivered_at = null, ended_at = null where id = 60;
set session_replication_role = default;
"""


async def run(trades: int = TRADES) -> tuple[dict[str, Any], dict[str, float]]:
    """Load the books, plant breaks, reconcile the day, and see that those breaks are found and no others."""
    async with stack() as at:
        started_at = perf_counter()
        await _load(at.dsn, trades)
        loading_seconds = perf_counter() - started_at
        async with _outside(trades) as outside, connected(at.dsn) as connection:
            window = Window(DAY.date(), UTC, DAY + timedelta(days=5))
            reading_seconds = await _read_alone(connection, outside, window)
            started_at = perf_counter()
            run_id = await begin(connection, window, ALL, daily=True)
            assert run_id is not None
            outcome = await Run(connection, outside, window, run_id, "CNY").carry_out(ALL)
            seconds = perf_counter() - started_at
    found = {total.counterparty: Counter(total.causes) for total in outcome.totals}
    peak_megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    figures = {
        "trades": trades,
        "payments": trades // TRADES_A_PAYMENT,
        "seconds": round(seconds, 2),
        "trades_per_second": int(trades / seconds),
        "reading_alone_seconds": round(reading_seconds, 2),
        "peak_rss_megabytes": peak_megabytes,
        "loading_seconds": round(loading_seconds, 2),
        "breaks_planted": sum(sum(causes.values()) for causes in EXPECTED.values()),
        "breaks_found": outcome.breaks,
        "breaks_as_planted": int(found == {name: Counter(causes) for name, causes in EXPECTED.items()}),
    }
    return figures, {"reading_to_whole": round(reading_seconds / seconds, 3)}


async def _load(dsn: str, trades: int) -> None:
    connection = await asyncpg.connect(dsn)
    payments = trades // TRADES_A_PAYMENT
    whole_microseconds = DAY_SECONDS * 1_000_000
    await connection.execute(
        _LOAD.format(
            trades=trades, payments=payments, quantity=QUANTITY_MB, paid=PAID_MINOR, day=DAY.isoformat(),
            step=whole_microseconds // trades, pause=whole_microseconds // payments,
        )
    )  # fmt: skip
    await connection.execute("analyze")
    await connection.close()


async def _read_alone(connection: asyncpg.Connection, outside: Outside, window: Window) -> float:
    """Both books read into a table, and nothing done with them."""
    started_at = perf_counter()
    await Gatherer(connection, MARK).journal(outside.carriers["CMCC"], window)
    await Gatherer(connection, MARK).statement(outside.payments, window)
    return perf_counter() - started_at


@asynccontextmanager
async def _outside(trades: int) -> AsyncIterator[Outside]:
    command = [sys.executable, "-m", "web.bench.books_server", str(trades)]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        url = f"http://127.0.0.1:{int(await process.stdout.readline())}"
        profile = CarrierProfile("CMCC", "移动", "China Mobile", url, "none")
        payments = Payments(PaymentSettings("sk_test_bench", url, "whsec_bench", 10))
        async with Carrier(profile) as carrier:
            yield Outside({"CMCC": carrier}, payments, _nobody, MARK)
        await payments.close()
    finally:
        process.kill()
        await process.wait()


async def _nobody(line_ids: object) -> dict[int, str]:  # noqa: ARG001 - one shape with the market's own
    return {}
