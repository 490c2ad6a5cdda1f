"""The verifier finds nothing in sound books, and each breach that is planted in them."""

import random
from typing import Literal

import pytest

import market.verify
from market.engine.commands import AmendOrder, CancelOrder
from market.verify import CHECKS, verify
from tests.engine.factories import Floor

BREACHES = {
    "L1": "update posting set available_change = available_change + 1 where kind >= 20 and account_id > 100",
    "L2": "update account set available = available + 1 where id = 1",
    "L3": "update account set available = available + 5 where id = (select max(id) from account)",
    "L4": """insert into posting (transfer_id, account_id, kind, reference, available_change, held_change)
        select kind, 101, kind, 'trd_1', 0, 0 from (values (30), (31)) of_both (kind)""",
    "L5": "update account set available = available - 7, held = held + 7 where id = (select max(id) from account)",
    "L6": "alter table posting disable trigger posting_is_append_only",
    "L8": "update delivery set status = 'settled' where id = (select min(id) from delivery)",
    "L9": "update posting set available_change = available_change + 100 where kind = 60 and account_id > 100",
    "B1": """update ended_order set filled = filled - 1, state = 'cancelled'
        where id = (select min(id) from ended_order where filled > 0)""",
    "B3": "update open_order set price_minor = 1000 where side = 1",
    "B4": """update ended_order set group_id = (select group_id from orders s join trade on sell_order_id = s.id
        where buy_order_id = ended_order.id limit 1)
        where id = (select min(buy_order_id) from trade join ended_order on ended_order.id = buy_order_id)""",
    "B5": "update trade set quantity = quantity + 1 where id = (select max(id) from trade)",
    "B8": "delete from journal where seq = (select max(priority) from orders)",
    "B10": "update journal set epoch = 99 where seq = (select min(seq) from journal)",
    "B11": """insert into basket_leg (basket_id, shard, number, account_id, held, asked, promised_us, state)
        values (1, 0, 0, 1, 1, '', 0, 'filled')""",
    "R1": """with profile as (insert into rule_profile (carrier, effective_from, terms)
            values ('CMCC', '2020-01-01', '{"receipts_a_month": 1}') returning id
        ), in_force as (
            insert into enactment (instrument_id, rule_profile_id, at) select 1, id, '2020-01-01' from profile)
        update delivery set carrier = 'CMCC', receiver_line_id = 1, coin_account_id = null""",
    "R2": """insert into line_usage (line_id, day, sent_today, received_today, received_today_mb, sent_month,
        received_month, received_month_mb) select 1, current_date - '1970-01-01'::date, 0, 0, 0, 1, 0, 0""",
    "T2": "update instruction set status = 'done' where kind = 'deliver'",
    "T3": "update delivery set status = 'refunded' where id = (select max(id) from delivery)",
    "T17": "update delivery set status = 'settled', fee_minor = 2, charge_minor = 1",
    "T16": """with whole as (insert into bundle (carrier, custody_id, reservation_id, receiver_line_id, quantity,
            status) select 'CMCC', 1, 'r', 1, quantity, 'open' from delivery where id = (select min(id) from delivery)
            returning id, quantity
        ), member as (insert into bundle_member (bundle_id, delivery_id, quantity)
            select whole.id, (select min(id) from delivery), quantity from whole)
        update delivery set status = 'settled' where id = (select min(id) from delivery)""",
    "T7": """with paid as (insert into payment (party_id, key, kind, account_id, amount_minor, captured_minor, currency,
            payment_method, status) values (1, 'k', 'card_hold', 1, 10, 10, 'CNY', 'card', 'succeeded') returning id)
        update delivery set payment_id = (select id from paid), status = 'settled'
        where id = (select min(id) from delivery)""",
    "T12": """update delivery set status = 'pending', created_at = now() - interval '2 hours'
        where id = (select min(id) from delivery)""",
    "T13": "update account set kind = 'debt' where id = (select max(id) from account where available > 0)",
    "T14": """with paid as (insert into payment (party_id, key, kind, account_id, amount_minor, captured_minor,
            currency, payment_method, status)
            values (1, 'd', 'top_up', 1, 10, 10, 'CNY', 'card', 'succeeded') returning id)
        insert into clawback (provider_id, kind, payment_id, amount_minor, status)
        select 'dp_1', 'dispute', id, 10, 'gone' from paid""",
    "T18": """insert into reopening (trade_id, cause, amount_minor, detail, status, ended_at)
        select max(id), 'case_decided', 5, '', 'settled', now() from delivery""",
    "G1": """with made as (insert into account (party_id, asset_id, kind) values (1, 1, 'tank') returning id)
        insert into tank_deposit (custody_id, party_id, asset_id, amount_mb) select id, 1, 1, 100 from made""",
    "T15": "insert into buy_in (trade_id, charges_seller) select max(id), false from delivery",
    "S7": "insert into receipt (trade_id, side, steps) values (1, 'buy', 3)",
    "C1": """with lapsed as (insert into lapsed_reservation (custody_id, carrier, said, missing_mb, noticed_at)
            values (1, 'CMCC', 'expired', 1, now() - interval '1 day'))
        update open_order set custody_id = 1 where id = (select min(id) from open_order)""",
    "L12": """insert into adjustment (key, category, source, target, amount_minor, currency, reason, status,
        proposed_by, decided_by)
        values ('k', 'correction', 'provider', 'suspense', 5, 'CNY', 'because', 'booked', 1, 2)""",
    "L10": """insert into reconciliation (day, scope, status, totals) values (current_date, 'all', 'done',
        '[{"counterparty": "provider", "balances": [{"currency": "CNY", "provider": 5, "unexplained": -7}]}]')""",
    "L11": """with kept as (insert into account (party_id, asset_id, kind, available) values (1, 1, 'suspense', 7)
            returning id)
        insert into posting (transfer_id, account_id, kind, reference, available_change, held_change, at)
        select -1, id, 90, 'adj_1', 7, 0, now() - interval '5 days' from kept""",
    "P1": """with paused as (insert into autopilot (line_id, party_id, state, sells, buys, sell_down_to_mb,
            buy_up_to_mb, floor_minor, cap_minor) values (7, 1, 'paused', true, false, 0, 0, 1, 1) returning line_id)
        insert into autopilot_action (line_id, party_id, day, key, kind, symbol, lots, price_minor, order_id, outcome)
        select line_id, 1, current_date, 'k', 'sell', 'COIN', 1, 1, (select min(id) from open_order), 'done'
        from paused""",
    "T8": """with sold as (insert into custody (party_id, key, line_id, account_id, carrier, bucket_id, quantity_mb,
            status, expires_at) values (1, 'k', 1, 1, 'CMCC', 'b', 1, 'reserved', now()) returning id)
        update delivery set custody_id = (select id from sold)""",
    "S3": "update journal set answer = answer || ' ' where seq = (select max(seq) from journal)",
}


async def _trade_at_random(floor: Floor, seed: int, steps: int = 120) -> None:
    draw = random.Random(seed)
    members = [await floor.member() for _ in range(6)]
    open_orders: list[tuple[int, int]] = []
    for step in range(steps):
        member = draw.choice(members)
        if open_orders and draw.random() < 0.3:
            owner, order_id = open_orders.pop(draw.randrange(len(open_orders)))
            if draw.random() < 0.5:
                await floor.gateway.submit(CancelOrder(owner, f"c{step}", b"", 1, order_id))
            else:
                price, lots = draw.randint(90, 110), draw.randint(1, 9)
                await floor.gateway.submit(AmendOrder(owner, f"a{step}", b"", 1, order_id, price, lots))
            continue
        side: Literal["buy", "sell"] = "buy" if draw.random() < 0.5 else "sell"
        answer = await floor.place(member, side, draw.randint(90, 110), draw.randint(1, 9))
        if answer.state == "open" and answer.order_id is not None:
            open_orders.append((member.id, answer.order_id))


async def _broken(floor: Floor) -> set[str]:
    return {finding.id for finding in await verify(floor.dsn) if finding.breaches}


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_sound_books_pass_every_check(floor: Floor, seed: int) -> None:
    await _trade_at_random(floor, seed)

    # The tests' server runs without fsync, which is exactly what D1 has to say.
    assert await _broken(floor) <= {"D1"}
    assert await floor.connection.fetchval("select count(*) from trade") > 10


async def test_every_planted_breach_is_found(floor: Floor) -> None:
    await _trade_at_random(floor, 4)
    assert set(BREACHES) >= {check.id for check in CHECKS}

    missed = []
    for check, breach in BREACHES.items():
        transaction = floor.connection.transaction()
        await floor.connection.execute("set session_replication_role = replica")
        await transaction.start()
        await floor.connection.execute(breach)
        found = await _findings_inside(floor)
        await transaction.rollback()
        if check not in found:
            missed.append(check)

    assert not missed


async def _findings_inside(floor: Floor) -> set[str]:
    """What the verifier finds within a transaction that will be rolled back."""
    return {finding.id async for finding in market.verify._findings(floor.connection) if finding.breaches}


async def test_a_database_that_may_lose_commits_is_not_called_sound(floor: Floor) -> None:
    name = await floor.connection.fetchval("select quote_ident(current_database())")
    await floor.connection.execute(f"alter database {name} set synchronous_commit = off")

    findings = {finding.id: finding for finding in await verify(floor.dsn)}

    assert any("synchronous_commit" in breach for breach in findings["D1"].breaches)
