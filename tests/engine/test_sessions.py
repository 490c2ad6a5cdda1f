"""States and auctions: whatever is asked of a market, it trades only when it may, and nothing is made or lost."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from redis.asyncio import Redis

from market.engine import sessions
from market.engine.commands import Answer, CancelOrder, Command, Conditions, ExpireOrders, PlaceOrder, SetState
from market.engine.desk import Desk, worth
from market.engine.instruments import Instrument, Standing
from market.engine.sessions import CALL_US, indication, step
from market.engine.times import microseconds
from market.verify import verify
from matching.book import Book
from matching.rules import Terms
from settlement.ledger import Account
from tests.engine.factories import Floor, fresh_database, open_floor, running_engine

MEMBERS = 5
MONEY, COINS = 50_000, 40_000
FLOOR, CEILING = 5, 20
HOUSEHOLD = 77
CLOSES = 10**15
NOON_US = microseconds(datetime(2030, 1, 1, 12, tzinfo=UTC))
STATES = ("pre_open", "auction", "open", "paused", "cancel_only", "halted")
REFUSED = {"halted": "market_halted", "cancel_only": "market_cancel_only", "closed": "market_closed"}


def an_instrument(**more: Any) -> Instrument:
    terms = Terms(1, FLOOR, CEILING, 100, 0, CLOSES)
    book = Book(1, 10, FLOOR, CEILING, more.pop("band", 2_000))
    return Instrument(1, "COIN", 2, 1, None, 100, 500, 1, terms, book, **more)


class Market(RuleBasedStateMachine):
    """One instrument with a dynamic band of a fifth; two of its members are one household."""

    @initialize()
    def open_market(self) -> None:
        self.desk = Desk(0)
        self.desk.instruments[1] = self.instrument = an_instrument()
        self.accounts: dict[int, Account] = {}
        for number in range(MEMBERS):
            self.accounts[number * 2] = Account(number * 2, number, 1, MONEY, 0)
            self.accounts[number * 2 + 1] = Account(number * 2 + 1, number, 2, COINS, 0)
        self.now_us = 1_000
        self.keys = 0
        self.unsettled: dict[int, int] = defaultdict(int)
        self.known: list[tuple[int, int]] = []

    def ask(self, command: Command) -> Answer:
        stood, ends_a_pause = self.instrument.standing, self._pause_is_over()
        wanted = self.desk.begin([command], self.now_us)
        self.desk.accounts = {account: self.accounts[account] for account in wanted}
        seq, answer = self.desk.apply(command)
        self.desk.end([command])
        for account_id, amount in self.desk.changes.holds.items():
            if account_id not in wanted:  # what is given back needs no lock
                self.accounts[account_id].hold(amount)
        self._look_at_trades(stood, command, ends_a_pause=ends_a_pause)
        if answer.order_id == seq:
            self.known.append((command.party_id, seq))
        return answer

    def _pause_is_over(self) -> bool:
        until_us = self.instrument.paused_until_us
        return until_us is not None and until_us <= max(self.now_us, self.desk.now_us + 1)

    def _look_at_trades(self, stood: Standing, command: Command, *, ends_a_pause: bool) -> None:
        trades = self.desk.changes.trades
        opens = isinstance(command, SetState) and (command.state in {"open", "closed"})
        assert not trades or stood.state == "open" or opens or ends_a_pause
        assert not trades or not (isinstance(command, SetState) and command.state in {"halted", "cancel_only"})
        for trade in trades:
            assert FLOOR <= trade.price_minor <= CEILING
            assert trade.sell.price <= trade.price_minor <= trade.buy.price
            assert trade.buy.group_id != trade.sell.group_id
            self.unsettled[trade.buy.account_id] += trade.price_minor * trade.quantity
            self.unsettled[trade.sell.account_id] += trade.units

    def key(self) -> str:
        self.keys += 1
        return f"k{self.keys}"

    @rule(
        member=st.integers(0, MEMBERS - 1),
        side=st.sampled_from(["buy", "sell"]),
        price=st.integers(FLOOR - 1, CEILING + 1),
        quantity=st.integers(1, 12),
        how=st.sampled_from(["gtc", "gtc", "gtc", "ioc", "fok", "gtd"]),
        life_us=st.integers(1, 3 * CALL_US),
        stop=st.none() | st.integers(FLOOR, CEILING),
    )
    def place(
        self, *, member: int, side: Any, price: int, quantity: int, how: Any, life_us: int, stop: int | None
    ) -> None:
        money, coins = member * 2, member * 2 + 1
        stood, over = self.instrument.standing, self._pause_is_over()
        answer = self.ask(
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
                expires_at_us=self.now_us + life_us if how == "gtd" else None,
                conditions=None if stop is None else Conditions(stop_minor=stop),
            )
        )
        if stood.state in REFUSED:
            assert answer.code == REFUSED[stood.state]
        elif self.instrument.terms.state.collects and answer.accepted and not over and stood.state != "open":
            assert how in {"gtc", "gtd"} or stop is not None
            assert (answer.state, answer.filled) == ("open", 0)

    @rule(at=st.integers(0, 50))
    def cancel(self, at: int) -> None:
        if self.known:
            owner, order_id = self.known[at % len(self.known)]
            resting = order_id in self.desk.records
            answer = self.ask(CancelOrder(owner, self.key(), b"", 1, order_id))
            assert answer.accepted or not resting or order_id not in self.desk.records

    @rule(later_us=st.integers(1, CALL_US))
    def time_passes(self, later_us: int) -> None:
        self.now_us += later_us

    @rule()
    def look_at_the_clock(self) -> None:
        self.ask(ExpireOrders(1, self.key(), b"", 1))

    @rule(state=st.sampled_from(STATES), by=st.sampled_from(["officer", "schedule", "switch"]))
    def bring_into(self, state: Any, by: Any) -> None:
        stood = self.instrument.standing
        orders = {each.id: (each.price, each.open, each.priority) for each in self.instrument.book.all_orders()}
        answer = self.ask(SetState(1, self.key(), b"", 1, state, by=by))

        if by == "schedule" and stood.stopped_by is not None:
            assert answer.code in {"stopped", "market_closed"}
            assert self.instrument.standing == stood
        if answer.accepted and state in {"halted", "cancel_only"} and by != "switch":
            assert self.instrument.terms.state == state
        if answer.accepted and state == "halted":
            assert self.instrument.terms.state == "halted"
        if answer.accepted and state in {"halted", "cancel_only"}:
            left = {each.id: (each.price, each.open, each.priority) for each in self.instrument.book.all_orders()}
            assert left == orders

    @rule(
        orders=st.lists(
            st.tuples(
                st.integers(0, MEMBERS - 1),
                st.sampled_from(["buy", "sell"]),
                st.integers(FLOOR, CEILING),
                st.integers(1, 12),
                st.none() | st.integers(FLOOR, CEILING),
            ),
            min_size=4,
            max_size=8,
        ),
        collects=st.sampled_from(["pre_open", "auction", "paused"]),
        ends=st.sampled_from(["plan", "officer", "clock", "switch", "halt", "close"]),
    )
    def hold_a_call(self, orders: list[Any], collects: Any, ends: str) -> None:
        self.ask(SetState(1, self.key(), b"", 1, collects))
        for member, side, price, quantity, stop in orders:
            self.place(member=member, side=side, price=price, quantity=quantity, how="gtc", life_us=1, stop=stop)
        match ends:
            case "plan":
                self.bring_into(state="open", by="schedule")
            case "officer":
                self.bring_into(state="open", by="officer")
            case "clock" | "halt":
                self.now_us += CALL_US
                self.look_at_the_clock() if ends == "clock" else self.bring_into(state="halted", by="officer")
            case "switch":
                self.bring_into(state="halted", by="switch")
                self.bring_into(state="open", by="switch")
                self.bring_into(state="open", by="schedule")
            case _:
                self.close_now_and_then(close=1)

    @rule(close=st.integers(0, 30))
    def close_now_and_then(self, close: int) -> None:
        if close == 1:
            self.ask(SetState(1, self.key(), b"", 1, "closed", by="schedule"))
            assert not self.desk.records

    @invariant()
    def held_amounts_are_what_open_orders_and_trades_need(self) -> None:
        need: dict[int, int] = defaultdict(int, self.unsettled)
        for record in self.desk.records.values():
            need[record.account_id] += worth(self.instrument, record)
        assert {account: one.held for account, one in self.accounts.items()} == {
            account: need[account] for account in self.accounts
        }

    @invariant()
    def nothing_is_made_or_lost(self) -> None:
        for account in self.accounts.values():
            assert account.available + account.held == (MONEY if account.asset_id == 1 else COINS)
            assert account.available >= 0

    @invariant()
    def what_trades_is_not_crossed_and_what_does_not_trade_calls(self) -> None:
        book = self.instrument.book
        assert book.calling == (self.instrument.terms.state != "open")
        assert book.calling or not book.is_crossed()
        assert {order.id for order in book.all_orders()} == set(self.desk.records)
        assert self.instrument.stopped_by is None or self.instrument.terms.state in {"halted", "cancel_only"}


TestMarket = Market.TestCase
TestMarket.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)


# Examples


def a_call(*orders: tuple[str, int, int | None], state: str = "auction") -> tuple[Desk, Instrument]:
    """A desk that has collected orders of one lot: side, price, and the stop price if it has one."""
    desk, instrument = Desk(0), an_instrument()
    desk.instruments[1] = instrument
    desk.accounts = {each: Account(each, each // 2, 1 if each % 2 == 0 else 2, MONEY, 0) for each in range(40)}
    instrument.stand(sessions.paused(0) if state == "paused" else Standing(state))
    for number, (side, price, stop) in enumerate(orders):
        mine = (number * 2, number * 2 + 1) if side == "buy" else (number * 2 + 1, number * 2)
        conditions = None if stop is None else Conditions(stop_minor=stop)
        order = PlaceOrder(
            number, f"o{number}", b"", 1, number, side, price, 1, mine[0],  # type: ignore[arg-type]
            proceeds_account_id=mine[1], conditions=conditions,
        )  # fmt: skip
        assert ask(desk, order, 1).accepted
    return desk, instrument


def ask(desk: Desk, command: Command, now_us: int) -> Answer:
    accounts = desk.accounts
    desk.begin([command], now_us)
    desk.accounts = accounts
    return desk.apply(command)[1]


@pytest.mark.parametrize("state", ["halted", "cancel_only"])
def test_a_halt_comes_before_the_auction_of_a_pause_that_is_over(state: Any) -> None:
    desk, instrument = a_call(("sell", 9, None), ("buy", 11, None), state="paused")

    answer = ask(desk, SetState(1, "k", b"", 1, state), CALL_US + 1)

    assert (answer.state, desk.changes.trades) == (state, [])
    assert instrument.book.is_crossed()


@pytest.mark.parametrize("ends", ["plan", "clock"])
def test_what_an_auction_sets_off_does_not_keep_the_market_from_opening(ends: str) -> None:
    desk, instrument = a_call(("buy", 20, 10), ("sell", 9, None), ("buy", 11, None), ("sell", 15, None), state="paused")

    command = SetState(1, "k", b"", 1, "open", by="schedule") if ends == "plan" else ExpireOrders(1, "k", b"", 1)
    ask(desk, command, 10 if ends == "plan" else CALL_US + 1)

    assert [trade.price_minor for trade in desk.changes.trades] == [10, 15]
    assert instrument.standing == Standing("open")
    assert desk.changes.surveillance == []


# The switch for the whole market, in plain values


@pytest.mark.parametrize(
    ("stands", "restored"),
    [
        (Standing("open"), Standing("open")),
        (Standing("pre_open", call_ends_us=9 * CALL_US), Standing("pre_open", call_ends_us=9 * CALL_US)),
        (Standing("auction", call_ends_us=5), Standing("auction", call_ends_us=CALL_US + 7)),
        (Standing("paused", 5, 5), Standing("paused", CALL_US + 7, CALL_US + 7)),
        (Standing("cancel_only", stopped_by="officer"), Standing("cancel_only", stopped_by="officer")),
        (Standing("halted", stopped_by="officer"), Standing("halted", stopped_by="officer")),
        (Standing("halted"), Standing("halted")),
    ],
)
def test_the_switch_restores_what_it_halted_and_leaves_alone_what_an_officer_did(
    stands: Standing, restored: Standing
) -> None:
    instrument = an_instrument()
    instrument.stand(stands)

    for state in ("halted", "halted", "open"):
        command = SetState(1, "k", b"", 1, state, by="switch")
        instrument.stand(step(instrument, command, 7).standing)
        assert state == "open" or instrument.terms.state == "halted"

    assert instrument.standing == restored


def test_what_an_officer_opens_before_its_hour_collects_until_then() -> None:
    terms = Terms(1, FLOOR, CEILING, 100, 1_000, CLOSES)
    instrument = Instrument(1, "COIN", 2, 1, None, 100, 500, 1, terms)
    instrument.stand(Standing("halted", stopped_by="officer"))

    assert step(instrument, SetState(1, "k", b"", 1, "open"), 999) == (Standing("pre_open", call_ends_us=1_000), False)
    assert step(instrument, SetState(1, "k", b"", 1, "open"), 1_000) == (Standing("open"), True)


# On a real engine


async def _set(floor: Floor, state: Any, by: Any = "schedule", instrument: int = 1, **more: Any) -> Answer:
    key = f"state-{next(floor.keys)}"
    return await floor.gateway.submit(SetState(1, key, b"", instrument, state, by=by, **more))


async def _row(floor: Floor) -> dict[str, Any]:
    return dict(
        await floor.connection.fetchrow(
            "select state, paused_until, call_ends_at, stopped_by, state_before from instrument where id = 1"
        )
    )


async def test_a_call_survives_a_restart_and_ends_by_one_price(
    new_database: Callable[[str], str], valkey_url: str
) -> None:
    async with Redis.from_url(valkey_url) as redis:
        await redis.flushall()
    url = await fresh_database(new_database)
    async with open_floor(url, valkey_url) as floor:
        seller, buyer = await floor.member(), await floor.member()
        async with running_engine(floor.dsn, floor.redis):
            await _set(floor, "auction", call_ends_us=2_000_000_000_000_000)
            asks = [await floor.place(seller, "sell", price, 5) for price in (90, 95)]
            bids = [await floor.place(buyer, "buy", price, 4) for price in (110, 100)]
            refused = await floor.place(buyer, "buy", 110, 1, time_in_force="ioc")
        assert [each.state for each in (*asks, *bids)] == ["open"] * 4
        assert not refused.accepted

        async with running_engine(floor.dsn, floor.redis) as engine:
            answer = await _set(floor, "open")

        assert engine.commands == 1
        assert answer.auction is not None
        assert (answer.auction.price_minor, answer.auction.volume) == (100, 8)
        trades = await floor.connection.fetch("select distinct price_minor, taker_side from trade")
        assert [tuple(row) for row in trades] == [(100, 0)]
        assert await _row(floor) == dict.fromkeys(await _row(floor)) | {"state": "open"}
        assert await _broken(floor) <= {"D1"}


async def test_a_breach_pauses_and_the_engine_ends_the_pause_after_a_restart_too(
    new_database: Callable[[str], str], valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "CALL_US", 3_000_000)  # nobody waits two minutes for a test
    async with Redis.from_url(valkey_url) as redis:
        await redis.flushall()
    url = await fresh_database(new_database)
    async with open_floor(url, valkey_url) as floor:
        await floor.connection.execute("update instrument set band_basis_points = 1000 where id = 1")
        seller, buyer = await floor.member(), await floor.member()
        async with running_engine(floor.dsn, floor.redis):
            await floor.place(seller, "sell", 111, 5)
            bid = await floor.place(buyer, "buy", 120, 2)
        assert (bid.state, bid.filled) == ("open", 0)
        stands = await _row(floor)
        assert (stands["state"], stands["paused_until"]) == ("paused", stands["call_ends_at"])
        event = await floor.connection.fetchrow("select kind, party_id, detail from surveillance_event")
        assert tuple(event) == ("band_breach", buyer.id, "paused before a trade at 111")

        async with running_engine(floor.dsn, floor.redis):
            waiting = await floor.place(buyer, "buy", 112, 1)
            assert waiting.filled == 0
            await _until(floor, "open")

        volume = await floor.connection.fetchval("select sum(quantity) from trade")
        assert volume == 3
        assert (await _row(floor))["paused_until"] is None
        assert await _broken(floor) <= {"D1"}


async def test_a_halted_auction_leaves_the_orders_and_goes_on_when_the_switch_is_let_go(floor: Floor) -> None:
    seller, buyer = await floor.member(), await floor.member()
    await _set(floor, "auction", call_ends_us=1)
    await floor.place(seller, "sell", 90, 5)
    await floor.place(buyer, "buy", 110, 5)
    orders = await floor.connection.fetch("select id, price_minor, open, version from open_order order by id")

    halted = await _set(floor, "halted", "switch")
    refused = await _set(floor, "open", "schedule")
    late = await floor.place(buyer, "buy", 110, 1)

    assert (halted.state, halted.auction, refused.code, late.code) == ("halted", None, "stopped", "market_halted")
    assert await floor.connection.fetch("select id, price_minor, open, version from open_order order by id") == orders
    assert await _broken(floor) <= {"D1"}  # what does not trade may be crossed

    again = await _set(floor, "open", "switch")
    assert again.state == "auction"
    opened = await _set(floor, "open", "schedule")
    assert opened.auction is not None
    assert await floor.connection.fetchval("select count(*) from open_order") == 0
    assert await _broken(floor) <= {"D1"}


async def test_who_halted_a_market_is_known_after_a_restart(
    new_database: Callable[[str], str], valkey_url: str
) -> None:
    async with Redis.from_url(valkey_url) as redis:
        await redis.flushall()
    url = await fresh_database(new_database)
    async with open_floor(url, valkey_url) as floor:
        async with running_engine(floor.dsn, floor.redis):
            await _set(floor, "auction")
            await _set(floor, "halted", "switch")
            await _set(floor, "halted", "officer", instrument=2)

        async with running_engine(floor.dsn, floor.redis):
            opened = [await _set(floor, "open", "switch", instrument) for instrument in (1, 2)]
            refused = await _set(floor, "open", "schedule", instrument=2)

        assert [each.state for each in opened] == ["auction", "halted"]
        assert refused.code == "stopped"


async def test_the_plan_holds_no_second_auction_and_closes_what_was_halted_without_one(floor: Floor) -> None:
    seller, buyer = await floor.member(), await floor.member()
    await _set(floor, "auction")
    await _set(floor, "open", "officer")
    again = await _set(floor, "open")
    assert (again.state, again.auction) == ("open", None)

    await _set(floor, "auction")
    await floor.place(seller, "sell", 90, 5)
    await floor.place(buyer, "buy", 110, 5)
    await _set(floor, "halted", "officer")
    closed = await _set(floor, "closed")
    reopened = await _set(floor, "open", "officer")

    assert (closed.state, closed.auction, closed.ended_orders) == ("closed", None, 2)
    assert reopened.code == "market_closed"
    assert await floor.connection.fetchval("select count(*) from trade") == 0
    assert await _broken(floor) <= {"D1"}


def test_what_an_auction_would_come_to_is_told_only_while_orders_are_collected() -> None:
    instrument = an_instrument()
    assert indication(instrument) is None

    instrument.stand(Standing("auction", call_ends_us=NOON_US))
    told = indication(instrument)
    assert told is not None
    assert (told.state, told.ends_us, told.price_minor, told.volume) == ("auction", NOON_US, None, 0)

    instrument.stand(Standing("halted"))
    assert indication(instrument) is None


async def _broken(floor: Floor) -> set[str]:
    return {finding.id for finding in await verify(floor.dsn) if finding.breaches}


async def _until(floor: Floor, state: str) -> None:

    for _ in range(100):
        if (await _row(floor))["state"] == state:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"never came to be {state}")
