"""Checks every invariant of the books against the live database: what holds, what doesn't, and where."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass

import asyncpg
import click
import msgspec

from market.audit import GENESIS, broken_links
from market.engine.writing import chain_hash
from market.replay import differences
from market.rules import RuleProfile
from market.settings import Settings
from market.tables import AuditLinkRow
from settlement.ledger import Kind

DEFAULTS = msgspec.json.encode(RuleProfile()).decode()
"""The limits of a rule profile that says nothing of them."""
SHOWN = 20
"""Breaches that are listed of one invariant."""


@dataclass(frozen=True, slots=True)
class Check:
    """One invariant: the query gives a line for each breach."""

    id: str
    says: str
    query: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one check; no breach means that it holds."""

    id: str
    says: str
    breaches: Sequence[str]


CHECKS = (
    Check(
        "L1",
        "Postings of every transfer sum to zero per asset",
        """
        select format('transfer %s is out by %s', transfer_id, sum(available_change + held_change))
        from posting join account on account.id = account_id
        group by transfer_id, asset_id having sum(available_change + held_change) <> 0
        """,
    ),
    Check(
        "L2",
        "All accounts of an asset together come to zero",
        """
        select format('asset %s is out by %s', code, sum(available + held))
        from account join asset on asset.id = asset_id group by code having sum(available + held) <> 0
        """,
    ),
    Check(
        "L3",
        "Every balance is the sum of its postings, and nothing is negative that may not be",
        """
        select format('account %s has %s, its postings say %s', account.id, available + held, coalesce(said.total, 0))
        from account left join (
            select account_id, sum(available_change + held_change) as total from posting group by account_id
        ) said on account_id = account.id
        where available + held <> coalesce(said.total, 0) or held < 0 or (available < 0 and not may_go_negative)
        """,
    ),
    Check(
        "L4",
        "A trade, a payment or a redemption is settled or returned, never both",
        """
        select format('%s was both settled and returned', reference) from posting
        where kind in (30, 31) group by reference having count(distinct kind) > 1
        """,
    ),
    Check(
        "L5",
        "Held amounts are exactly what open orders, unsettled trades and pending payouts need",
        """
        with need as (
            select account_id, open * case
                when side = 2 then lot_units
                when traits->'traits'->>'peg_offset' is null then price_minor
                else ceiling_minor end as amount
            from open_order join instrument on instrument.id = instrument_id
            where traits is null or traits->>'rides' = 'false'
            union all select money_account_id, amount_minor from delivery where status in ('pending', 'delivered')
            union all select custody_account_id, quantity from delivery where status in ('pending', 'delivered')
            union all select account_id, held from basket_leg where state = 'prepared'
            union all select account_id, amount_minor from payout where status in ('requested', 'transferred')
            union all select account_id, coins from redemption where status = 'requested'
            union all select account_id, coins from gift_link where status = 'open'
            union all select account_id, amount_mb from data_gift where status = 'requested'
            union all select account_id, amount_minor from bill_payment where status = 'refunding'
            union all select account_id, captured_minor - refunded_minor from payment join instruction
                on subject_id = payment.id and instruction.kind = 'refund'
                where instruction.status not in ('done', 'refused')
            union all select account_id, top_up_refund.amount_minor from top_up_refund
                join payment on payment.id = payment_id where top_up_refund.status = 'requested'
        ), needed as (select account_id, sum(amount) as amount from need group by account_id)
        select format('account %s holds %s, %s is needed', account.id, held, coalesce(amount, 0))
        from account left join needed on account_id = account.id where held <> coalesce(amount, 0)
        """,
    ),
    Check(
        "L8",
        "What a settled buyer paid is the seller's proceeds and the fee",
        """
        select format('trade %s paid %s, %s is booked', delivery.id, amount_minor, coalesce(-booked.paid, 0))
        from delivery left join (
            select reference, account_id, sum(held_change) as paid from posting where kind = 30 group by 1, 2
        ) booked on reference = 'trd_' || delivery.id and account_id = money_account_id
        where status = 'settled' and (booked.paid is null or -booked.paid <> amount_minor)
        """,
    ),
    Check(
        "L9",
        "Coins in circulation are those that data was bought for, less those that became data",
        """
        select format('%s coins are out, %s are backed', coalesce(sum(available + held), 0), coalesce(max(backed), 0))
        from account join asset on asset.id = asset_id cross join (
            select sum(available_change + held_change) as backed from posting join account on account.id = account_id
            where not may_go_negative and posting.kind in (60, 64)
        ) backing where asset.kind = 'coin' and not may_go_negative
        having coalesce(sum(available + held), 0) <> coalesce(max(backed), 0)
        """,
    ),
    Check(
        "B1",
        "Every order is filled, open or cancelled to its quantity, and filled as often as its trades say",
        """
        select format('order %s says %s filled, its trades %s', orders.id, filled, coalesce(sum(traded.quantity), 0))
        from orders left join trade traded on orders.id in (buy_order_id, sell_order_id)
        group by orders.id, filled having filled <> coalesce(sum(traded.quantity), 0)
        """,
    ),
    Check(
        "B3",
        "No book that trades is crossed by orders that anybody may trade with",
        """
        select format('instrument %s: bid %s, ask %s', instrument_id,
            max(price_minor) filter (where side = 1), min(price_minor) filter (where side = 2))
        from open_order join instrument on instrument.id = instrument_id
        where instrument.state = 'open' and (traits is null or (
            traits->'traits'->>'minimum' is null and traits->'traits'->>'all_or_none' = 'false'
            and (traits->'traits'->>'stop_price' is null or traits->'traits'->>'triggered' = 'true')
        ))
        group by instrument_id
        having max(price_minor) filter (where side = 1) >= min(price_minor) filter (where side = 2)
        """,
    ),
    Check(
        "B4",
        "Nobody traded with themselves, their household or their group",
        """
        select format('trade %s is within group %s', trade.id, buy.group_id)
        from trade join orders buy on buy.id = buy_order_id join orders sell on sell.id = sell_order_id
        where buy.group_id = sell.group_id or buy.party_id = sell.party_id
        """,
    ),
    Check(
        "B8",
        "Every order and trade comes from the journal",
        """
        select format('order %s is not in the journal', id) from orders
        where not exists (select from journal where seq between priority - 1023 and priority)
        union all
        select format('trade %s names order %s that does not exist', trade.id, named)
        from trade cross join lateral (values (buy_order_id), (sell_order_id)) as part (named)
        where not exists (select from orders where orders.id = named)
        """,
    ),
    Check(
        "B10",
        "Epochs of a shard never fall",
        """
        select format('journal %s of shard %s falls to epoch %s', seq, shard, epoch) from (
            select seq, shard, epoch, lag(epoch) over (partition by shard order by seq) as former from journal
        ) step where epoch < former
        """,
    ),
    Check(
        "B11",
        "A basket is done in all its shards or in none, as its row says",
        """
        select format('basket %s is %s, its legs of shard %s are %s', basket_id, coalesce(basket.state, 'nowhere'),
            shard, leg.state)
        from basket_leg leg left join basket on basket.id = basket_id
        where basket.state is null or (basket.state = 'committed' and leg.state = 'returned')
            or (basket.state <> 'committed' and leg.state = 'filled')
        """,
    ),
    Check(
        "R1",
        "No line was moved to or from beyond what the rules that its trade was matched by allow in a month",
        f"""
        with moved as (
            select trade.id, trade.instrument_id, trade.at, delivery.quantity, receiver_line_id as receiver,
                coalesce(custody.line_id, sell.line_id) as sender,
                date_trunc('month', trade.at at time zone 'Asia/Shanghai') as month
            from delivery join trade on trade.id = delivery.id join orders sell on sell.id = sell_order_id
            left join custody on custody.id = delivery.custody_id where delivery.carrier is not null
        ), counted as (
            select 'sales_a_month' as rule, id, instrument_id, at, sender as line_id,
                count(*) over (partition by sender, month order by at, id) as used from moved where sender is not null
            union all
            select 'receipts_a_month', id, instrument_id, at, receiver,
                count(*) over (partition by receiver, month order by at, id) from moved
            union all
            select 'received_a_month_mb', id, instrument_id, at, receiver,
                sum(quantity) over (partition by receiver, month order by at, id) from moved
        )
        select format('trade %s brings line %s to %s, its rules allow %s (%s)', id, line_id, used, cap, rule)
        from counted cross join lateral (
            select max(cap) as cap, bool_or(cap is null) as free from (
                select case when terms ? rule then (terms->>rule)::bigint else ('{DEFAULTS}'::jsonb->>rule)::bigint end
                    as cap
                from enactment now join rule_profile on rule_profile.id = rule_profile_id
                where now.instrument_id = counted.instrument_id and now.at <= counted.at and not exists (
                    select from enactment later where later.instrument_id = now.instrument_id
                        and later.at > now.at and later.at < counted.at
                )
            ) in_force
        ) allowed where not free and used > cap
        """,  # noqa: S608 - our own figures
    ),
    Check(
        "R2",
        "What is kept of each line is what its trades of that month have moved",
        """
        with moved as (
            select part.line_id, part.sent, delivery.quantity,
                date_trunc('month', trade.at at time zone 'Asia/Shanghai') as month
            from delivery join trade on trade.id = delivery.id join orders sell on sell.id = sell_order_id
            left join custody on custody.id = delivery.custody_id cross join lateral (
                values (coalesce(custody.line_id, sell.line_id), true), (receiver_line_id, false)
            ) as part (line_id, sent)
            where delivery.carrier is not null and part.line_id is not null
        ), summed as (
            select line_id, month, count(*) filter (where sent) as sent, count(*) filter (where not sent) as received,
                coalesce(sum(quantity) filter (where not sent), 0) as received_mb
            from moved group by line_id, month
        )
        select format('line %s is kept with %s sent, %s received, %s MB; its trades say %s, %s, %s', kept.line_id,
            sent_month, received_month, received_month_mb, coalesce(sent, 0), coalesce(received, 0),
            coalesce(received_mb, 0))
        from line_usage kept left join summed
            on summed.line_id = kept.line_id and month = date_trunc('month', date '1970-01-01' + kept.day::integer)
        where (sent_month, received_month, received_month_mb)
            <> (coalesce(sent, 0), coalesce(received, 0), coalesce(received_mb, 0))
        """,
    ),
    Check(
        "T2",
        "Every trade has its delivery, and none is in limbo without anybody at work on it",
        """
        select format('trade %s has no delivery', id) from trade
        where not exists (select from delivery where delivery.id = trade.id)
        union all
        select format('trade %s is %s and nobody is at work on it', delivery.id, delivery.status) from delivery
        where status in ('pending', 'delivered') and not exists (
            select from instruction where status in ('ready', 'claimed', 'unknown', 'dead') and (
                (kind = 'deliver' and subject_id = delivery.id)
                or (kind in ('finish_payment', 'capture', 'void') and subject_id = payment_id)
            )
        ) and not (
            delivery.status = 'delivered' and exists (
                select from orders where orders.payment_id = delivery.payment_id and state = 'open')
        )
        union all
        select format('custody %s is requested and nobody is at work on it', id) from custody
        where status = 'requested' and not exists (
            select from instruction where kind = 'reserve' and subject_id = custody.id
                and instruction.status in ('ready', 'claimed', 'unknown', 'dead')
        )
        """,
    ),
    Check(
        "T12",
        "Nothing has been on its way for an hour without being escalated",
        """
        select format('trade %s is %s since %s and nobody was told why', delivery.id, status, created_at)
        from delivery where status in ('pending', 'delivered') and created_at < now() - interval '1 hour'
        and not exists (
            select from escalation where subject = 'delivery' and subject_id = delivery.id and ended_at is null
        )
        """,
    ),
    Check(
        "T13",
        "A reopened trade is settled by its transfers, and nobody has paid more than was owed",
        """
        select format('reopening %s of trade %s waits although it could be settled', reopening.id, trade_id)
        from reopening join delivery on delivery.id = trade_id
        where reopening.status = 'open' and delivery.status in ('settled', 'refunded')
            and delivery.ended_at < now() - interval '1 hour'
        union all
        select format('account %s owes %s', id, available) from account where kind = 'debt' and available > 0
        """,
    ),
    Check(
        "T14",
        "Money that was taken back outside is borne to the unit, and given again once",
        f"""
        select format('clawback %s took %s, its books say otherwise', id, amount_minor) from clawback
        where (status in ('gone', 'lost') and amount_minor <> own_minor + coalesce((
            select sum(reopening.amount_minor) from reopening where trade_id = any(trade_ids)
                and cause = case clawback.kind when 'dispute' then 'disputed' else 'refunded_outside' end
        ), 0)) or (own_minor > 0) <> exists (
            select from posting where kind = {int(Kind.TAKEN_BACK)} and reference = 'clb_' || clawback.id
        ) or (own_minor > 0 and status = 'back') <> exists (
            select from posting where kind = {int(Kind.GIVEN_AGAIN)} and reference = 'clb_' || clawback.id
        )
        """,  # noqa: S608 - our own figures
    ),
    Check(
        "S7",
        "Receipts are whole, nothing of them was taken away, and they say what the books say",
        """
        select format('step %s of the receipt of trade %s, side %s, does not follow', number, trade_id, side) from (
            select *, lag(hash) over steps as last_hash, row_number() over steps as place
            from receipt_step window steps as (partition by trade_id, side order by number)
        ) step where number <> place or former_hash <> coalesce(last_hash, decode(repeat('00', 32), 'hex'))
            or hash <> sha256(former_hash || body)
        union all
        select format('the receipt of trade %s, side %s, does not end as it was issued', trade_id, side)
        from receipt left join lateral (
            select count(*) as kept, max(number) as newest, (array_agg(hash order by number desc))[1] as end_hash
            from receipt_step step where step.trade_id = receipt.trade_id and step.side = receipt.side
        ) found on true
        where kept <> steps or newest is distinct from steps or end_hash is distinct from head_hash
        union all
        select format('the receipt of trade %s, side %s, tells of another trade', trade_id, side)
        from receipt_step join trade on trade.id = trade_id
        cross join lateral (select convert_from(body, 'UTF8')::jsonb as said) told
        where receipt_step.kind = 'match'
            and ((said->>'price_minor')::bigint, (said->>'lots')::bigint) <> (price_minor, quantity)
        union all
        select format('the receipt of trade %s, side %s, tells of another move', trade_id, side)
        from receipt_step join delivery on delivery.id = trade_id
        where receipt_step.kind = 'delivery'
            and convert_from(body, 'UTF8')::jsonb->>'carrier_reference' is distinct from carrier_reference
        """,
    ),
    Check(
        "C1",
        "Nothing is for sale that lapsed at its carrier, or that something happened to the line of",
        """
        select format('order %s sells custody %s, which lapsed at %s', open_order.id, lapsed.custody_id, noticed_at)
        from lapsed_reservation lapsed join open_order on open_order.custody_id = lapsed.custody_id
        where noticed_at < now() - interval '2 hours'
        union all
        select format('order %s is open although line %s was %s at %s', open_order.id, event.line_id, kind, asked_at)
        from line_event event join custody on custody.line_id = event.line_id
        join open_order on open_order.custody_id = custody.id
        where event.status = 'confirmed' and handled_at is not null and open_order.created_at < asked_at
        """,
    ),
    Check(
        "T15",
        "A buy-in is at work until it has ended, and nothing set aside for it is left then",
        f"""
        select format('the buy-in of trade %s is %s and nobody is at work on it', trade_id, buy_in.status) from buy_in
        where status <> 'ended' and not exists (
            select from instruction where status in ('ready', 'claimed', 'unknown', 'dead') and subject_id = trade_id
                and kind = case buy_in.status when 'closing' then 'close_buy_in' else 'buy_in' end
        )
        union all
        select format('the buy-in of trade %s has ended and keeps %s', trade_id, available + held)
        from buy_in join account on account.id = account_id where status = 'ended' and available + held <> 0
        union all
        select format('the buy-in of trade %s is %s, its books say otherwise', trade_id, status) from buy_in
        where (account_id is not null) <> exists (
            select from posting where kind = {int(Kind.BUY_IN_FUNDED)} and reference = 'bin_' || trade_id
        )
        """,  # noqa: S608 - our own figures
    ),
    Check(
        "T18",
        "What officers decided for the buyer was paid back once, and nothing else was under this cause",
        """
        select format('case %s gives %s back, its trade otherwise', member_case.id, decided_minor)
        from member_case left join reopening
            on reopening.trade_id = member_case.trade_id and reopening.cause = 'case_decided'
        where decided_minor > 0 and reopening.amount_minor is distinct from decided_minor
        union all
        select format('trade %s was opened again by a case that there is not', trade_id) from reopening
        where cause = 'case_decided' and not exists (
            select from member_case where member_case.trade_id = reopening.trade_id and status = 'decided'
        )
        """,
    ),
    Check(
        "G1",
        "What was given to the tank is in it, on somebody's line or with its giver again, and given data is at work",
        f"""
        with gift as (
            select account_id, sum(amount_mb) as amount_mb from data_gift
            where purpose = 'tank' and status = 'done' group by account_id
        ), deposit as (
            select asset_id, sum(amount_mb) as amount_mb, sum(returned_mb) as returned_mb
            from tank_deposit group by asset_id
        )
        select format('the tank of asset %s was given %s MB, %s were taken, %s went back, %s are left', tank.asset_id,
            coalesce(deposit.amount_mb, 0), coalesce(gift.amount_mb, 0), coalesce(returned_mb, 0), available + held)
        from account tank left join deposit on deposit.asset_id = tank.asset_id
        left join gift on gift.account_id = tank.id
        where tank.kind = 'tank' and coalesce(deposit.amount_mb, 0)
            <> coalesce(gift.amount_mb, 0) + coalesce(returned_mb, 0) + available + held
        union all
        select format('custody %s has %s MB, %s MB of it were sold or given', custody.id, quantity_mb, moved.amount_mb)
        from custody join lateral (
            select coalesce((select sum(amount_mb) from data_gift
                    where custody_id = custody.id and status <> 'refused'), 0)
                + coalesce((select sum(quantity) from delivery
                    where custody_id = custody.id and status <> 'refunded'), 0) as amount_mb
        ) moved on true
        where exists (select from data_gift where custody_id = custody.id) and moved.amount_mb > quantity_mb
        union all
        select format('gift %s is asked for and nobody is at work on it', id) from data_gift
        where status = 'requested' and not exists (
            select from instruction where kind = 'give' and subject_id = data_gift.id
                and status in ('ready', 'claimed', 'unknown', 'dead')
        )
        union all
        select format('gift %s is %s, its books say otherwise', id, status) from data_gift
        where (status = 'done') <> exists (
            select from posting where kind = {int(Kind.DATA_GIVEN)} and reference = 'giv_' || data_gift.id
        )
        """,  # noqa: S608 - our own figures
    ),
    Check(
        "T3",
        "A settled trade is booked once, and a refunded one moved nothing",
        """
        select format('trade %s is %s, its books say otherwise', delivery.id, status) from delivery
        where (status = 'settled') <> exists (
            select from posting where kind = 30 and reference = 'trd_' || delivery.id
        ) or (status = 'refunded') <> exists (
            select from posting where kind = 31 and reference = 'trd_' || delivery.id
        ) or (status = 'refunded' and carrier_reference is not null)
        """,
    ),
    Check(
        "T17",
        "What a carrier charges for a settled trade is on its account, once",
        """
        select format('trade %s: the carrier charges %s, %s is booked', delivery.id, charge_minor, coalesce(minor, 0))
        from delivery left join (
            select posting.reference, sum(available_change) as minor from posting
            join account on account.id = account_id and account.kind = 'carrier_charges'
            where posting.kind = 30 group by 1
        ) booked on booked.reference = 'trd_' || delivery.id
        where status = 'settled' and charge_minor <> coalesce(minor, 0)
        """,
    ),
    Check(
        "T16",
        "A trade that was moved with others is settled by a bundle that is done and moved exactly their sum",
        """
        select format('trade %s is %s, its bundle %s is open', delivery.id, delivery.status, bundle.id)
        from bundle join bundle_member member on bundle_id = bundle.id join delivery on delivery.id = delivery_id
        where bundle.status = 'open' and delivery.status <> 'pending'
        union all
        select format('trade %s is %s under %s, its bundle %s is done under %s', delivery.id, delivery.status,
            delivery.carrier_reference, bundle.id, bundle.carrier_reference)
        from bundle join bundle_member member on bundle_id = bundle.id join delivery on delivery.id = delivery_id
        where bundle.status = 'done' and (delivery.status = 'pending'
            or delivery.carrier_reference is distinct from bundle.carrier_reference)
        union all
        select format('bundle %s moved %s MB, its trades are %s MB', bundle.id, bundle.quantity, sum(delivery.quantity))
        from bundle left join bundle_member member on bundle_id = bundle.id
        left join delivery on delivery.id = delivery_id
        group by bundle.id, bundle.quantity having sum(delivery.quantity) is distinct from bundle.quantity
            or bool_or(member.quantity <> delivery.quantity)
        """,
    ),
    Check(
        "T7",
        "Captured money covers exactly what was delivered on the card, and refunds stay below it",
        """
        select format('payment %s took %s, %s was delivered', payment.id, captured_minor, sum(delivery.amount_minor))
        from payment join delivery on payment_id = payment.id
        where payment.status = 'succeeded' and delivery.status = 'settled'
        group by payment.id, captured_minor having captured_minor <> sum(delivery.amount_minor)
        """,
    ),
    Check(
        "L12",
        "Every correction by hand that is booked has its transfer and two officers, and no other has one",
        f"""
        select format('adjustment %s is %s, its books say %s', adjustment.id, status, coalesce(booked.amount, 0))
        from adjustment full join (
            select substr(reference, 5)::bigint as id,
                sum(available_change) filter (where available_change > 0) as amount
            from posting where kind = {int(Kind.ADJUSTED)} group by 1
        ) booked on booked.id = adjustment.id
        where (status = 'booked') is distinct from (booked.amount is not null) or booked.amount <> amount_minor
            or (status = 'booked' and decided_by = proposed_by)
        """,  # noqa: S608 - our own figures
    ),
    Check(
        "L10",
        "What the provider holds is what our books come to, or the difference is listed",
        """
        select format('%s: the provider has %s, unexplained %s, by run %s', balance->>'currency', balance->>'provider',
            balance->>'unexplained', newest.id)
        from (
            select * from reconciliation where scope = 'all' and status = 'done'
                and jsonb_path_exists(totals, '$[*].balances[*]') order by id desc limit 1
        ) newest, jsonb_array_elements(totals) total, jsonb_array_elements(total->'balances') balance
        where (balance->>'unexplained')::bigint <> 0 and not exists (
            select from break_item where counterparty = 'provider' and cause = 'balance_differs'
                and unit = balance->>'currency' and break_item.status <> 'closed'
        )
        """,
    ),
    Check(
        "L11",
        "An account that is only passed through is empty again within days, or listed",
        """
        select format('account %s (%s) keeps %s since %s', account.id, account.kind, available + held, last.at)
        from account cross join lateral (
            select max(posting.at) as at from posting where posting.account_id = account.id
        ) last
        where available + held <> 0 and last.at < now() - interval '4 days' and (
            account.kind = 'suspense'
            or account.kind = 'card' and exists (select from payment where payment.account_id = account.id
                and status in ('voided', 'declined', 'succeeded', 'refunded'))
            or account.kind = 'custody' and exists (select from custody where custody.account_id = account.id
                and status in ('released', 'refused'))
        ) and not exists (
            select from break_item where cause = 'not_cleared' and subject = 'acc_' || account.id
                and break_item.status <> 'closed'
        )
        """,
    ),
    Check(
        "P1",
        "An autopilot that is paused or off has no open orders, but those it is just taking back",
        """
        select format('order %s of line %s is open', open_order.id, action.line_id)
        from open_order
        join autopilot_action action on action.order_id = open_order.id and action.kind in ('sell', 'buy')
        join autopilot on autopilot.line_id = action.line_id
        where autopilot.state <> 'on' and not exists (
            select from autopilot_action ending where ending.order_id = open_order.id and ending.kind = 'cancel'
                and ending.outcome is null
        )
        """,
    ),
    Check(
        "T8",
        "Nobody sold more than was reserved: custody, deliveries and returns make up each reservation",
        """
        select format('custody %s reserved %s MB, %s MB were sold', custody.id, quantity_mb, sum(quantity))
        from custody join delivery on custody_id = custody.id where delivery.status <> 'refunded'
        group by custody.id, quantity_mb having sum(quantity) > quantity_mb
        """,
    ),
)

_GUARDED = """
select format('%s is %s', name, setting) from pg_settings
where name in ('fsync', 'full_page_writes', 'synchronous_commit', 'data_checksums') and setting in ('off', 'local')
"""
_TRIGGERS = """
select format('table %s can be rewritten: its guard is missing or off', guarded) from unnest(
    array['posting', 'trade', 'journal', 'audit_link', 'ended_order', 'receipt_step']) guarded
where not exists (
    select from pg_trigger
    where tgrelid = guarded::regclass and tgname = guarded || '_is_append_only' and tgenabled = 'O'
)
"""


def main(settings: Settings, as_json: bool) -> int:
    """Check everything and say what was found; gives 1 when an invariant is broken, else 0."""
    findings = asyncio.run(verify(settings.database_dsn))
    broken = [finding for finding in findings if finding.breaches]
    if as_json:
        click.echo(json.dumps({"sound": not broken, "findings": [asdict(finding) for finding in findings]}))
    else:
        for finding in findings:
            click.echo(f"{'BROKEN' if finding.breaches else 'holds '} {finding.id:<4} {finding.says}")
            for breach in finding.breaches[:SHOWN]:
                click.echo(f"            {breach}")
    return 1 if broken else 0


async def verify(dsn: str) -> list[Finding]:
    """Every finding, from one snapshot of the database; nothing is locked and nothing written."""
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return [finding async for finding in _findings(connection)]
    finally:
        await connection.close()


async def _findings(connection: asyncpg.Connection) -> AsyncIterator[Finding]:
    yield Finding("D1", "The database keeps what it has acknowledged", await _lines(connection, _GUARDED))
    yield Finding("L6", "The books can only be added to", await _lines(connection, _TRIGGERS))
    for check in CHECKS:
        yield Finding(check.id, check.says, await _lines(connection, check.query))
    yield Finding("B5", "Replaying the journal gives the same trades and books", await differences(connection))
    yield Finding("S3", "The audit chains are whole", await _broken_chains(connection))


async def _lines(connection: asyncpg.Connection, query: str) -> list[str]:
    return [row[0] for row in await connection.fetch(query)]


async def _broken_chains(connection: asyncpg.Connection) -> list[str]:
    """Follow each engine's chain through the journal, and the house's through its entries."""
    found: list[str] = []
    for (chain,) in await connection.fetch("select distinct chain from audit_link where chain <> 'house' order by 1"):
        found += await _broken_engine_chain(connection, chain)
    house = await connection.fetch("select * from audit_link where chain = 'house' order by number")
    return found + broken_links(AuditLinkRow(**row) for row in house)


async def _broken_engine_chain(connection: asyncpg.Connection, chain: str) -> list[str]:
    links = await connection.fetch("select * from audit_link where chain = $1 order by number", chain)
    shard = int(chain.removeprefix("engine-"))
    journal = connection.cursor("select seq, command, answer from journal where shard = $1 order by seq", shard)
    rows = await journal
    former, found = GENESIS, []
    for number, link in enumerate(links, start=1):
        covered = []
        while (row := await rows.fetchrow()) is not None:
            covered.append((row["seq"], row["command"], row["answer"]))
            if row["seq"] >= link["last_seq"]:
                break
        intact = link["former_hash"] == former and link["hash"] == chain_hash(former, covered)
        if link["number"] != number or not intact:
            found.append(f"{chain} link {link['number']} does not match the journal")
        former = link["hash"]
    if await rows.fetchrow() is not None:
        found.append(f"{chain} ends before the journal does")
    return found
