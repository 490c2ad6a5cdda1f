"""The engine's decisions as pure values: whatever is asked, holds fit the open orders and nothing is made or lost."""

from collections import defaultdict
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from market.engine.commands import AmendOrder, Answer, CancelOrder, Command, ExpireOrders, PlaceOrder, SetState
from market.engine.desk import Desk
from market.engine.instruments import Instrument
from matching.orders import Side
from matching.rules import Terms
from settlement.ledger import Account

MEMBERS = 5
MONEY, COINS = 5_000, 4_000
HOUSEHOLD = 77

members = st.integers(0, MEMBERS - 1)
prices = st.integers(2, 12)
lots = st.integers(1, 12)


class Market(RuleBasedStateMachine):
    """One instrument of coins; two of its members are one household."""

    @initialize()
    def open_market(self) -> None:
        terms = Terms(1, 2, 12, 100, 0, 10**15)
        self.desk = Desk(0)
        self.desk.instruments[1] = Instrument(1, "COIN", 2, 1, None, 100, 500, 1, terms)
        self.accounts: dict[int, Account] = {}
        for number in range(MEMBERS):
            self.accounts[number * 2] = Account(number * 2, number, 1, MONEY, 0)
            self.accounts[number * 2 + 1] = Account(number * 2 + 1, number, 2, COINS, 0)
        self.now_us = 1_000
        self.keys = 0
        self.traded: dict[int, int] = defaultdict(int)
        self.unsettled: dict[int, int] = defaultdict(int)
        self.known: list[tuple[int, int]] = []

    def ask(self, command: Command) -> Answer:
        wanted = self.desk.begin([command], self.now_us)
        before = {account: (one.available, one.held) for account, one in self.accounts.items()}
        seq, answer = self._apply(command, wanted)
        if not answer.accepted and not self.desk.changes.changed:
            assert before == {account: (one.available, one.held) for account, one in self.accounts.items()}
        for trade in self.desk.changes.trades:
            self.unsettled[trade.buy.account_id] += trade.price_minor * trade.quantity
            self.unsettled[trade.sell.account_id] += trade.units
            assert trade.buy.group_id != trade.sell.group_id
            assert trade.sell.price <= trade.price_minor <= trade.buy.price
            assert 0 < trade.fee_minor < trade.price_minor * trade.quantity
        if answer.order_id == seq:
            self.known.append((command.party_id, seq))
        return answer

    def _apply(self, command: Command, wanted: set[int]) -> tuple[int, Answer]:
        """What was not locked is only given back, as the balances' rows are: by the change alone."""
        self.desk.accounts = {account: self.accounts[account] for account in wanted if account in self.accounts}
        decided = self.desk.apply(command)
        for account, amount in self.desk.changes.holds.items():
            if account not in self.desk.accounts:
                self.accounts[account].hold(amount)
        self.desk.end([command])
        return decided

    def key(self) -> str:
        self.keys += 1
        return f"k{self.keys}"

    @rule(
        member=members,
        side=st.sampled_from(["buy", "sell"]),
        price=prices,
        quantity=lots,
        how=st.sampled_from(["gtc", "gtc", "ioc", "fok", "gtd"]),
        post_only=st.booleans(),
        life_us=st.integers(1, 50),
    )
    def place(
        self, *, member: int, side: Any, price: int, quantity: int, how: Any, post_only: bool, life_us: int
    ) -> None:
        money, coins = member * 2, member * 2 + 1
        self.ask(
            PlaceOrder(
                party_id=member,
                key=self.key(),
                body_hash=b"",
                instrument_id=1,
                group_id=HOUSEHOLD if member < 2 else member,
                side=side,
                price_minor=price,
                quantity=quantity,
                account_id=money if side == "buy" else coins,
                proceeds_account_id=coins if side == "buy" else money,
                time_in_force=how,
                post_only=post_only and how in {"gtc", "gtd"},
                expires_at_us=self.now_us + life_us if how == "gtd" else None,
            )
        )

    @rule(at=st.integers(0, 50), member=members)
    def cancel(self, at: int, member: int) -> None:
        owner, order_id = self.known[at % len(self.known)] if self.known else (member, 1)
        self.ask(CancelOrder(owner, self.key(), b"", 1, order_id))

    @rule(at=st.integers(0, 50), price=prices, quantity=lots)
    def amend(self, at: int, price: int, quantity: int) -> None:
        if self.known:
            owner, order_id = self.known[at % len(self.known)]
            self.ask(AmendOrder(owner, self.key(), b"", 1, order_id, price, quantity))

    @rule(later_us=st.integers(1, 100))
    def time_passes(self, later_us: int) -> None:
        self.now_us += later_us

    @rule()
    def expire(self) -> None:
        self.ask(ExpireOrders(0, self.key(), b"", 1))

    @rule()
    def halt_and_reopen(self) -> None:
        self.ask(SetState(0, self.key(), b"", 1, "halted"))
        refused = self.ask(PlaceOrder(4, self.key(), b"", 1, 4, "buy", 5, 1, 8, proceeds_account_id=9))
        assert refused.code == "market_halted"
        self.ask(SetState(0, self.key(), b"", 1, "open"))

    @invariant()
    def held_amounts_are_what_open_orders_and_trades_need(self) -> None:
        need: dict[int, int] = defaultdict(int, self.unsettled)
        for record in self.desk.records.values():
            worth = record.price * record.open if record.side == Side.BUY else record.open * 100
            need[record.account_id] += worth
        assert {account: one.held for account, one in self.accounts.items()} == {
            account: need[account] for account in self.accounts
        }

    @invariant()
    def nothing_is_made_or_lost_before_settlement(self) -> None:
        for account in self.accounts.values():
            assert account.available + account.held == (MONEY if account.asset_id == 1 else COINS)
            assert account.available >= 0

    @invariant()
    def records_and_book_are_the_same(self) -> None:
        book = self.desk.instruments[1].book
        resting = {order.id: (order.price, order.open, order.quantity) for order in book.open_orders()}
        assert resting == {
            record.id: (record.price, record.open, record.quantity) for record in self.desk.records.values()
        }
        assert book.best_bid is None or book.best_ask is None or book.best_bid < book.best_ask
        assert sum(map(len, self.desk.orders_of.values())) == len(resting)


TestMarket = Market.TestCase
TestMarket.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
