"""The books under arbitrary use: nothing is made, nothing is lost, and every hold ends exactly once."""

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from settlement.ledger import Account, InsufficientFunds, Kind, Ledger, Posting, UnbalancedTransfer

MONEY, DATA = 1, 2
PROVIDER, CARRIER, FEES = 1, 2, 3
amounts = st.integers(1, 1000)
members = st.integers(0, 3)


@dataclass
class Promise:
    """A trade whose two holds wait for their end."""

    buyer: int
    seller: int
    quantity: int
    amount: int
    ends: list[str] = field(default_factory=list)


class Books(RuleBasedStateMachine):
    """Members who top up, reserve, trade, and are settled or refunded, in any order."""

    promises = Bundle("promises")

    def __init__(self) -> None:
        super().__init__()
        world = [
            Account(PROVIDER, 1, MONEY, 0, 0, may_go_negative=True),
            Account(CARRIER, 1, DATA, 0, 0, may_go_negative=True),
            Account(FEES, 1, MONEY, 0, 0),
        ]
        wallets = [Account(10 + member, 10 + member, MONEY, 0, 0) for member in range(4)]
        custodies = [Account(20 + member, 10 + member, DATA, 0, 0) for member in range(4)]
        self.ledger = Ledger.of([*world, *wallets, *custodies])
        self.made: list[Promise] = []

    @rule(member=members, amount=amounts)
    def top_up(self, member: int, amount: int) -> None:
        self.ledger.move(Kind.TOPPED_UP, "", source=PROVIDER, target=10 + member, amount=amount)

    @rule(member=members, amount=amounts)
    def reserve(self, member: int, amount: int) -> None:
        self.ledger.move(Kind.RESERVED, "", source=CARRIER, target=20 + member, amount=amount)

    @rule(target=promises, buyer=members, seller=members, quantity=amounts, amount=amounts)
    def trade(self, buyer: int, seller: int, quantity: int, amount: int) -> Promise:
        promise = Promise(10 + buyer, 20 + seller, quantity, amount)
        before = self._balances()
        try:
            self.ledger.hold(promise.buyer, amount)
        except InsufficientFunds:
            assert self._balances() == before
            promise.ends.append("refused")
            return promise
        try:
            self.ledger.hold(promise.seller, quantity)
        except InsufficientFunds:
            self.ledger.hold(promise.buyer, -amount)
            assert self._balances() == before
            promise.ends.append("refused")
            return promise
        self.made.append(promise)
        return promise

    @rule(promise=consumes(promises), fee=st.integers(0, 1000))
    def settle(self, promise: Promise, fee: int) -> None:
        if promise.ends:
            return
        fee = min(fee, promise.amount)
        self.ledger.transfer(
            Kind.SETTLED,
            "",
            Posting(promise.buyer, held=-promise.amount),
            Posting(promise.seller - 10, promise.amount - fee),
            Posting(FEES, fee),
            Posting(promise.seller, held=-promise.quantity),
            Posting(CARRIER, promise.quantity),
        )
        promise.ends.append("settled")

    @rule(promise=consumes(promises))
    def refund(self, promise: Promise) -> None:
        if promise.ends:
            return
        self.ledger.hold(promise.buyer, -promise.amount, kind=Kind.REFUNDED)
        self.ledger.hold(promise.seller, -promise.quantity, kind=Kind.REFUNDED)
        promise.ends.append("refunded")

    @rule(member=members, amount=amounts)
    def pay_out_too_much(self, member: int, amount: int) -> None:
        before = self._balances()
        wallet = self.ledger.accounts[10 + member]
        with pytest.raises(InsufficientFunds):
            self.ledger.move(Kind.PAID_OUT, "", source=wallet.id, target=PROVIDER, amount=wallet.available + amount)
        assert self._balances() == before

    @rule(member=members, amount=amounts)
    def make_money(self, member: int, amount: int) -> None:
        before = self._balances()
        with pytest.raises(UnbalancedTransfer):
            self.ledger.transfer(Kind.TOPPED_UP, "", Posting(10 + member, amount), Posting(CARRIER, -amount))
        assert self._balances() == before

    @invariant()
    def everything_sums_to_zero(self) -> None:
        for asset in (MONEY, DATA):
            held = [account for account in self.ledger.accounts.values() if account.asset_id == asset]
            assert sum(account.available + account.held for account in held) == 0

    @invariant()
    def nothing_is_negative_that_may_not_be(self) -> None:
        for account in self.ledger.accounts.values():
            assert account.held >= 0
            assert account.available >= 0 or account.may_go_negative

    @invariant()
    def held_is_what_open_trades_need(self) -> None:
        waiting = [promise for promise in self.made if not promise.ends]
        for account in self.ledger.accounts.values():
            need = sum(promise.amount for promise in waiting if promise.buyer == account.id)
            need += sum(promise.quantity for promise in waiting if promise.seller == account.id)
            assert account.held == need

    def _balances(self) -> list[tuple[int, int]]:
        return [(account.available, account.held) for account in self.ledger.accounts.values()]


Books.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestBooks = Books.TestCase
