"""Thousands of trades under faults of every kind, workers killed all the time: each ends, and three ledgers agree."""

import asyncio
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from urllib.parse import quote, unquote

import asyncpg
import pytest
from sqlalchemy import text

from settlement import claims
from settlement.naming import subject_of
from tests.carrier.simulator import CREDENTIALS
from tests.faults.engines import Engine
from tests.faults.judging import broken_invariants
from tests.faults.proxy import Cut, Proxy, open_proxy
from tests.faults.waiting import until
from tests.settlement.faults.conftest import SEED, Site
from tests.settlement.faults.mischief import AMBIGUOUS, Mischief

TRADES = int(os.environ.get("SURPLUSFLOW_FAULT_TRADES", "2000"))
HOLDS, PAYOUTS, REDEMPTIONS, HANDOUTS, REFUNDS = 60, 30, 40, 30, 15
KILLS = max(24, TRADES // 80)
KILL_SECONDS = 0.5
WORKERS = 2
FAILPOINTS = ("", "", "settle.after_claim:kill", "settle.after_send:kill", "settle.before_write:kill")
CUTS: tuple[Cut, ...] = ("before", "after", "late")
HEAL_SECONDS = 150
CARRIER_FAULTS = {
    "latency_ms": 10, "error_rate_percent": 4, "timeout_after_work_percent": 3, "late_percent": 3,
    "duplicate_percent": 3, "refuse_percent": 2, "hang_ms": 900, "late_ms": 900,
}  # fmt: skip
PROVIDER_FAULTS = {"timeout_percent": 5, "error_percent": 6, "error_after_percent": 6}
LINK_SHARES = dict.fromkeys(AMBIGUOUS, 0.006) | {Mischief.OTHER_AMOUNT: 0.008}
OPEN = "select count(*) from instruction where status in ('ready', 'claimed', 'unknown')"
ENDED = "select count(*) from delivery where status in ('settled', 'refunded')"
FAULTY_SHARE = 0.9
"""Of the trades, how many have ended before the faults do."""
DEAD = "select id from instruction where status = 'dead'"

pytestmark = pytest.mark.timeout(900)


async def test_every_trade_is_settled_or_refunded_and_three_ledgers_agree(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    estate, counted = site.estate, Counter[str]()
    trades = await estate.trade(TRADES, HOLDS)
    await estate.redeem(REDEMPTIONS)
    await estate.hand_out(HANDOUTS)
    await estate.withdraw(PAYOUTS)
    await estate.refund(REFUNDS)
    await estate.release()

    await _switch_faults_on(site)
    async with open_proxy(_sockets_of(site.database_url), tmp_path / "cut") as proxy:
        await _kill_and_cut(site, proxy, _through(site.database_url, tmp_path / "cut"), counted)
        counted.update({f"commit_cut_{cut}": times for cut, times in proxy.met.items()})
    workers = [await site.settlers.start() for _ in range(WORKERS)]
    await _mostly_ended(site)
    await _switch_faults_off(site, counted)
    counted["looked_at_by_a_person"] = await _heal(site)
    for worker in workers:
        worker.signal(signal.SIGTERM)
        await worker.ended()

    met = ", ".join(f"{times} {what}" for what, times in sorted(counted.items()))
    with capsys.disabled():
        sys.stdout.write(f"\nseed {SEED}: {len(trades)} trades, {met}\n")
    assert min(counted.values()) > 0, "a fault that never struck has shown nothing"
    assert counted["kills"] >= KILLS
    await _judge(site)


async def _switch_faults_on(site: Site) -> None:
    for code in CREDENTIALS:
        profile = {**CARRIER_FAULTS, "idempotent": code != "CTCC"}
        answer = site.estate.sim.raw("PUT", "/admin/faults", code=code, json=profile)
        assert answer.status_code == 200, answer.text
    await site.estate.http.control("PUT", "faults", PROVIDER_FAULTS)
    site.carriers_link.shares = LINK_SHARES
    site.provider_link.shares = dict.fromkeys(AMBIGUOUS, 0.005)


async def _switch_faults_off(site: Site, counted: Counter[str]) -> None:
    for code in CREDENTIALS:
        counts = site.estate.sim.raw("GET", "/admin/faults", code=code).json()["counts"]
        counted.update({f"carrier_{fault}": counts[fault] for fault in (
            "error", "timeout_after_work", "late", "duplicate", "refuse")})  # fmt: skip
        site.estate.sim.raw("PUT", "/admin/faults", code=code, json={"idempotent": code != "CTCC"})
    struck = (await site.estate.http.control("GET", "faults"))["struck"]
    counted.update({f"provider_{fault}": struck[fault] for fault in PROVIDER_FAULTS})
    await site.estate.http.control("PUT", "faults", dict.fromkeys(PROVIDER_FAULTS, 0))
    counted.update({f"wire_{one}": site.carriers_link.met[one] for one in LINK_SHARES})
    counted["provider_wire"] = sum(site.provider_link.met.values())
    site.carriers_link.shares = site.provider_link.shares = {}


async def _kill_and_cut(site: Site, proxy: Proxy, through: str, counted: Counter[str]) -> None:
    """Workers come and go; one of them reaches the database by a link that breaks at its commits."""
    dice, workers = site.estate.dice, list[Engine]()
    linked = await site.settlers.start(database_url=through)
    for number in range(KILLS):
        while len(workers) < WORKERS:
            workers.append(await site.settlers.start(failpoint=dice.choice(FAILPOINTS)))
        proxy.armed = CUTS[number % len(CUTS)]
        await asyncio.sleep(KILL_SECONDS)
        victim = workers.pop(dice.randrange(len(workers)))
        counted["claims_in_dead_hands"] += await _claimed_by(site, victim)
        if number % 8 == 7:
            await _stall(site, victim)
            counted["stalled"] += 1
        victim.signal(signal.SIGKILL)
        assert await victim.ended() == -signal.SIGKILL
        counted["kills"] += 1
    for worker in [*workers, linked]:
        worker.signal(signal.SIGKILL)
        await worker.ended()
        counted["kills"] += 1


async def _mostly_ended(site: Site) -> None:
    """Faults go on until nearly every trade has been through them."""

    async def so() -> bool:
        return bool(await site.estate.scalar(ENDED) >= FAULTY_SHARE * TRADES)

    await until(so, HEAL_SECONDS * max(1, TRADES // 2000))


async def _claimed_by(site: Site, worker: Engine) -> int:
    name = f"settler-{worker.process_id}-%"
    return int(await site.estate.scalar(f"select count(*) from instruction where claimed_by like '{name}'"))  # noqa: S608 - a number


async def _stall(site: Site, worker: Engine) -> None:
    """Stopped until its claims have lapsed, and let go on: what it writes then counts for nothing."""
    worker.signal(signal.SIGSTOP)
    await asyncio.sleep(2)
    worker.signal(signal.SIGCONT)


async def _heal(site: Site) -> int:
    """Wait for the end of everything; a person reopens what only a person may. Says how often that was needed."""
    reopened = 0

    async def nothing_is_open() -> bool:
        nonlocal reopened
        dead = [int(id_) for (id_,) in await site.estate.rows(DEAD)]
        for id_ in dead:
            async with site.estate.sessions.begin() as session:
                reopened += await claims.reopen(session, id_) is not None
        return not dead and not await site.estate.scalar(OPEN)

    try:
        await until(nothing_is_open, HEAL_SECONDS * max(1, TRADES // 2000))
    except TimeoutError:
        left = "select kind, lane, status, attempt, reason from instruction where status not in ('done', 'refused')"
        pytest.fail(f"seed {SEED}: still open: {(await site.estate.rows(left))[:10]}")
    return reopened


async def _judge(site: Site) -> None:
    estate = site.estate
    assert await estate.rows("select id from delivery where status not in ('settled', 'refunded')") == []
    assert await estate.rows("select id from payout where status not in ('paid', 'refused')") == []
    assert await _moved(site) == await _booked(site)
    assert await estate.rows("select id from account where kind = 'carrier' and available <> 0") == []
    await _judge_the_provider(site)
    async with estate.sessions() as session:
        assert (await session.execute(text("select id from account where held <> 0"))).all() == []
    assert await broken_invariants(site.dsn) == {}


async def _moved(site: Site) -> list[tuple[str, int, str]]:
    """The carriers' own books: each movement under one of our ids, and no reservation that still holds anything."""
    connection = await asyncpg.connect(site.estate.sim.database_url.replace("+asyncpg", ""))
    try:
        assert await connection.fetchval("select count(*) from reservation where open_mb > 0") == 0
        rows = await connection.fetch("select external_id, amount_mb, receiver_msisdn from movement")
    finally:
        await connection.close()
    ours = [(subject_of(site.estate.mark, row[0]), row) for row in rows]
    return sorted((f"{name[0]} {name[1]}", row[1], row[2]) for name, row in ours if name is not None)


async def _booked(site: Site) -> list[tuple[str, int, str]]:
    """The same out of our books."""
    rows = await site.estate.rows("""
        select 'deliver ' || id, quantity, receiver_line_id from delivery where status = 'settled'
        union all select 'redeem ' || id, coins, line_id from redemption where status = 'done'
        union all select 'handout ' || id, amount_mb, receiver_line_id from handout where status = 'done'
    """)
    return sorted((name, amount, site.estate.numbers[line]) for name, amount, line in rows)


async def _judge_the_provider(site: Site) -> None:
    """Payment by payment, and all of the money together: what the provider holds is what our books say it holds."""
    estate = site.estate
    for provider_id, status, captured, refunded in await estate.rows(
        "select provider_id, status, captured_minor, refunded_minor from payment"
    ):
        payment = await estate.payments.payment(provider_id)
        assert (payment.captured_minor, payment.refunded_minor) == (captured, refunded), (provider_id, status)
        assert payment.capturable_minor == 0
    totals = await estate.http.control("GET", "totals")
    assert totals["books_agree"], totals["disagreements"]
    paid = sum(line["amount"] for line in totals["payouts"] if line["status"] == "paid")
    assert paid == await estate.scalar("select coalesce(sum(amount_minor), 0) from payout where status = 'paid'")
    held = sum(line["total"] for line in totals["balances"] if line["account"].startswith("acct_"))
    owed = await estate.scalar("select -sum(available) from account where kind = 'provider'")
    assert held == owed


def _sockets_of(url: str) -> Path:
    return Path(unquote(url.partition("host=")[2].partition("&")[0]))


def _through(url: str, place: Path) -> str:
    """The same database, reached through the link in another folder."""
    before, _, after = url.partition("host=")
    return f"{before}host={quote(str(place))}" + (f"&{after.partition('&')[2]}" if "&" in after else "")
