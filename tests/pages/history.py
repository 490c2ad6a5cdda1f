"""A past, made at once: a member's own, and the market's, of every kind that some page shows."""

HISTORY = (
    """
    insert into ended_order (id, instrument_id, party_id, group_id, side, price_minor, quantity, filled, time_in_force,
        market, post_only, self_trade, fee_basis_points, fee_minimum_minor, account_id, version, priority, state,
        reason, created_at, updated_at)
    select {first} + n, 1, {party}, {party}, 1 + n % 2, 100 + n % 7, 5, 0, 'gtc', false, false,
        'cancel_newest', 0, 0, 1, 1, n, 'cancelled', 'cancelled', now(), now()
    from generate_series(1, {count}) n
    """,
    """
    insert into trade (id, instrument_id, price_minor, quantity, buy_order_id, sell_order_id, buyer_id, seller_id,
        taker_side, fee_minor, at)
    select {first} + n, 1, 100, 1, 1, 2, case when n % 2 = 0 then {party} else 1 end,
        case when n % 2 = 0 then 1 else {party} end, 1, 0, now()
    from generate_series(1, {count}) n
    """,
    """
    insert into posting (transfer_id, account_id, kind, reference, available_change, held_change, at)
    select {first} + n, min_id, 40, 'pay_' || ({first} + n), case when n % 2 = 0 then 1 else -1 end, 0, now()
    from generate_series(1, {count}) n,
        (select min(account.id) as min_id from account join asset on asset.id = asset_id
         where party_id = {party} and code = 'CNY') wallet
    """,
    """
    insert into notice (party_id, kind, about, facts)
    select {party}, 'sold_coins', '/trades/trd_' || n, '{facts}'
    from generate_series(1, {count}) n
    """,
)
FACTS = '{"coins": 100, "net_minor": 300}'

DEALINGS = (
    """
    insert into open_order (open, id, instrument_id, party_id, group_id, side, price_minor, quantity, time_in_force,
        market, post_only, self_trade, fee_basis_points, fee_minimum_minor, account_id, version, priority, created_at,
        updated_at)
    select 5, {first} + 500000 + n, 1, {party}, {party}, 1, 10 + n % 7, 5, 'gtc', false, false, 'cancel_newest', 0, 0,
        1, 1, n, now(), now()
    from generate_series(1, {count}) n
    """,
    """
    insert into delivery (id, custody_account_id, quantity, money_account_id, amount_minor, fee_minor,
        proceeds_account_id, receiver_line_id, carrier, status, ended_at)
    select {first} + n, 1, 100, 1, 100, 0, 1, {line}, case n % 3 when 1 then null else 'CMCC' end,
        (array['pending', 'settled', 'refunded'])[1 + n % 3], case n % 3 when 0 then null else now() end
    from generate_series(1, {count}) n
    """,
    """
    insert into instruction (kind, subject_id, lane, status, attempt, reason)
    select 'delivery', {first} + n, 'CMCC', case n % 3 when 0 then 'unknown' else 'done' end, 1, 'It does not answer.'
    from generate_series(1, {count}) n
    """,
    """
    insert into escalation (subject, subject_id, cause, since)
    select 'delivery', {first} + n, 'overdue', now() from generate_series(1, {count}) n
    """,
    """
    insert into reopening (trade_id, cause, amount_minor, detail, status, ended_at)
    select {first} + n, cause, 100, 'They say otherwise.', case n % 2 when 0 then 'for_a_person' else 'settled' end,
        case n % 2 when 0 then null else now() end
    from generate_series(1, {count}) n, unnest(array['carrier_reversed', 'case_decided']) cause
    """,
    """
    insert into buy_in (trade_id, status, charges_seller, trade_ids, ended_at)
    select {first} + n, 'ended', true, '{{}}', now() from generate_series(1, {count}) n
    """,
    """
    insert into member_case (id, trade_id, opener_id, other_id, opener_side, reason, wanted_minor, status, decide_by,
        ended_at)
    select {first} + n, {first} + n, {party}, 1, case n % 2 when 0 then 'buy' else 'sell' end, 'not_received', 100,
        case n % 2 when 0 then 'open' else 'withdrawn' end, now(), case n % 2 when 0 then null else now() end
    from generate_series(1, {count} - 1) n
    """,
    """
    insert into case_entry (case_id, author, words) select {first} + 2, 'buy', 'Nothing came.'
    from generate_series(1, {count}) n
    """,
    """
    insert into payment (id, party_id, key, kind, account_id, amount_minor, captured_minor, currency, payment_method,
        status, provider_id)
    select {first} + n, {party}, 'past-' || n, (array['top_up', 'card_hold'])[1 + n % 2], 1, 100, 100, 'CNY',
        'pm_past', 'succeeded', 'pi_' || {first} + n
    from generate_series(1, {count}) n
    """,
    """
    insert into top_up_refund (party_id, key, payment_id, amount_minor, status)
    select {party}, 'past-' || n, {first} + n, 1, 'refunded' from generate_series(1, {count}) n
    """,
    """
    insert into clawback (provider_id, kind, payment_id, amount_minor, trade_ids, status, ended_at)
    select 'dp_' || {first} + n, 'dispute', {first} + n, 1, '{{}}', 'back', now() from generate_series(1, {count}) n
    """,
    """
    insert into saved_card (id, party_id, brand, last4, expiry_month, expiry_year, removed_at)
    select 'pm_' || {first} + n, {party}, 'visa', '4242', 12, 2040, case when n < 3 then null else now() end
    from generate_series(1, {count}) n
    """,
    "insert into payout_account (id, party_id, banks, payouts_enabled) values ('acct_{party}', {party}, '{{}}', true)",
    """
    insert into payout (party_id, key, account_id, amount_minor, currency, destination, status)
    select {party}, 'past-' || n, 1, 100, 'CNY', 'acct_{party}', 'paid' from generate_series(1, {count}) n
    """,
    """
    insert into payout_run (party_id, due, amount_minor, outcome)
    select {party}, current_date - n, 100, 'paid' from generate_series(1, {count}) n
    """,
    """
    insert into bill_payment (id, party_id, key, line_id, carrier, account_id, amount_minor, currency, status)
    select {first} + n, {party}, 'past-' || n, {line}, 'CMCC', 1, 100, 'CNY', 'charged'
    from generate_series(1, {count}) n
    """,
    """
    insert into redemption (id, party_id, key, account_id, line_id, carrier, coins, expires_at, status)
    select {first} + n, {party}, 'past-' || n, 1, {line}, 'CMCC', 5, now(), 'done' from generate_series(1, {count}) n
    """,
    """
    insert into handout (id, party_id, key, line_id, receiver_line_id, carrier, bucket_id, amount_mb, status)
    select {first} + n, {party}, 'past-' || n, {line}, {line}, 'CMCC', 'b', 5, 'done'
    from generate_series(1, {count}) n
    """,
    """
    insert into gift_link (id, party_id, key, code_hash, account_id, coins, status, expires_at)
    select {first} + n, {party}, 'past-' || n, sha256(({first} + n)::text::bytea), 1, 5, 'returned', now()
    from generate_series(1, {count}) n
    """,
    """
    insert into custody (id, party_id, key, line_id, account_id, carrier, bucket_id, quantity_mb, status, expires_at)
    select {first} + n, {party}, 'past-' || n, {line}, 1, 'CMCC', 'b', 100, 'released', now()
    from generate_series(1, {count}) n
    """,
    """
    insert into destiny (order_id, party_id, custody_id, what, status)
    select {first} + n, {party}, {first} + n, 'tank', 'carried_out' from generate_series(1, {count}) n
    """,
    """
    insert into tank_deposit (id, custody_id, party_id, asset_id, amount_mb)
    select {first} + n, {first} + n, {party}, {asset}, 100 from generate_series(1, {count}) n
    """,
    """
    insert into tank_withdrawal (id, party_id, key, line_id, asset_id, amount_mb)
    select {first} + n, {party}, 'past-' || n, {line}, {asset}, 100 from generate_series(1, {count}) n
    """,
    """
    insert into account (id, party_id, asset_id, kind) overriding system value
    values ({first}, {party}, {asset}, 'wallet')
    """,
    """
    insert into data_gift (purpose, custody_id, account_id, giver_id, receiver_id, receiver_line_id, withdrawal_id,
        carrier, amount_mb, status)
    select purpose, {first} + n, {first}, {party}, {party}, {line}, case purpose when 'tank' then {first} + n end,
        'CMCC', 100, 'done'
    from generate_series(1, {count}) n, unnest(array['tank', 'friend']) purpose
    """,
    """
    insert into price_alert (party_id, instrument_id, direction, price_minor, state, fired_at)
    select {party}, 1, 'falls', n, case when n < 3 then 'open' else 'fired' end,
        case when n < 3 then null else now() end
    from generate_series(1, {count}) n
    """,
    """
    insert into autopilot (line_id, party_id, state, sells, buys, sell_down_to_mb, buy_up_to_mb, floor_minor, cap_minor)
    values ({line}, {party}, 'on', true, true, 2000, 1000, 100, 200)
    """,
    """
    insert into autopilot_action (line_id, party_id, day, key, kind, symbol, lots, price_minor, order_id, outcome,
        ended_at)
    select {line}, {party}, current_date, 'past-' || n, 'sell', 'COIN', 1, 100,
        {first} + n + case when n < 3 then 500000 else 0 end, 'placed', now()
    from generate_series(1, {count}) n
    """,
    """
    insert into household_invitation (household_id, inviter_id, invited_id, line_id, status, expires_at, ended_at)
    select {party}, inviter, 1, {line}, 'declined', now(), now()
    from generate_series(1, {count}) n, unnest(array[{party}, 1]) inviter
    """,
    "insert into household (id, payer_id) values ({party}, {party})",
    "insert into household_member (party_id, household_id) values ({party}, {party})",
    """
    insert into api_key (party_id, name, prefix, key_hash, revoked_at)
    select {party}, 'past', 'past', sha256(('key' || {first} + n)::bytea), now() from generate_series(1, {count}) n
    """,
    """
    insert into passkey (party_id, name, credential_id, public_key, sign_count)
    select {party}, 'Phone', sha256(('passkey' || {first} + n)::bytea), '', 0 from generate_series(1, 2) n
    """,
    """
    insert into data_reading (line_id, scope, app_scope, expires_at, day, remaining_mb, reserved_mb, moved_mb, read_at)
    select {line}, 'CN', '', now() - n * interval '1 day', current_date - n, 100, 0, 0, now() - n * interval '1 day'
    from generate_series(1, {count}) n
    """,
    """
    insert into line_event (carrier, source, event_id, line_id, party_id, kind, happened_at, status, asked_at)
    select 'CMCC', 'past', ({first} + n)::text, {line}, {party}, 'plan_changed', now(), 'denied', now()
    from generate_series(1, {count}) n
    """,
    """
    insert into received_suspension (line_id, month, quantity_mb, restored_at)
    select {line}, current_date - n, 100, now() from generate_series(1, {count}) n
    """,
    """
    insert into party_freeze (party_id, cause, reference, detail, ended_at)
    select {party}, 'dispute', 'past-' || n, 'It is over.', now() from generate_series(1, {count}) n
    """,
)
"""What else a member with a line does, one household and an autopilot among it."""

EVENTS = (
    """
    insert into asset (id, code, kind, carrier, scope, expires_at)
    select {first} + n, 'CMCC-XZ-2001-' || {first} + n, 'data', 'CMCC', 'XZ', now() - n * interval '1 day'
    from generate_series(1, {count}) n
    """,
    """
    insert into instrument (id, symbol, asset_id, currency, lot_units, tick_minor, floor_minor, ceiling_minor,
        reference_minor, maximum_lots, fee_basis_points, fee_minimum_minor, opens_at, closes_at, state)
    select id, code, id, 'CNY', 100, 1, 2, 300, 150, 1000, 500, 1, expires_at - interval '30 days',
        expires_at - interval '2 hours', 'closed'
    from asset where id between {first} and {first} + {count}
    """,
    """
    insert into session (instrument_id, kind, begins_at, ends_at, window_seconds, begun_at, ended_at)
    select 1, 'opening', now() - {first} % 1000 * interval '1 s' - n * interval '1 day',
        now() - n * interval '1 day' + interval '1 minute', 0, now() - n * interval '1 day',
        now() - n * interval '1 day'
    from generate_series(1, {count}) n
    """,
    """
    insert into candle (instrument_id, width_minutes, at, open_minor, high_minor, low_minor, close_minor, lots,
        turnover_minor, trades)
    select 1, width, date_bin(width * interval '1 minute', now(), '2000-01-01') - n * width * interval '1 minute', 100,
        110, 90, 100, 5, 500, 2
    from generate_series(1, {count}) n, unnest(array[1, 15, 60, 1440]) width on conflict do nothing
    """,
    """
    insert into price_index (carrier, day, currency, median_minor, average_minor, volume_mb, trades, dropped_trades)
    select carrier, current_date - n, 'CNY', 100, 100, 100, 1, 0
    from generate_series(1, {count}) n, unnest(array['CMCC', 'CUCC', 'CTCC', 'CBN']) carrier on conflict do nothing
    """,
    """
    insert into fee_schedule (effective_from, party_kind, basis_points, minimum_minor)
    select now() - n * interval '1 hour', 'subscriber', 500, 1 from generate_series(1, {count}) n
    """,
    """
    insert into carrier_charge (carrier, effective_from, steps)
    select 'CMCC', now() - n * interval '1 hour', '0:20' from generate_series(1, {count}) n
    """,
    """
    insert into rule_profile (carrier, effective_from, terms)
    select 'CMCC', now() - n * interval '1 hour', '{{}}' from generate_series(1, {count}) n
    """,
    """
    insert into surveillance_event (kind, party_id, instrument_id, order_id, detail, at)
    select 'self_trade', 1, 1, 1, 'It happened.', now() from generate_series(1, {count}) n
    """,
    """
    insert into instruction (id, kind, subject_id, lane, status, attempt, reason)
    select {first} + n, 'handout', {first} + n, 'CMCC', 'dead', 3, 'It contradicts us.'
    from generate_series(1, {count}) n
    """,
    """
    insert into dead_word (instruction_id, happened, reason, proposed_by, status, ended_by, ended_at)
    select {first} + n, false, 'Looked it up.', 1, status, case status when 'withdrawn' then 1 end,
        case status when 'withdrawn' then now() end
    from generate_series(1, {count}) n, unnest(array['proposed', 'withdrawn']) status
    """,
    """
    insert into provider_event (id, kind, object_id, payload, handled_at, outcome, parked)
    select 'evt_' || {first} + n, 'charge.dispute.created', 'dp_1', '{{}}', now(), 'for a person', true
    from generate_series(1, {count}) n
    """,
    """
    insert into party_freeze (party_id, cause, reference, detail)
    select {first} + n, 'bank_disowned', 'past-' || n, 'acct_1' from generate_series(1, {count}) n
    """,
    """
    insert into carrier_stop (carrier, cause, detail, ended_at)
    select 'CMCC', 'away', 'It was away.', now() from generate_series(1, {count}) n
    """,
    """
    insert into reconciliation (id, day, scope, status, ended_at, totals, result_hash)
    select {first} + n, current_date - n, 'all', 'done', now(), '[]', '' from generate_series(1, {count}) n
    """,
    """
    insert into break_item (id, counterparty, kind, subject, cause, detail, ours, theirs, unit, at, first_run_id,
        last_run_id)
    select {first} + n, (array['provider', 'CMCC'])[1 + n % 2], 'payment', 'pi_' || {first} + n, 'missing_here',
        'Nothing of that name.', null, 1500, 'CNY', now(), {first} + n, {first} + n
    from generate_series(1, {count}) n
    """,
    """
    insert into adjustment (key, break_id, category, source, target, amount_minor, currency, reason, status,
        proposed_by)
    select 'past-' || {first} + n, {first} + 1, 'correction', 'provider', 'suspense', 15, 'CNY', 'Unknown.',
        'proposed', 1
    from generate_series(1, {count}) n
    """,
    """
    insert into seen_by_officer (subject, subject_id, officer_id, note)
    select 'escalation', id, 1, 'At it.' from escalation where id % 2 = 0 on conflict do nothing
    """,
)
"""What happens to the market itself: months that end, sessions, rules, breaks, and what waits for officers."""


def past_of(party_id: int, first: int, count: int) -> list[str]:
    """The statements that give a party so many rows of each kind, with ids after ``first``.

    They belong to one transaction. Nobody stands on the other side, so the books are not sound after them.
    """
    made = (statement.format(party=party_id, first=first, count=count, facts=FACTS) for statement in HISTORY)
    return ["set local session_replication_role = replica", *made]


def dealings_of(party_id: int, line_id: int, asset_id: int, first: int, count: int) -> list[str]:
    """Those of what else a member does, after ``past_of`` with the same ids."""
    return [
        statement.format(party=party_id, line=line_id, asset=asset_id, first=first, count=count)
        for statement in DEALINGS
    ]


def events_of(first: int, count: int) -> list[str]:
    """Those of what happens to the market, in the same transaction."""
    return [statement.format(first=first, count=count) for statement in EVENTS]
