"""Carriers' rules in the matching: what each line has moved, and a guard of what a carrier would refuse.

Usage is counted by trades, in the carrier's day and month. A trade that is refunded later still counts: whether the
carrier has counted it is not known, and a line that may do a little less never sees a delivery refused.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import time, timedelta
from functools import lru_cache
from math import gcd
from typing import NamedTuple

from market.engine.commands import (
    Command,
    EnactRules,
    LineFacts,
    PlaceBasket,
    PlaceOrder,
    PlaceTogether,
    PrepareLegs,
)
from market.engine.instruments import Instrument
from market.engine.records import Record
from market.engine.refusing import NotTaken
from market.engine.times import EPOCH
from market.engine.traits import SIDES, TIMES_IN_FORCE
from market.rules import RuleProfile
from matching.floor import place_in_time
from matching.guard import Blame, Verdict
from matching.orders import Fill, Order, Side, TimeInForce, Traits

SHANGHAI_US = 8 * 3600 * 1_000_000
"""Carriers count their days by Shanghai's clock, which knows no summer time."""
DAY_US = 24 * 3600 * 1_000_000
BOUNDLESS = 2**62
NATIONAL = "CN"
"""The province of a line whose province is not known."""
BUY = Side.BUY

RULES_CHANGED = "rules_changed"
WORDS = {
    "resale_forbidden": "This carrier does not allow data to be sold.",
    "line_unknown": "It is not known which line this order is for. Choose the line.",
    "plan_not_eligible": "Your kind of plan can't take part in transfers.",
    "province_unknown": "This carrier transfers within a province, and that of your line is not known.",
    "off_step": "This carrier transfers whole steps only. Choose a multiple of its step.",
    "transfer_too_large": "One lot is more than this carrier transfers at once.",
    "sales_used_up": "This line has sold as often this month as its carrier allows.",
    "sales_used_up_today": "This line has sold as often today as its carrier allows.",
    "receipts_used_up": "This line has received as often this month as its carrier allows.",
    "receipts_used_up_today": "This line has received as often today as its carrier allows.",
    "receive_cap": "This line has received as much this month as its carrier allows.",
    "receive_cap_today": "This line has received as much today as its carrier allows.",
}
"""What keeps an order from ever being delivered as things stand, for its owner."""


@dataclass(slots=True)
class Tally:
    """What a line has moved in one day or month: transfers each way, and MB received."""

    sent: int = 0
    received: int = 0
    received_mb: int = 0


@dataclass(slots=True)
class Line:
    """What the engine knows of a line: what was last heard of its plan and province, and what it has moved."""

    carrier: str | None = None
    facts: LineFacts | None = None
    day: int = 0
    """Shanghai's, counted from 1970; the tallies are of this day and of its month."""
    today: Tally = field(default_factory=Tally)
    month: Tally = field(default_factory=Tally)

    def roll(self, day: int) -> None:
        """Begin anew what is over."""
        if day == self.day:
            return
        if month_of(day) != month_of(self.day):
            self.month = Tally()
        self.today = Tally()
        self.day = day

    def sent(self, transfers: int) -> None:
        self.today.sent += transfers
        self.month.sent += transfers

    def received(self, transfers: int, amount_mb: int) -> None:
        for tally in (self.today, self.month):
            tally.received += transfers
            tally.received_mb += amount_mb


class Allowance(NamedTuple):
    lots: int
    reason: str  # why no more


UNLIMITED = Allowance(BOUNDLESS, "")


class Limit(NamedTuple):
    """A cap on one of a line's counters: so many lots are left for what is left of it."""

    cap: int
    counter: str
    of_month: bool
    reason: str
    times: int
    divided: int


@dataclass(slots=True)
class Caps:
    """What one engine knows of the lines whose orders it has seen. One engine matches all instruments of a carrier."""

    now_us: int = 0
    day: int = 0
    lines: dict[int, Line] = field(default_factory=dict)
    changed: dict[int, Line] = field(default_factory=dict)
    """Lines that this batch has to write."""
    enacted: dict[int, int] = field(default_factory=dict)
    """Instrument id to the profile that this batch has brought in."""
    due: list[EnactRules] = field(default_factory=list)
    """Profiles that were found to be in force when instruments were loaded, and are not matched by yet."""

    def begin(self, now_us: int) -> None:
        """Start a batch, or one command of a replay."""
        self.now_us, self.day = now_us, day_of(now_us)
        self.changed, self.enacted = {}, {}

    def take_due(self) -> list[EnactRules]:
        """The profiles that have to be brought in, once."""
        due, self.due = self.due, []
        return due

    def hear(self, command: Command) -> None:
        """Take over what a command tells of lines, whatever becomes of it."""
        for order in placed_by(command):
            if order.line_id is not None and order.line is not None:
                line = self.line(order.line_id)
                if line.facts != order.line:
                    line.facts = order.line
                    self.changed[order.line_id] = line

    def line(self, line_id: int) -> Line:
        """A line with its tallies as of now."""
        line = self.lines.get(line_id)
        if line is None:
            line = self.lines[line_id] = Line(day=self.day)
        if line.day != self.day:
            line.roll(self.day)
        return line

    def check(self, instrument: Instrument, command: PlaceOrder) -> None:
        """Refuse an order that its carrier's rules keep from ever being delivered.

        Raises:
            NotTaken: with the code of the rule, in words for the person.
        """
        guard = instrument.book.guard
        if isinstance(guard, LineGuard):
            asked = command.conditions
            least = 1
            if TIMES_IN_FORCE[command.time_in_force] is TimeInForce.FOK or (asked is not None and asked.all_or_none):
                least = command.quantity
            elif asked is not None and asked.minimum is not None:
                least = min(asked.minimum, command.quantity)
            steps = [command.quantity]
            if asked is not None:
                steps += [lots for lots in (asked.display, asked.minimum) if lots is not None]
            reason = guard.hopeless(SIDES[command.side], command.line_id, least, steps)
            if reason is not None:
                raise NotTaken(reason, WORDS[reason])

    def check_amended(self, instrument: Instrument, quantity: int) -> None:
        """Refuse a new quantity that is no whole number of the carrier's steps. Raises NotTaken."""
        guard = instrument.book.guard
        if isinstance(guard, LineGuard) and quantity % guard.step_lots:
            raise NotTaken("off_step", WORDS["off_step"])

    def follow(self, instrument: Instrument, fills: Sequence[Fill]) -> Sequence[Fill]:
        """The trades that fills become, each once they are made: usage counts where no rules are in force yet too."""
        if instrument.carrier is None or not fills:
            return fills
        guard = instrument.book.guard
        if guard is None:
            guard = LineGuard(self, RuleProfile(), lot_mb=instrument.lot_units, expires_us=None)
            for fill in fills:
                guard.took(*_sides(fill), fill.quantity)
            return fills
        return self.parts(instrument, fills)

    def parts(self, instrument: Instrument, fills: Sequence[Fill]) -> Sequence[Fill]:
        """The fills with each that is more than one transfer moves as several; none of these is divided again."""
        guard = instrument.book.guard
        largest = guard.largest_lots if isinstance(guard, LineGuard) else None
        if largest is None or all(fill.quantity <= largest for fill in fills):
            return fills
        return [
            fill._replace(quantity=min(largest, fill.quantity - done))
            for fill in fills
            for done in range(0, fill.quantity, largest)
        ]

    def put(self, instrument: Instrument, terms: RuleProfile) -> "LineGuard":
        """Match an instrument by these rules from here on."""
        guard = LineGuard(self, terms, lot_mb=instrument.lot_units, expires_us=instrument.expires_us)
        instrument.book.guard = guard
        return guard


class LineGuard:
    """Watches one book for its carrier's rules. A line's own limits end its order; those of a pair keep two apart.

    Outside the carrier's hours nothing trades: the later of two orders that meet ends, and who waits keeps waiting.
    """

    __slots__ = (
        "_caps",
        "_expires_us",
        "_forbidden",
        "_givers",
        "_hours",
        "_lot_mb",
        "_pairs",
        "_receives",
        "_rules",
        "_sends",
        "_takers",
        "largest_lots",
        "step_lots",
    )

    def __init__(self, caps: Caps, rules: RuleProfile, *, lot_mb: int, expires_us: int | None) -> None:
        self._caps = caps
        self._rules = rules
        self._lot_mb = lot_mb
        self._expires_us = expires_us
        self._hours = None
        if rules.transfers_from is not None and rules.transfers_until is not None:
            self._hours = _of_day_us(rules.transfers_from), _of_day_us(rules.transfers_until)
        self.step_lots = rules.step_mb // gcd(rules.step_mb, self._lot_mb)
        self.largest_lots: int | None = None
        if rules.largest_transfer_mb is not None:
            self.largest_lots = rules.largest_transfer_mb // (self._lot_mb * self.step_lots) * self.step_lots
        self._forbidden = "resale_forbidden" if rules.resale != "allowed" else None
        if self._forbidden is None and self.largest_lots == 0:
            self._forbidden = "transfer_too_large"
        self._pairs = frozenset(rules.plans)
        self._givers, self._takers = (frozenset(pair[seat] for pair in rules.plans) for seat in (0, 1))
        # Where a transfer has no largest size, one moves as much as one likes.
        transfer = BOUNDLESS if self.largest_lots is None else self.largest_lots
        self._sends = _limits(
            (rules.sales_a_month, "sent", True, "sales_used_up", transfer, 1),
            (rules.sales_a_day, "sent", False, "sales_used_up_today", transfer, 1),
        )
        self._receives = _limits(
            (rules.receipts_a_month, "received", True, "receipts_used_up", transfer, 1),
            (rules.receipts_a_day, "received", False, "receipts_used_up_today", transfer, 1),
            (rules.received_a_month_mb, "received_mb", True, "receive_cap", 1, lot_mb),
            (rules.received_a_day_mb, "received_mb", False, "receive_cap_today", 1, lot_mb),
        )

    def verdict(self, sell: Order, buy: Order, lots: int) -> Verdict:
        """How many lots the carrier would move from the one line to the other now, and who is to blame for no more."""
        assert isinstance(sell, Record)
        assert isinstance(buy, Record)
        shut = self.shut()
        if shut is not None:
            later = max(sell, buy, key=place_in_time)
            return Verdict(0, Blame.BUY if later is buy else Blame.SELL, shut)
        for order, blame in ((sell, Blame.SELL), (buy, Blame.BUY)):
            reason = self._unfit(order.side, order.line_id)
            if reason is not None:
                return Verdict(0, blame, reason)
        apart = self._apart(sell, buy)
        if apart is not None:
            return Verdict(0, Blame.PAIR, apart)

        sends, receives = self._allowance(sell.side, sell.line_id), self._allowance(buy.side, buy.line_id)
        allowed = min(lots, sends.lots, receives.lots)
        if allowed == lots:
            whole = lots - lots % self.step_lots
            return Verdict(whole, Blame.NONE if whole == lots else Blame.PAIR, "" if whole == lots else "off_step")
        least, blame = min((sends, Blame.SELL), (receives, Blame.BUY), key=lambda each: each[0].lots)
        return Verdict(allowed - allowed % self.step_lots, blame, least.reason)

    def took(self, sell: Order, buy: Order, lots: int) -> None:
        """Count a match, or take it back when the lots are negative."""
        assert isinstance(sell, Record)
        assert isinstance(buy, Record)
        transfers = 1 if not self.largest_lots else -(-abs(lots) // self.largest_lots)
        if lots < 0:
            transfers = -transfers
        caps = self._caps
        if sell.line_id is not None:
            caps.line(sell.line_id).sent(transfers)
            caps.changed[sell.line_id] = caps.lines[sell.line_id]
        if buy.line_id is not None:
            caps.line(buy.line_id).received(transfers, lots * self._lot_mb)
            caps.changed[buy.line_id] = caps.lines[buy.line_id]

    def shut(self) -> str | None:
        """Why the carrier transfers nothing of this data now, if so."""
        now_us, last_days = self._caps.now_us, self._rules.last_days
        if self._hours is not None:
            begins_us, ends_us = self._hours
            at_us = (now_us + SHANGHAI_US) % DAY_US
            within = begins_us <= at_us < ends_us
            if begins_us > ends_us:
                within = at_us >= begins_us or at_us < ends_us
            if not within:
                return "outside_hours"
        if last_days is not None and self._expires_us is not None and now_us < self._expires_us - last_days * DAY_US:
            return "too_early"
        return None

    def hopeless(self, side: Side, line_id: int | None, least: int, steps: Iterable[int]) -> str | None:
        """Why an order can't be delivered as things stand, whoever it meets; None when it can.

        ``least`` is the smallest fill that it takes, in lots; ``steps`` are its
        quantities that have to be whole steps.
        """
        reason = self._unfit(side, line_id)
        if reason is None and any(lots % self.step_lots for lots in steps):
            reason = "off_step"
        if reason is None:
            allowance = self._allowance(side, line_id)
            lots = allowance.lots - allowance.lots % self.step_lots
            if lots < least:
                reason = allowance.reason
        return reason

    def doomed(self, side: Side, line_id: int | None, lots: int, traits: Traits | None) -> str | None:
        """Why an order that waits with so many lots open can't be delivered any more; None when it can."""
        return self.hopeless(side, line_id, _least(traits, lots), _steps(traits, lots))

    def _unfit(self, side: Side, line_id: int | None) -> str | None:
        """Why a line can't take part at all."""
        if self._forbidden is not None:
            return self._forbidden
        facts = self._facts(line_id)
        if facts is None:
            return "line_unknown"
        if facts.plan not in (self._takers if side is BUY else self._givers):
            return "plan_not_eligible"
        return "province_unknown" if self._rules.same_province and facts.province == NATIONAL else None

    def _apart(self, sell: Record, buy: Record) -> str | None:
        """Why two lines that may both take part can't transfer to each other."""
        giver, taker = self._facts(sell.line_id), self._facts(buy.line_id)
        assert giver is not None
        assert taker is not None
        if (giver.plan, taker.plan) not in self._pairs:
            return "plans_do_not_match"
        if self._rules.same_province and giver.province != taker.province:
            return "other_province"
        return None

    def _facts(self, line_id: int | None) -> LineFacts | None:
        line = None if line_id is None else self._caps.lines.get(line_id)
        return None if line is None else line.facts

    def _allowance(self, side: Side, line_id: int | None) -> Allowance:
        """The lots that a line may still give, or get, and the limit that comes first."""
        assert line_id is not None
        line = self._caps.line(line_id)
        found = UNLIMITED
        for limit in self._receives if side is BUY else self._sends:
            left = limit.cap - getattr(line.month if limit.of_month else line.today, limit.counter)
            lots = left * limit.times // limit.divided if left > 0 else 0
            if lots < found.lots:
                found = Allowance(lots, limit.reason)
        return found


def enact(caps: Caps, command: EnactRules, instrument: Instrument) -> list[Record]:
    """Match by a profile from here on; gives the open orders that can't be delivered under it, the earliest first.

    Raises:
        NotTaken: the instrument settles in our own ledger, where no carrier's rules apply.
    """
    if instrument.carrier is None:
        raise NotTaken("no_carrier", "No carrier's rules apply to this market.")
    guard = caps.put(instrument, command.terms)
    caps.enacted[instrument.id] = command.profile_id
    waiting = [order for order in instrument.book.all_orders() if isinstance(order, Record)]
    doomed = [
        record
        for record in waiting
        if guard.doomed(record.side, record.line_id, record.open, record.traits) is not None
    ]
    return sorted(doomed, key=place_in_time)


def placed_by(command: Command) -> Sequence[PlaceOrder]:
    """The orders that a command asks for."""
    match command:
        case PlaceOrder():
            return (command,)
        case PlaceTogether():
            return command.orders
        case PlaceBasket() | PrepareLegs():
            return command.legs
        case _:
            return ()


def day_of(at_us: int) -> int:
    """Shanghai's day at a moment, counted from 1970."""
    return (at_us + SHANGHAI_US) // DAY_US


@lru_cache(maxsize=64)
def month_of(day: int) -> int:
    """A number for the month of Shanghai's day."""
    date = (EPOCH + timedelta(days=day)).date()
    return date.year * 12 + date.month


def _sides(fill: Fill) -> tuple[Order, Order]:
    """The seller and the buyer."""
    return (fill.maker, fill.taker) if fill.taker.side is BUY else (fill.taker, fill.maker)


def _least(traits: Traits | None, lots: int) -> int:
    """The smallest fill that an order with so many lots open takes."""
    if traits is None:
        return 1
    if traits.all_or_none:
        return lots
    return 1 if traits.minimum is None else min(traits.minimum, lots)


def _steps(traits: Traits | None, lots: int) -> list[int]:
    if traits is None:
        return [lots]
    return [lots, *(each for each in (traits.display, traits.minimum) if each is not None)]


def _limits(*all_of_them: tuple[int | None, str, bool, str, int, int]) -> tuple[Limit, ...]:
    """Those that are set."""
    return tuple(Limit(each[0], *each[1:]) for each in all_of_them if each[0] is not None)


def _of_day_us(at: time) -> int:
    return ((at.hour * 60 + at.minute) * 60 + at.second) * 1_000_000 + at.microsecond
