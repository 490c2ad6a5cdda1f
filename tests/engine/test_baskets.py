"""Baskets as pure decisions: against a naive oracle, and whatever is asked, holds fit and nothing is made or lost."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.engine.baskets import legs_to_place, place_legs
from market.engine.commands import (
    Answer,
    Command,
    Conditions,
    PlaceBasket,
    PlaceOrder,
    PrepareLegs,
    ResolveLegs,
    SetState,
)
from market.engine.desk import NUMBERS, Desk
from market.engine.instruments import Instrument
from market.pricing import fee_minor
from matching.guard import Blame, Verdict
from matching.orders import Order
from matching.rules import Terms
from settlement.accounts import HOUSE
from settlement.ledger import Account

BASIS_POINTS, MINIMUM = 500, 1
UNITS = {1: 100, 2: 100, 3: 50}
"""Units in a lot of each of the three instruments."""
ASKER = 0
MONEY, GOODS = 10_000, 100_000


class Ask(NamedTuple):
    """A sell order that rests."""

    instrument: int
    price: int
    lots: int
    own: bool = False
    """Of the asker's own household."""


asks = st.lists(
    st.builds(Ask, st.sampled_from([1, 2, 3]), st.integers(2, 9), st.integers(1, 6), st.booleans()), max_size=12
)
wishes = st.lists(
    st.tuples(st.sampled_from([1, 2, 3]), st.integers(1, 8)), min_size=1, max_size=3, unique_by=lambda wish: wish[0]
)


class Bench:
    """One desk with three instruments of coins, and members with an account in each."""

    def __init__(self, money: int = MONEY) -> None:
        self.desk = Desk(0)
        self.accounts: dict[int, Account] = {}
        self.now_us, self.keys = 1_000, 0
        self.unsettled: dict[int, int] = defaultdict(int)
        for number, units in UNITS.items():
            terms = Terms(1, 2, 50, 100, 0, 10**15)
            self.desk.instruments[number] = Instrument(
                number, f"COIN{number}", 10 + number, 1, None, units, BASIS_POINTS, MINIMUM, terms
            )
        for party in range(6):
            self.accounts[party * 10] = Account(party * 10, party, 1, money, 0)
            for number in UNITS:
                self.accounts[party * 10 + number] = Account(party * 10 + number, party, 10 + number, GOODS, 0)

    def ask(self, command: Command) -> Answer:
        self.now_us += 1
        wanted = self.desk.begin([command], self.now_us)
        self.desk.accounts = {each: self.accounts[each] for each in wanted if each in self.accounts}
        _, answer = self.desk.apply(command)
        self.desk.end([command])
        for account_id, amount in self.desk.changes.holds.items():
            if account_id not in self.desk.accounts:
                self.accounts[account_id].hold(amount)
        for trade in self.desk.changes.trades:
            self.unsettled[trade.buy.account_id] += trade.price_minor * trade.quantity
            self.unsettled[trade.sell.account_id] += trade.units
            assert trade.buy.group_id != trade.sell.group_id
        self.agrees()
        return answer

    def agrees(self) -> None:
        """Held is what open orders, trades and prepared legs need; nothing is made or lost."""
        need: dict[int, int] = defaultdict(int, self.unsettled)
        for record in self.desk.records.values():
            units = UNITS[record.instrument_id]
            need[record.account_id] += record.price * record.open if record.side == 1 else record.open * units
        if self.desk.prepared is not None:
            for leg, amount in zip(self.desk.prepared.legs, self.desk.prepared.needs, strict=True):
                need[leg.account_id] += amount
        assert {each: one.held for each, one in self.accounts.items()} == {each: need[each] for each in self.accounts}
        assert all(one.available >= 0 for one in self.accounts.values())

    def key(self) -> str:
        self.keys += 1
        return f"k{self.keys}"

    def order(
        self, party: int, instrument: int, side: Literal["buy", "sell"], price: int, lots: int, **more: Any
    ) -> PlaceOrder:
        money, goods = party * 10, party * 10 + instrument
        return PlaceOrder(
            party_id=party,
            key=self.key(),
            body_hash=b"",
            instrument_id=instrument,
            group_id=more.pop("group", party),
            side=side,
            price_minor=price,
            quantity=lots,
            account_id=money if side == "buy" else goods,
            proceeds_account_id=goods if side == "buy" else money,
            **more,
        )

    def leg(self, instrument: int, side: Literal["buy", "sell"], lots: int, price: int | None = None) -> PlaceOrder:
        price = price or (50 if side == "buy" else 2)
        return self.order(ASKER, instrument, side, price, lots, time_in_force="ioc")

    def basket(self, legs: Sequence[PlaceOrder], limit: int, *, all_or_none: bool = True) -> Answer:
        return self.ask(PlaceBasket(ASKER, self.key(), b"", legs[0].instrument_id, tuple(legs), limit, all_or_none))

    def book(self, resting: Sequence[Ask]) -> None:
        for number, ask in enumerate(resting):
            party = 1 + number % 5
            group = ASKER if ask.own else party
            assert self.ask(self.order(party, ask.instrument, "sell", ask.price, ask.lots, group=group)).accepted


def in_reach(resting: Sequence[Ask], instrument: int) -> list[tuple[int, int]]:
    """One lot at a time as (price, lots), best first, up to the first of the asker's own: the slow and obvious way."""
    queue = sorted((ask for ask in resting if ask.instrument == instrument), key=lambda ask: ask.price)
    found: list[tuple[int, int]] = []
    for ask in queue:
        if ask.own:
            break
        found += [(ask.price, 1)] * ask.lots
    return found


@settings(max_examples=150, deadline=None)
@given(resting=asks, wanted=wishes, limit=st.integers(1, 120))
def test_all_or_none_buys_every_leg_whole_within_the_limit_or_nothing(
    resting: list[Ask], wanted: list[tuple[int, int]], limit: int
) -> None:
    bench = Bench()
    bench.book(resting)
    before = {each: (one.available, one.held) for each, one in bench.accounts.items()}

    answer = bench.basket([bench.leg(instrument, "buy", lots) for instrument, lots in wanted], limit)

    offered = {instrument: in_reach(resting, instrument)[:lots] for instrument, lots in wanted}
    cost = sum(price for lots in offered.values() for price, _ in lots)
    possible = all(len(offered[instrument]) == lots for instrument, lots in wanted) and cost <= limit
    assert answer.accepted == possible
    if possible:
        assert answer.net_minor == cost == bench.accounts[0].held
        assert [leg.filled for leg in answer.orders] == [lots for _, lots in wanted]
        assert all(sum(fill.quantity for fill in leg.fills) == leg.filled for leg in answer.orders)
    else:
        assert before == {each: (one.available, one.held) for each, one in bench.accounts.items()}
        assert not bench.desk.changes.trades


def cheapest(resting: Sequence[Ask], wanted: Sequence[tuple[int, int]], budget: int) -> list[int]:
    """Lots for each leg, one lot at a time: always the cheapest per unit that is next in its book, while it fits."""
    queues = [in_reach(resting, instrument)[:lots] for instrument, lots in wanted]
    bought = [0] * len(wanted)
    while any(queues):
        at = min(
            (index for index in range(len(queues)) if queues[index]),
            key=lambda index: (queues[index][0][0] / UNITS[wanted[index][0]], index),
        )
        price, _ = queues[at].pop(0)
        if price > budget:
            queues[at] = []
            continue
        budget -= price
        bought[at] += 1
    return bought


@settings(max_examples=150, deadline=None)
@given(resting=asks, wanted=wishes, limit=st.integers(1, 120), money=st.integers(0, 120))
def test_best_effort_spends_the_limit_on_what_is_cheapest_per_unit(
    resting: list[Ask], wanted: list[tuple[int, int]], limit: int, money: int
) -> None:
    bench = Bench(money=money)
    bench.book(resting)

    answer = bench.basket([bench.leg(instrument, "buy", lots) for instrument, lots in wanted], limit, all_or_none=False)

    assert answer.accepted
    assert [leg.filled for leg in answer.orders] == cheapest(resting, wanted, min(limit, money))
    assert answer.net_minor == bench.accounts[0].held <= min(limit, money)
    assert all((leg.code is None) == (leg.filled == lots) for leg, (_, lots) in zip(answer.orders, wanted, strict=True))


@settings(max_examples=100, deadline=None)
@given(
    bids=st.lists(st.tuples(st.integers(2, 9), st.integers(1, 6)), min_size=1, max_size=4),
    offers=st.lists(st.tuples(st.integers(2, 9), st.integers(1, 6)), min_size=1, max_size=4),
    sold=st.integers(1, 8),
    bought=st.integers(1, 8),
    limit=st.integers(-40, 40),
)
def test_a_swap_sells_and_buys_within_its_net_limit_or_does_nothing(
    bids: list[tuple[int, int]], offers: list[tuple[int, int]], sold: int, bought: int, limit: int
) -> None:
    bench = Bench()
    for price, lots in bids:
        bench.ask(bench.order(1, 1, "buy", price, lots))
    for price, lots in offers:
        bench.ask(bench.order(2, 2, "sell", price, lots))

    answer = bench.basket([bench.leg(1, "sell", sold), bench.leg(2, "buy", bought)], limit)

    left, net = sold, 0
    for price, lots in sorted(bids, key=lambda bid: -bid[0]):
        taken = min(left, lots)
        left -= taken
        if taken:
            net += fee_minor(price * taken, basis_points=BASIS_POINTS, minimum_minor=MINIMUM) - price * taken
    asked = [price for price, lots in sorted(offers) for _ in range(lots)][:bought]
    net += sum(asked)
    assert answer.accepted == (not left and len(asked) == bought and net <= limit)
    if answer.accepted:
        assert answer.net_minor == net == sum(leg.net_minor for leg in answer.orders)
    else:
        assert not bench.desk.changes.trades


@pytest.mark.parametrize("committed", [True, False])
@settings(max_examples=60, deadline=None)
@given(resting=asks, wanted=wishes)
def test_what_was_prepared_is_traded_exactly_or_given_back(
    committed: bool, resting: list[Ask], wanted: list[tuple[int, int]]
) -> None:
    bench = Bench()
    bench.book(resting)
    stop = Conditions(stop_minor=3)
    for instrument in UNITS:  # what the trades set off must not reach the other legs
        bench.ask(bench.order(5, instrument, "buy", 9, 2, conditions=stop))
    legs = tuple(bench.leg(instrument, "buy", lots) for instrument, lots in wanted)
    before = (bench.accounts[0].available, bench.accounts[0].held)

    prepared = bench.ask(PrepareLegs(ASKER, bench.key(), b"", legs[0].instrument_id, 7, legs))
    assert not bench.desk.changes.trades
    if not prepared.accepted:
        assert before == (bench.accounts[0].available, bench.accounts[0].held)
        return
    promised = bench.desk.prepared
    assert promised is not None
    assert bench.accounts[0].held - before[1] == prepared.net_minor
    bench.now_us += 10**15  # after the close: a promise is of the moment when it was made
    resolved = bench.ask(ResolveLegs(HOUSE, bench.key(), b"", legs[0].instrument_id, 7, committed, promised.legs))

    assert resolved.accepted
    if committed:
        told = [[(fill.price_minor, fill.quantity) for fill in leg.fills] for leg in resolved.orders]
        assert told == [[(fill.price_minor, fill.quantity) for fill in leg.fills] for leg in prepared.orders]
        assert [leg.net_minor for leg in resolved.orders] == [leg.net_minor for leg in prepared.orders]
        assert bench.accounts[0].held - before[1] == prepared.net_minor
    else:
        assert not bench.desk.changes.trades
        assert before == (bench.accounts[0].available, bench.accounts[0].held)


@settings(max_examples=60, deadline=None)
@given(resting=asks, wanted=wishes, limit=st.integers(1, 120), all_or_none=st.booleans())
def test_a_basket_done_again_from_its_answer_trades_the_same(
    resting: list[Ask], wanted: list[tuple[int, int]], limit: int, all_or_none: bool
) -> None:
    bench, again = Bench(), Bench()
    bench.book(resting)
    again.book(resting)
    legs = [bench.leg(instrument, "buy", lots) for instrument, lots in wanted]
    command = PlaceBasket(ASKER, "key", b"", legs[0].instrument_id, tuple(legs), limit, all_or_none)
    answer = bench.ask(command)
    if not answer.accepted:
        return

    seq = again.desk.seq + NUMBERS
    placed = legs_to_place(command, answer)
    made = place_legs(
        placed, [seq + at * NUMBERS for at in range(len(placed))], again.desk.instruments, seq, bench.now_us
    )

    fills = [(fill.taker.id, fill.maker.id, fill.price, fill.quantity) for _, done in made for fill in done.fills]
    assert fills == [
        (trade.buy.id, trade.sell.id, trade.price_minor, trade.quantity) for trade in bench.desk.changes.trades
    ]


@dataclass
class CappedSellers:
    """A guard over several books: nobody sells more than so many lots in all of them together."""

    left: dict[int, int]

    def verdict(self, sell: Order, buy: Order, lots: int) -> Verdict:
        del buy
        return Verdict(min(lots, self.left[sell.party_id]), Blame.SELL, "used_up")

    def took(self, sell: Order, buy: Order, lots: int) -> None:
        del buy
        self.left[sell.party_id] -= lots


@pytest.mark.parametrize(("cap", "whole"), [(4, True), (3, False)])
def test_legs_share_a_sellers_cap_and_what_they_set_off_comes_after_them(cap: int, whole: bool) -> None:
    bench = Bench()
    for instrument, price in [(1, 5), (1, 6), (2, 5)]:
        bench.ask(bench.order(1, instrument, "sell", price, 2))
    bench.ask(bench.order(5, 1, "buy", 9, 2, conditions=Conditions(stop_minor=4)))
    guard = CappedSellers(dict.fromkeys(range(6), cap))
    for instrument in (1, 2):
        bench.desk.instruments[instrument].book.guard = guard

    answer = bench.basket([bench.leg(1, "buy", 2), bench.leg(2, "buy", 2)], 1_000)

    assert answer.accepted == whole
    assert guard.left[1] == (0 if whole else cap)
    assert [(trade.instrument_id, trade.price_minor) for trade in bench.desk.changes.trades] == (
        [(1, 5), (2, 5)] if whole else []
    )


def test_a_basket_stops_at_its_own_offers_and_says_so() -> None:
    bench = Bench()
    bench.book([Ask(1, 5, 2), Ask(1, 6, 2, own=True), Ask(2, 5, 2)])
    legs = [bench.leg(1, "buy", 4), bench.leg(2, "buy", 2)]

    whole, part = bench.basket(legs, 1_000), bench.basket(legs, 1_000, all_or_none=False)

    assert (whole.accepted, whole.code) == (False, "self_trade")
    assert [(leg.filled, leg.code) for leg in part.orders] == [(2, "self_trade"), (2, None)]


@pytest.mark.parametrize("state", ["halted", "auction", "closed", "cancel_only", "paused"])
def test_a_leg_in_a_market_that_does_not_trade_is_refused(state: Any) -> None:
    bench = Bench()
    bench.book([Ask(1, 5, 2), Ask(2, 5, 2)])
    bench.ask(SetState(HOUSE, bench.key(), b"", 2, state))
    legs = [bench.leg(1, "buy", 1), bench.leg(2, "buy", 1)]

    whole, part = bench.basket(legs, 1_000), bench.basket(legs, 1_000, all_or_none=False)

    assert not whole.accepted
    assert (whole.detail or "").startswith("Leg 2 of 2: ")
    assert [leg.filled for leg in part.orders] == [1, 0]
    assert part.orders[1].code == whole.code


def test_a_basket_needs_money_for_what_it_buys_and_no_more() -> None:
    bench = Bench(money=20)
    bench.book([Ask(1, 2, 1), Ask(1, 9, 1), Ask(2, 9, 1)])
    legs = [bench.leg(1, "buy", 2), bench.leg(2, "buy", 1)]

    answer = bench.basket(legs, 1_000)

    assert answer.accepted
    assert (bench.accounts[0].available, bench.accounts[0].held) == (0, 20)


@pytest.mark.parametrize("lots", list(product([1, 3], repeat=2)))
def test_no_instrument_comes_twice(lots: tuple[int, int]) -> None:
    bench = Bench()
    bench.book([Ask(1, 5, 6)])

    answer = bench.basket([bench.leg(1, "buy", each) for each in lots], 1_000)

    assert (answer.accepted, answer.code) == (False, "bad_basket")
