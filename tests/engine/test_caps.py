"""Carriers' rules in the matching: nothing trades that a carrier would refuse, and nobody else loses a place for it."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.engine.caps import DAY_US, LineGuard, day_of, month_of
from market.engine.commands import AmendOrder, Answer, Conditions, EnactRules, LineFacts, PlaceOrder, PlaceTogether
from market.engine.desk import Desk
from market.engine.instruments import Instrument
from market.engine.records import Trade
from market.engine.times import microseconds
from market.rules import RuleProfile
from matching.book import Book
from matching.rules import Terms
from settlement.ledger import Account

NOON = microseconds(datetime(2026, 11, 27, 4, tzinfo=UTC))
"""Noon in Shanghai."""
EXPIRES = microseconds(datetime(2026, 12, 31, 16, tzinfo=UTC))
PREPAID = LineFacts("prepaid", "GD")
POSTPAID = LineFacts("postpaid", "SH")
UNLIMITED = RuleProfile(sales_a_month=None, received_a_month_mb=None)


def rules(**limits: Any) -> RuleProfile:
    """A profile that sets these limits and no others."""
    return RuleProfile(**({"sales_a_month": None, "received_a_month_mb": None} | limits))


@dataclass
class Hall:
    """Two instruments of one carrier on a desk, without a database. A line's number is its party's."""

    desk: Desk = field(default_factory=lambda: Desk(0))
    now_us: int = NOON
    trades: list[Trade] = field(default_factory=list)
    keys: Any = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        for number in (1, 2):
            terms = Terms(1, 2, 1_000, 100_000, 0, 10**16)
            book = Book(tick=1, reference=100, lowest=2, highest=1_000)
            self.desk.instruments[number] = Instrument(
                number, f"CMCC-CN-{number}", 2, 1, "CMCC", 100, 500, 1, terms, book, expires_us=EXPIRES
            )

    def ask(self, command: Any) -> Answer:
        wanted = self.desk.begin([command], self.now_us)
        self.desk.accounts = {each: Account(each, each // 2, 1 + each % 2, 10**12, 10**12) for each in wanted}
        _, answer = self.desk.apply(command)
        self.desk.end([command])
        self.trades += self.desk.changes.trades
        return answer

    def enact(self, profile: RuleProfile, instrument: int = 1) -> Answer:
        number = next(self.keys)
        return self.ask(EnactRules(1, f"rules-{number}", b"", instrument, number, profile))

    def order(self, line: int, side: Any, price: int, lots: int, **more: Any) -> PlaceOrder:
        conditions = {name: more.pop(name) for name in ("all_or_none", "minimum", "display") if name in more}
        party = more.pop("party", line)
        defaults: dict[str, Any] = {
            "instrument_id": 1,
            "group_id": party,
            "account_id": party * 2 if side == "buy" else party * 2 + 1,
            "proceeds_account_id": party * 2,
            "line_id": line,
            "custody_id": line if side == "sell" else None,
            "line": more.pop("facts", PREPAID),
            "conditions": Conditions(**conditions) if conditions else None,
        }
        return PlaceOrder(
            party_id=party, key=f"k{next(self.keys)}", body_hash=b"", side=side, price_minor=price, quantity=lots,
            **(defaults | more),
        )  # fmt: skip

    def place(self, line: int, side: Any, price: int, lots: int, **more: Any) -> Answer:
        return self.ask(self.order(line, side, price, lots, **more))

    def traded(self) -> list[tuple[int, int, int]]:
        """(seller's line, buyer's line, lots) of each trade."""
        return [(trade.sell.party_id, trade.buy.party_id, trade.quantity) for trade in self.trades]

    def waits(self, answer: Answer) -> bool:
        return answer.order_id in self.desk.records

    def ended(self) -> dict[int, str | None]:
        """The party of each order that the last command ended unfilled, and why."""
        changed = [*self.desk.changes.changed.values(), *self.desk.changes.placed.values()]
        return {record.party_id: record.reason for record in changed if record.state == "cancelled"}


def a_hall(**limits: Any) -> Hall:
    hall = Hall()
    hall.enact(rules(**limits))
    return hall


# What lines may send and receive


def test_a_seller_whose_sends_are_used_up_is_passed_and_its_order_ends_with_the_reason() -> None:
    hall = a_hall(sales_a_month=1)
    used, other = hall.place(1, "sell", 90, 5), hall.place(2, "sell", 95, 5)
    hall.place(3, "buy", 90, 2)

    answer = hall.place(4, "buy", 95, 4)

    assert hall.traded() == [(1, 3, 2), (2, 4, 4)]
    assert hall.ended() == {1: "sales_used_up"}
    assert (answer.state, hall.waits(used), hall.waits(other)) == ("filled", False, True)


def test_a_buyer_gets_as_much_as_its_line_may_receive_and_the_rest_ends_with_the_reason() -> None:
    hall = a_hall(received_a_month_mb=700)
    seller = hall.place(1, "sell", 90, 20)

    answer = hall.place(2, "buy", 95, 10)

    assert (answer.filled, answer.state, answer.reason) == (7, "cancelled", "receive_cap")
    assert hall.waits(seller)
    assert hall.place(2, "buy", 95, 1).code == "receive_cap"


def test_a_fill_or_kill_order_that_the_rules_would_trim_takes_nothing_and_uses_nothing_up() -> None:
    hall = a_hall(receipts_a_month=2)
    for seller in (1, 2, 3):
        hall.place(seller, "sell", 90, 5)

    killed = hall.place(4, "buy", 95, 15, time_in_force="fok")

    assert (killed.filled, killed.reason) == (0, "fok_unfilled")
    assert hall.desk.caps.lines[4].month.received == 0
    assert hall.place(4, "buy", 95, 10).state == "filled"


def test_usage_is_of_a_line_in_all_instruments_of_its_carrier() -> None:
    hall = a_hall(sales_a_month=1)
    hall.enact(rules(sales_a_month=1), instrument=2)
    hall.place(1, "sell", 90, 5)
    hall.place(2, "buy", 90, 5)

    refused = hall.place(1, "sell", 90, 5, instrument_id=2)

    assert refused.code == "sales_used_up"
    assert hall.place(3, "sell", 90, 5, instrument_id=2).accepted


def test_what_was_traded_before_there_were_rules_counts_too() -> None:
    hall = Hall()
    hall.place(1, "sell", 90, 5)
    hall.place(2, "buy", 90, 5)

    hall.enact(rules(sales_a_month=1))

    assert hall.place(1, "sell", 90, 5).code == "sales_used_up"


def test_a_new_day_and_a_new_month_begin_by_shanghais_clock() -> None:
    hall = a_hall(sales_a_day=1, sales_a_month=2)

    def sell(at: datetime) -> str | None:
        hall.now_us = microseconds(at)
        hall.place(9, "buy", 90, 1)
        return hall.place(1, "sell", 90, 1, time_in_force="ioc").code

    assert sell(datetime(2026, 11, 29, 15, 58, tzinfo=UTC)) is None
    assert sell(datetime(2026, 11, 29, 15, 59, tzinfo=UTC)) == "sales_used_up_today"
    assert sell(datetime(2026, 11, 29, 16, 0, tzinfo=UTC)) is None
    assert sell(datetime(2026, 11, 30, 15, 59, tzinfo=UTC)) == "sales_used_up"
    assert sell(datetime(2026, 11, 30, 16, 0, tzinfo=UTC)) is None


# The size of a transfer


def test_more_than_the_largest_transfer_becomes_several_trades() -> None:
    hall = a_hall(largest_transfer_mb=1_000, sales_a_month=4)
    hall.place(1, "sell", 90, 25)

    answer = hall.place(2, "buy", 90, 25)

    assert [fill.quantity for fill in answer.fills] == [10, 10, 5]
    assert hall.traded() == [(1, 2, 10), (1, 2, 10), (1, 2, 5)]
    assert hall.desk.caps.lines[1].month.sent == hall.desk.caps.lines[2].month.received == 3


def test_with_too_few_sends_for_all_transfers_the_trade_is_trimmed() -> None:
    hall = a_hall(largest_transfer_mb=1_000, sales_a_month=2)
    hall.place(1, "sell", 90, 25)

    answer = hall.place(2, "buy", 90, 25)

    assert hall.traded() == [(1, 2, 10), (1, 2, 10)]
    assert hall.ended() == {1: "sales_used_up"}
    assert hall.waits(answer)


@pytest.mark.parametrize(
    ("limits", "order", "code"),
    [
        ({"resale": "gift_only"}, {}, "resale_forbidden"),
        ({"plans": (("postpaid", "prepaid"),)}, {}, "plan_not_eligible"),
        ({"same_province": True}, {"facts": LineFacts("prepaid", "CN")}, "province_unknown"),
        ({}, {"facts": None}, "line_unknown"),
        ({"step_mb": 300}, {"lots": 4}, "off_step"),
        ({"step_mb": 300}, {"lots": 6, "display": 2}, "off_step"),
        ({"largest_transfer_mb": 50}, {}, "transfer_too_large"),
        ({"largest_transfer_mb": 200, "sales_a_month": 2}, {"lots": 5, "all_or_none": True}, "sales_used_up"),
        ({"largest_transfer_mb": 200, "sales_a_month": 2}, {"lots": 5, "time_in_force": "fok"}, "sales_used_up"),
        ({"sales_a_day": 0}, {}, "sales_used_up_today"),
    ],
)
def test_what_can_never_be_delivered_is_refused_in_words(limits: Any, order: Any, code: str) -> None:
    hall = a_hall(**limits)

    answer = hall.place(1, "sell", 90, **({"lots": 3} | order))

    assert (answer.accepted, answer.code) == (False, code)
    assert answer.detail is not None
    assert answer.detail.endswith(".")
    assert not hall.desk.records


def test_an_order_is_amended_by_whole_steps_only() -> None:
    hall = a_hall(step_mb=300)
    order = hall.place(1, "buy", 90, 6)
    assert order.order_id is not None

    assert hall.ask(AmendOrder(1, "a1", b"", 1, order.order_id, 90, 4)).code == "off_step"
    assert hall.ask(AmendOrder(1, "a2", b"", 1, order.order_id, 90, 3)).accepted


def test_all_of_several_orders_are_refused_when_the_rules_stand_against_one() -> None:
    hall = a_hall(sales_a_month=0)

    orders = (hall.order(1, "buy", 90, 5), hall.order(1, "sell", 95, 5))
    answer = hall.ask(PlaceTogether(1, "both", b"", 1, orders))

    assert answer.code == "sales_used_up"
    assert not hall.desk.records


# Who may trade with whom


def test_a_pair_of_plans_that_the_carrier_keeps_apart_is_passed_over_and_the_place_is_kept() -> None:
    hall = a_hall(plans=(("prepaid", "prepaid"), ("postpaid", "postpaid")))
    passed = hall.place(1, "sell", 90, 5, facts=POSTPAID)
    hall.place(2, "sell", 90, 5)

    hall.place(3, "buy", 90, 3)

    assert hall.traded() == [(2, 3, 3)]
    assert hall.waits(passed)
    assert [event[4] for event in hall.desk.changes.surveillance] == ["3 lots not matched: plans_do_not_match"]
    hall.place(4, "buy", 90, 3, facts=POSTPAID)
    assert hall.traded()[-1] == (1, 4, 3)


def test_the_rest_of_an_order_that_could_only_cross_one_kept_from_it_ends() -> None:
    hall = a_hall(same_province=True)
    hall.place(1, "sell", 90, 5, facts=POSTPAID)

    answer = hall.place(2, "buy", 90, 5)

    assert (answer.state, answer.reason) == ("cancelled", "other_province")


# When the carrier transfers


def test_outside_the_carriers_hours_the_later_order_ends_and_who_waits_keeps_waiting() -> None:
    hall = a_hall(transfers_from=time(8), transfers_until=time(12))
    waiting = hall.place(1, "sell", 90, 5)

    late = hall.place(2, "buy", 90, 5)
    hall.now_us += DAY_US - 1

    assert (late.state, late.reason, hall.waits(waiting)) == ("cancelled", "outside_hours", True)
    assert hall.place(3, "buy", 90, 5).state == "filled"


def test_hours_may_go_over_midnight() -> None:
    guard = LineGuard(
        Hall().desk.caps, rules(transfers_from=time(22), transfers_until=time(6, 30)), lot_mb=100, expires_us=None
    )
    midnight = NOON - 12 * 3_600_000_000

    def is_shut(at_us: int) -> bool:
        guard._caps.begin(at_us)
        return guard.shut() is not None

    hours = {"21:59": 1319, "22:00": 1320, "00:00": 0, "06:29": 389, "06:30": 390, "12:00": 720}
    shut = {name for name, minutes in hours.items() if is_shut(midnight + minutes * 60_000_000)}
    assert shut == {"21:59", "06:30", "12:00"}


def test_data_that_moves_only_in_its_last_days_does_not_trade_before() -> None:
    hall = a_hall(last_days=3)
    waiting = hall.place(1, "sell", 90, 5)
    early = hall.place(2, "buy", 90, 5)
    hall.now_us = EXPIRES - 3 * DAY_US

    assert (early.reason, hall.waits(waiting)) == ("too_early", True)
    assert hall.place(3, "buy", 90, 5).state == "filled"


# New rules


def test_new_rules_end_what_they_keep_from_delivery_and_nothing_else() -> None:
    hall = a_hall()
    lost, kept = hall.place(1, "sell", 95, 5, facts=POSTPAID), hall.place(2, "sell", 95, 5)
    too_large = hall.place(3, "buy", 90, 8, all_or_none=True)

    answer = hall.enact(rules(plans=(("prepaid", "prepaid"),), largest_transfer_mb=500, receipts_a_month=1))

    assert answer.ended_orders == 2
    assert hall.ended() == {1: "rules_changed", 3: "rules_changed"}
    assert hall.desk.changes.holds == {3: -500, 6: -720}
    assert (hall.waits(lost), hall.waits(kept), hall.waits(too_large)) == (False, True, False)


def test_an_order_of_a_line_that_nobody_has_told_of_ends_when_rules_come_in() -> None:
    hall = Hall()
    hall.place(1, "sell", 95, 5, facts=None)

    assert hall.enact(rules()).ended_orders == 1


def test_coins_know_no_carriers_rules() -> None:
    hall = Hall()
    hall.desk.instruments[1].carrier = None

    assert hall.enact(rules()).code == "no_carrier"


# Against a slow and obvious market


@dataclass
class SlowOrder:
    line: int
    side: str
    price: int
    open: int
    facts: LineFacts


@dataclass
class SlowMarket:
    """Price, then time, and everything counted anew from all trades for each meeting."""

    profile: RuleProfile
    book: list[SlowOrder] = field(default_factory=list)
    trades: list[tuple[int, int, int, int]] = field(default_factory=list)
    """(Shanghai's day, seller's line, buyer's line, lots)"""
    ended: list[tuple[int, str]] = field(default_factory=list)

    def place(self, taker: SlowOrder, day: int) -> str:
        """The code of a refusal, or "taken"."""
        pairs, seat = self.profile.plans, 1 if taker.side == "buy" else 0
        if not any(pair[seat] == taker.facts.plan for pair in pairs):
            return "plan_not_eligible"
        left, reason = self.allowed(taker, day)
        if left < 1:
            return reason
        against = [order for order in self.book if order.side != taker.side]
        against.sort(key=lambda order: order.price if taker.side == "buy" else -order.price)
        passed = None
        for maker in against:
            reaches = maker.price <= taker.price if taker.side == "buy" else maker.price >= taker.price
            if not reaches or not taker.open:
                break
            sell, buy = (maker, taker) if taker.side == "buy" else (taker, maker)
            if (sell.facts.plan, buy.facts.plan) not in pairs:
                passed = passed or "plans_do_not_match"
                continue
            wanted = min(taker.open, maker.open)
            sends, receives = self.allowed(sell, day), self.allowed(buy, day)
            lots = min(wanted, sends[0], receives[0])
            self.trade(sell, buy, lots, day)
            if lots < wanted:
                blamed, why = (sell, sends[1]) if sends[0] <= receives[0] else (buy, receives[1])
                self.ended.append((blamed.line, why))
                blamed.open = 0
        if taker.open and passed:
            self.ended.append((taker.line, passed))
            taker.open = 0
        self.book = [order for order in [*self.book, taker] if order.open]
        return "taken"

    def trade(self, sell: SlowOrder, buy: SlowOrder, lots: int, day: int) -> None:
        sell.open -= lots
        buy.open -= lots
        largest = (self.profile.largest_transfer_mb or 10**9) // 100
        while lots:
            self.trades.append((day, sell.line, buy.line, min(lots, largest)))
            lots -= min(lots, largest)

    def allowed(self, order: SlowOrder, day: int) -> tuple[int, str]:
        own = [each for each in self.trades if each[1 if order.side == "sell" else 2] == order.line]
        today = [each for each in own if each[0] == day]
        month = [each for each in own if month_of(each[0]) == month_of(day)]
        profile, largest = self.profile, (self.profile.largest_transfer_mb or 10**9) // 100
        limits = (
            [(profile.sales_a_month, len(month), largest, "sales_used_up"),
             (profile.sales_a_day, len(today), largest, "sales_used_up_today")]
            if order.side == "sell" else
            [(profile.receipts_a_month, len(month), largest, "receipts_used_up"),
             (profile.receipts_a_day, len(today), largest, "receipts_used_up_today"),
             (_lots(profile.received_a_month_mb), sum(each[3] for each in month), 1, "receive_cap"),
             (_lots(profile.received_a_day_mb), sum(each[3] for each in today), 1, "receive_cap_today")]
        )  # fmt: skip
        return min(
            ((10**9 if cap is None else max(cap - used, 0) * each, why) for cap, used, each, why in limits),
            key=lambda limit: limit[0],
        )


def _lots(amount_mb: int | None) -> int | None:
    return None if amount_mb is None else amount_mb // 100


caps = st.one_of(st.none(), st.integers(0, 3))
volumes = st.one_of(st.none(), st.integers(0, 12).map(lambda lots: lots * 100))
profiles = st.builds(
    RuleProfile,
    sales_a_day=caps,
    sales_a_month=caps,
    receipts_a_day=caps,
    receipts_a_month=caps,
    received_a_day_mb=volumes,
    received_a_month_mb=volumes,
    largest_transfer_mb=st.sampled_from([None, 200, 500]),
    plans=st.sampled_from([
        RuleProfile().plans,
        (("prepaid", "prepaid"), ("postpaid", "postpaid")),
        (("prepaid", "prepaid"), ("prepaid", "postpaid")),
    ]),
)  # fmt: skip
orders = st.tuples(
    st.integers(1, 6), st.sampled_from(["buy", "sell"]), st.integers(95, 99), st.integers(1, 9), st.integers(0, 3)
)


@settings(max_examples=400, deadline=None)
@given(profile=profiles, asked=st.lists(orders, min_size=5, max_size=40))
def test_the_desk_agrees_with_a_slow_market_that_counts_every_trade_anew(
    profile: RuleProfile, asked: list[tuple[int, str, int, int, int]]
) -> None:
    hall, slow = Hall(), SlowMarket(profile)
    hall.enact(profile)
    hall.now_us = microseconds(datetime(2026, 11, 28, 4, tzinfo=UTC))
    for number, (line, side, price, lots, days) in enumerate(asked):
        hall.now_us += DAY_US if days == 3 and number % 4 == 0 else 1
        # Everybody is a party of its own, so that no self-trade prevention hides what the rules do.
        facts = POSTPAID if line > 4 else PREPAID
        answer = hall.place(line, side, price, lots, facts=facts, party=100 + number)
        day = day_of(hall.now_us)
        before = len(slow.ended)
        said = slow.place(SlowOrder(line, side, price, lots, facts), day)

        assert (answer.code or "taken") == said
        changed = [*hall.desk.changes.changed.values(), *hall.desk.changes.placed.values()]
        ended = sorted((record.line_id, record.reason) for record in changed if record.state == "cancelled")
        assert ended == sorted(slow.ended[before:])

    traded = [(trade.sell.line_id, trade.buy.line_id, trade.quantity) for trade in hall.trades]
    assert traded == [trade[1:] for trade in slow.trades]
    resting = [(record.line_id, record.price, record.open) for record in hall.desk.records.values()]
    assert sorted(resting) == sorted((order.line, order.price, order.open) for order in slow.book)
    _assert_no_cap_is_broken(profile, slow.trades)


def _assert_no_cap_is_broken(profile: RuleProfile, trades: list[tuple[int, int, int, int]]) -> None:
    sent: dict[Any, int] = defaultdict(int)
    received: dict[Any, int] = defaultdict(int)
    amount_mb: dict[Any, int] = defaultdict(int)
    for day, seller, buyer, lots in trades:
        assert profile.largest_transfer_mb is None or lots * 100 <= profile.largest_transfer_mb
        for period in (("day", day), ("month", month_of(day))):
            sent[seller, period] += 1
            received[buyer, period] += 1
            amount_mb[buyer, period] += lots * 100
    for counted, caps_of in (
        (sent, {"day": profile.sales_a_day, "month": profile.sales_a_month}),
        (received, {"day": profile.receipts_a_day, "month": profile.receipts_a_month}),
        (amount_mb, {"day": profile.received_a_day_mb, "month": profile.received_a_month_mb}),
    ):
        for (_, (period, _)), used in counted.items():
            cap = caps_of[period]
            assert cap is None or used <= cap


@settings(max_examples=200, deadline=None)
@given(asked=st.lists(orders, min_size=5, max_size=40))
def test_lines_without_limits_trade_as_if_those_passed_over_had_never_come(
    asked: list[tuple[int, str, int, int, int]],
) -> None:
    """Postpaid lines may only trade with each other: to the prepaid ones it is as if their offers were not there."""
    apart = rules(plans=(("prepaid", "prepaid"), ("postpaid", "postpaid")))
    together, alone = a_hall(plans=apart.plans), a_hall(plans=apart.plans)
    for number, (line, side, price, lots, _) in enumerate(asked):
        party = 100 + number
        for hall in (together, alone):
            hall.now_us += 1
            if line <= 4:
                hall.place(line, side, price, lots, time_in_force="ioc" if side == "buy" else "gtc", party=party)
            elif hall is together and side == "sell":
                hall.place(line, side, price, lots, facts=POSTPAID, party=party)

    prepaid = [trade for trade in together.trades if trade.sell.line_id is not None and trade.sell.line_id <= 4]
    fills = [[(t.sell.party_id, t.buy.party_id, t.quantity) for t in trades] for trades in (prepaid, alone.trades)]
    assert fills[0] == fills[1]
