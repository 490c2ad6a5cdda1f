"""The benches' orders as commands of the members that their databases have."""

from market.engine.commands import PlaceOrder
from matching.orders import Order, Side
from web.bench.stack import member


def placed(order: Order, at: int) -> PlaceOrder:
    """The command that places an order of a stream, under a key that `at` makes its own."""
    party, money, coins = member(order.party_id)
    buying = order.side is Side.BUY
    return PlaceOrder(
        party_id=party,
        key=f"k{at}",
        body_hash=b"",
        instrument_id=1,
        group_id=party,
        side="buy" if buying else "sell",
        price_minor=order.price,
        quantity=order.quantity,
        account_id=money if buying else coins,
        time_in_force=order.time_in_force.value,
        proceeds_account_id=coins if buying else money,
    )
