"""The community tank: no megabyte is taken twice, none is made or lost, and a line takes its share at most."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule
from sqlalchemy import update

from market import charities, giving, tank, tank_rounds
from market.giving import Party
from market.refusals import BadInput, KeyReused, NotAllowed, OutcomeUnknown, Refusal, TooMany
from market.rules import RuleProfile
from market.tank import Withdrawal, check_withdrawal
from market.venue import Venue
from settlement.ledger import Account, InsufficientFunds, Kind, Ledger, Posting
from settlement.tables import CustodyRow
from tests.faults.waiting import until
from tests.market.giving import SYMBOL, Somebody, assert_sound, comes_to, late_in_the_month, settling, somebody, told
from tests.market.town import Town, a_key

LATE = late_in_the_month()


@pytest.fixture(autouse=True)
async def _empty(town: Town) -> None:
    """A tank without anything that other tests left in it."""
    async with settling(town):

        async def is_quiet() -> bool:
            return not await town.rows("select id from data_gift where status = 'requested' and purpose = 'tank'")

        await until(is_quiet)
        for row in await town.rows("select custody_id from tank_deposit where ended_at is null"):
            assert await tank_rounds.end(town.venue, row.custody_id, datetime.now(UTC))


async def deposit(town: Town, giver: Somebody, amount_mb: int) -> int:
    return await tank.deposit(town.venue, giver.member, SYMBOL, amount_mb, line_id=giver.line_id, key=a_key())


async def take(town: Town, taker: Somebody, amount_mb: int, *, key: str = "", now: datetime = LATE) -> Withdrawal:
    return await tank.withdraw(
        town.venue, taker.member, SYMBOL, amount_mb, line_id=taker.line_id, key=key or a_key(), now=now
    )


async def left_in(town: Town) -> tuple[int, int]:
    """MB that nobody has asked for, and MB on their way."""
    query = """select coalesce(sum(available), 0)::bigint as free, coalesce(sum(held), 0)::bigint as held
        from account join asset on asset.id = asset_id where account.kind = 'tank' and asset.code = :code"""
    (row,) = await town.rows(query, code=SYMBOL)
    return row.free, row.held


async def test_what_one_gives_another_takes(town: Town) -> None:
    giver, taker = await somebody(town), await somebody(town, remaining_mb=0)
    await deposit(town, giver, 1_000)
    await comes_to(town, giver.number, (19_000, 1_000, 0))

    await take(town, taker, 700)
    assert await left_in(town) == (300, 700)
    async with settling(town):
        await comes_to(town, taker.number, (0, 0, 700))

    await comes_to(town, giver.number, (19_000, 300, 0))
    assert await left_in(town) == (300, 0)
    assert "received_from_tank" in await told(town, taker.member)
    await assert_sound(town)


async def test_the_oldest_deposits_are_taken_first(town: Town) -> None:
    givers = [await somebody(town) for _ in range(3)]
    for giver in givers:
        await deposit(town, giver, 400)
    taker = await somebody(town, remaining_mb=0)

    await take(town, taker, 600)

    rows = await town.rows("select giver_id, amount_mb from data_gift where receiver_line_id = :id order by id",
                           id=taker.line_id)  # fmt: skip
    assert [tuple(row) for row in rows] == [(givers[0].member.party_id, 400), (givers[1].member.party_id, 200)]


async def test_twenty_takers_at_once_never_get_the_same_megabyte(town: Town) -> None:
    for _ in range(2):
        await deposit(town, await somebody(town), 600)
    takers = [await somebody(town, remaining_mb=0) for _ in range(20)]

    answers = await asyncio.gather(*(take(town, taker, 300) for taker in takers), return_exceptions=True)

    assert sum(isinstance(answer, Withdrawal) for answer in answers) == 4
    assert {answer.code for answer in answers if isinstance(answer, Refusal)} == {"tank_low"}
    assert await left_in(town) == (0, 1_200)
    async with settling(town):
        for taker, answer in zip(takers, answers, strict=True):
            await comes_to(town, taker.number, (0, 0, 300 if isinstance(answer, Withdrawal) else 0))
    await assert_sound(town)


async def test_a_line_takes_its_months_share_at_most_however_it_asks(town: Town) -> None:
    await deposit(town, await somebody(town), 5_000)
    taker = await somebody(town, remaining_mb=0)

    answers = await asyncio.gather(*(take(town, taker, 400) for _ in range(5)), return_exceptions=True)

    assert sum(isinstance(answer, Withdrawal) for answer in answers) == 2
    assert {type(answer) for answer in answers} == {Withdrawal, TooMany}
    await take(town, taker, 200)
    with pytest.raises(TooMany):
        await take(town, taker, 100)


async def test_one_key_gives_once_and_takes_once(town: Town) -> None:
    giver, taker, key = await somebody(town), await somebody(town, remaining_mb=0), a_key()

    async def give() -> int:
        return await tank.deposit(town.venue, giver.member, SYMBOL, 500, line_id=giver.line_id, key=key)

    at_once = await asyncio.gather(*(give() for _ in range(5)), return_exceptions=True)
    given = [answer for answer in at_once if not isinstance(answer, OutcomeUnknown)] + [await give()]
    taken = await asyncio.gather(*(take(town, taker, 200, key=key) for _ in range(5)))

    assert len(set(given)) == len(set(taken)) == 1
    assert await left_in(town) == (300, 200)
    with pytest.raises(KeyReused):
        await take(town, taker, 300, key=key)


async def test_before_its_day_the_tank_is_closed(town: Town) -> None:
    await deposit(town, await somebody(town), 500)
    taker = await somebody(town, remaining_mb=0)

    with pytest.raises(NotAllowed) as caught:
        await take(town, taker, 100, now=LATE - timedelta(days=10))

    assert caught.value.code == "tank_not_yet"


async def test_what_nobody_took_goes_back_when_its_date_has_passed(town: Town) -> None:
    giver, taker = await somebody(town), await somebody(town, remaining_mb=0)
    made = await deposit(town, giver, 500)
    await take(town, taker, 200)
    custody = await town.value("select custody_id from tank_deposit where id = :id", id=made)
    async with town.venue.sessions.begin() as session:
        past = datetime.now(UTC) - timedelta(seconds=1)
        await session.execute(update(CustodyRow).where(CustodyRow.id == custody).values(expires_at=past))

    assert await tank_rounds.look(town.venue, datetime.now(UTC)) == 0  # 200 MB are on their way
    async with settling(town):
        await comes_to(town, taker.number, (0, 0, 200))

        async def goes_back() -> bool:  # once our books know of the 200 MB what the carrier's do
            return await tank_rounds.look(town.venue, datetime.now(UTC)) == 1

        await until(goes_back)
        await comes_to(town, giver.number, (19_800, 0, 0))

    assert await left_in(town) == (0, 0)
    assert "tank_left" in await told(town, giver.member)
    await assert_sound(town)


async def test_a_deposit_that_the_carrier_gave_up_ends_and_the_taker_hears_of_it(town: Town) -> None:
    giver, taker = await somebody(town), await somebody(town, remaining_mb=0)
    made = await deposit(town, giver, 500)
    reservation = await town.value(
        "select reservation_id from custody join tank_deposit on custody_id = custody.id where tank_deposit.id = :id",
        id=made,
    )
    await town.venue.carriers["CMCC"].release(reservation)

    await take(town, taker, 300)
    async with settling(town):

        async def is_refused() -> bool:
            return "tank_refused" in await told(town, taker.member)

        await until(is_refused)
        assert await left_in(town) == (500, 0)
        assert await tank_rounds.look(town.venue, datetime.now(UTC)) == 1

    assert await left_in(town) == (0, 0)
    await assert_sound(town)


async def test_a_refused_withdrawal_does_not_count(town: Town) -> None:
    await deposit(town, await somebody(town), 2_000)
    taker = await somebody(town, remaining_mb=0, number=(await town.line())[:-4] + "9001")
    await take(town, taker, 1_000)

    async with settling(town):

        async def is_refused() -> bool:
            return "tank_refused" in await told(town, taker.member)

        await until(is_refused)

    assert await left_in(town) == (2_000, 0)
    await take(town, taker, 1_000)


async def test_the_share_and_the_day_are_settings(town: Town) -> None:
    venue: Venue = replace(town.venue, settings=replace(town.venue.settings, tank_monthly_mb=100, tank_from_day=1))
    await deposit(town, await somebody(town), 500)
    taker = await somebody(town, remaining_mb=0)
    asked = {"line_id": taker.line_id, "now": LATE - timedelta(days=20)}

    await tank.withdraw(venue, taker.member, SYMBOL, 100, key=a_key(), **asked)  # type: ignore[arg-type]
    with pytest.raises(TooMany):
        await tank.withdraw(venue, taker.member, SYMBOL, 100, key=a_key(), **asked)  # type: ignore[arg-type]


async def test_coins_are_no_data(town: Town) -> None:
    giver = await somebody(town)

    with pytest.raises(BadInput):
        await tank.deposit(town.venue, giver.member, "COIN", 100, line_id=None, key=a_key())


async def test_a_donation_moves_to_the_charity_at_once(town: Town) -> None:
    giver, line, key = await somebody(town), await town.line(remaining_mb=0), a_key()
    await charities.appoint(town.venue, "CMCC", "Data for schools", line)

    given = [
        await charities.donate(town.venue, giver.member, SYMBOL, 300, line_id=giver.line_id, key=key) for _ in range(2)
    ]

    assert len(set(given)) == 1
    async with settling(town):
        await comes_to(town, line, (0, 0, 300))
        await comes_to(town, giver.number, (19_700, 0, 0))
    await assert_sound(town)


# The rules, and the arithmetic, without anything around them.


@given(st.integers(1, 28), st.integers(0, 3_000), st.integers(1, 3_000))
def test_a_withdrawal_stays_within_its_month(day: int, taken_mb: int, amount_mb: int) -> None:
    now = datetime(2026, 11, day, 4, tzinfo=UTC)
    try:
        check_withdrawal(amount_mb, taken_mb, now, monthly_mb=1_000, from_day=21)
    except NotAllowed:
        assert day < 21
    except TooMany:
        assert taken_mb + amount_mb > 1_000
    else:
        assert day >= 21
        assert taken_mb + amount_mb <= 1_000


@given(
    st.integers(1, 50).map(lambda steps: steps * 100), st.none() | st.integers(100, 2_000), st.sampled_from([1, 100])
)
def test_an_amount_is_moved_by_parts_of_whole_steps_that_sum_to_it(
    amount_mb: int, largest_mb: int | None, step_mb: int
) -> None:
    rules = RuleProfile(largest_transfer_mb=largest_mb, step_mb=step_mb)

    parts = giving.parts(rules, amount_mb)

    assert sum(parts) == amount_mb
    assert all(0 < part <= (largest_mb or amount_mb) and part % step_mb == 0 for part in parts)


def test_the_obstacle_of_a_gift_is_named() -> None:
    now, end = datetime(2026, 11, 10, 4, tzinfo=UTC), datetime(2026, 11, 30, 16, tzinfo=UTC)
    giver, taker = (Party(number, number, "CMCC", "prepaid", "GD") for number in (1, 2))

    def met(rules: RuleProfile, receiver: Party = taker, amount_mb: int = 500) -> str | None:
        return giving.obstacle(rules, giver, receiver, amount_mb, expires_at=end, now=now)

    assert met(RuleProfile()) is None
    assert met(RuleProfile(resale="gift_only")) is None
    assert met(RuleProfile(resale="forbidden")) == "gifts_forbidden"
    assert met(RuleProfile(), replace(taker, carrier="CTCC")) == "other_carrier"
    assert met(RuleProfile(plans=(("prepaid", "postpaid"),))) == "plans_do_not_match"
    assert met(RuleProfile(same_province=True), replace(taker, province="SH")) == "other_province"
    assert met(RuleProfile(received_a_month_mb=499)) == "receive_cap"
    assert met(RuleProfile(receipts_a_month=0)) == "receipts_used_up"
    assert met(RuleProfile(sales_a_month=0)) == "sales_used_up"
    assert met(RuleProfile(), replace(taker, state="closed")) == "line_not_active"
    assert met(RuleProfile(last_days=10)) == "too_early"
    assert met(RuleProfile(transfers_from=time(13), transfers_until=time(9))) == "outside_hours"


class TankBooks(RuleBasedStateMachine):
    """Deposits, withdrawals that end either way, and ends of deposits, on the ledger that the product keeps them in."""

    deposits = Bundle("deposits")
    takings = Bundle("takings")

    def __init__(self) -> None:
        super().__init__()
        world, tank_account = Account(1, 1, 7, 0, 0, may_go_negative=True), Account(2, 1, 7, 0, 0)
        self.ledger = Ledger.of([world, tank_account])
        self.given = self.taken = self.returned = 0
        self.number = 10
        self.open: dict[int, int] = {}

    @rule(target=deposits, amount_mb=st.integers(1, 5_000))
    def give(self, amount_mb: int) -> int:
        self.number += 1
        number = self.number
        self.ledger.accounts[number] = Account(number, number, 7, 0, 0)
        self.ledger.move(Kind.RESERVED, f"cus_{number}", source=1, target=number, amount=amount_mb)
        self.ledger.move(Kind.TANK_FILLED, f"tnk_{number}", source=number, target=2, amount=amount_mb)
        self.given += amount_mb
        return number

    @rule(target=takings, amount_mb=st.integers(1, 6_000))
    def take(self, amount_mb: int) -> int:
        free = self.ledger.accounts[2].available
        self.number += 1
        try:
            self.ledger.hold(2, amount_mb, kind=Kind.DATA_GIFT_HELD, reference=f"giv_{self.number}")
        except InsufficientFunds:
            assert amount_mb > free
            return 0
        self.open[self.number] = amount_mb
        return self.number

    @rule(number=takings, moved=st.booleans())
    def end(self, number: int, moved: bool) -> None:
        amount_mb = self.open.pop(number, 0)
        if not amount_mb:
            return
        if moved:
            postings = Posting(2, held=-amount_mb), Posting(1, amount_mb)
            self.ledger.transfer(Kind.DATA_GIVEN, f"giv_{number}", *postings)
            self.taken += amount_mb
        else:
            self.ledger.hold(2, -amount_mb, kind=Kind.DATA_GIFT_RETURNED, reference=f"giv_{number}")

    @rule(number=deposits, share=st.integers(0, 100))
    def give_back(self, number: int, share: int) -> None:
        amount_mb = self.ledger.accounts[2].available * share // 100
        self.ledger.move(Kind.TANK_EMPTIED, f"tnk_{number}", source=2, target=number, amount=amount_mb)
        self.returned += amount_mb

    @invariant()
    def nothing_is_made_or_lost(self) -> None:
        account = self.ledger.accounts[2]
        assert self.given == self.taken + self.returned + account.available + account.held
        assert account.held == sum(self.open.values())
        assert sum(each.available + each.held for each in self.ledger.accounts.values()) == 0


TestTankBooks = TankBooks.TestCase
TestTankBooks.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
