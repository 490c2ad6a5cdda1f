"""A member's past, made at once: orders that ended, trades, entries of the wallet and notices."""

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


def past_of(party_id: int, first: int, count: int) -> list[str]:
    """The statements that give a party so many rows of each kind, with ids after ``first``.

    They belong to one transaction. Nobody stands on the other side, so the books are not sound after them.
    """
    made = (statement.format(party=party_id, first=first, count=count, facts=FACTS) for statement in HISTORY)
    return ["set local session_replication_role = replica", *made]
