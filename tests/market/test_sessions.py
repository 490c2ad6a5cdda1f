"""Plans of sessions: made at listing, carried out once by however many schedulers, late rather than never."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, Literal, cast
from zoneinfo import ZoneInfo

import pytest
from redis.asyncio import Redis
from sqlalchemy import select

from market import halting, sessions
from market.audit import broken_links
from market.engine.commands import Answer, CancelAll, SetState
from market.listing import Listing, list_instrument
from market.parties import Officer
from market.refusals import BadInput, Forbidden
from market.schedule import keep_time
from market.session_tables import SessionRow
from market.sessions import SHORTEST_CALL, Session, check_plan, end_offset
from market.tables import AuditLinkRow, OfficerRow
from market.venue import Venue
from market.verify import verify
from tests.engine.factories import Floor, Member, fresh_database, open_floor, running_engine
from tests.web.making import settings_of

SHANGHAI = ZoneInfo("Asia/Shanghai")
NOW = datetime.now(UTC).replace(microsecond=0)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def a_listing(**changes: Any) -> Listing:
    """Coins that open two hours ago by the real clock, so that a moved one can open them and orders are still taken."""
    values = {"symbol": "COIN", "kind": "coin", "opens_at": NOW - 2 * HOUR, "closes_at": NOW + 10 * DAY,
              "ceiling_minor": 1_000, "reference_minor": 100, "session": []}  # fmt: skip
    return Listing(**{**values, **changes})


def a_closing(begins_at: datetime, minutes: int = 10) -> Session:
    return Session(kind="closing", begins_at=begins_at, ends_at=begins_at + minutes * MINUTE)


class Market:
    """A floor whose coins are listed anew, with a scheduler whose clock is an argument."""

    def __init__(self, floor: Floor, venue: Venue) -> None:
        self.floor, self.venue, self.id = floor, venue, 0

    async def listed(self, now: datetime = NOW - 3 * HOUR, **changes: Any) -> int:
        await self.floor.connection.execute("delete from instrument where id = 1")
        async with self.venue.sessions.begin() as session:
            await list_instrument(session, a_listing(**changes), "CNY", now)
        self.id = await self.floor.connection.fetchval("select id from instrument where symbol = 'COIN'")
        return self.id

    async def at(self, now: datetime) -> str:
        """Let the scheduler look at a moment; gives the state that came of it."""
        await keep_time(self.venue, now)
        return await self.state()

    async def state(self) -> str:
        state: str = await self.floor.connection.fetchval("select state from instrument where id = $1", self.id)
        return state

    async def place(self, member: Member, side: Literal["buy", "sell"], price: int, lots: int, **more: Any) -> Answer:
        parts: dict[str, Any] = {"account_id": member.money, "proceeds_account_id": member.coins}
        if side == "sell":
            parts = {"account_id": member.coins, "proceeds_account_id": member.money}
        return await self.floor.place(member, side, price, lots, instrument_id=self.id, **parts, **more)

    async def by_hand(self, state: Any) -> Answer:
        command = SetState(1, f"hand-{next(self.floor.keys)}", b"", self.id, state)
        return await self.floor.gateway.submit(command)

    async def plan(self) -> list[SessionRow]:
        async with self.venue.sessions() as session:
            return list(await session.scalars(select(SessionRow).order_by(SessionRow.begins_at)))

    async def auctions(self) -> int:
        """How often the engine was asked to end a call by the plan."""
        count: int = await self.floor.connection.fetchval("select count(*) from journal where key like 'end-session-%'")
        return count

    async def is_sound(self) -> bool:
        # The tests' server runs without fsync, which is exactly what D1 has to say.
        return {finding.id for finding in await verify(self.floor.dsn) if finding.breaches} <= {"D1"}


@pytest.fixture
async def market(new_database: Callable[[str], str], valkey_url: str) -> AsyncIterator[Market]:
    async with Redis.from_url(valkey_url) as redis:
        await redis.flushall()
    url = await fresh_database(new_database, "sessions")
    async with open_floor(url, valkey_url) as floor, running_engine(floor.dsn, floor.redis):
        venue = SimpleNamespace(sessions=floor.gateway.sessions, gateway=floor.gateway, settings=settings_of())
        yield Market(floor, cast("Venue", venue))


# The plan


def test_data_opens_by_an_auction_and_has_a_closing_one_on_each_of_its_last_three_days() -> None:
    closes_at = datetime(2026, 11, 30, 22, tzinfo=SHANGHAI)
    opens_at = datetime(2026, 11, 2, 9, tzinfo=SHANGHAI)
    listing = a_listing(
        kind="data", carrier="CMCC", scope="CN", opens_at=opens_at, closes_at=closes_at, expires_at=closes_at + HOUR
    )

    plan = listing.plan(opens_at - DAY)

    assert [(each.kind, f"{each.begins_at:%d %H:%M}", f"{each.ends_at:%d %H:%M}") for each in plan] == [
        ("opening", "02 08:30", "02 09:00"),
        ("closing", "28 21:48", "28 21:58"),
        ("closing", "29 21:48", "29 21:58"),
        ("closing", "30 21:48", "30 21:58"),
    ]
    assert all(each.begins_at.tzinfo == SHANGHAI for each in plan)
    assert plan[-1].over_at < closes_at
    assert [each.kind for each in listing.plan(closes_at - HOUR)] == ["closing"]


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ([a_closing(NOW, 0)], "begin before it ends"),
        ([a_closing(NOW), a_closing(NOW + 5 * MINUTE)], "after the window of the one before"),
        ([a_closing(NOW + 10 * DAY - 10 * MINUTE)], "be over, with its window"),
        ([a_closing(NOW - 3 * HOUR)], "can't begin before opens_at"),
        ([Session(kind="opening", begins_at=NOW - 4 * HOUR, ends_at=NOW - 3 * HOUR)], "ends at opens_at or later"),
        ([a_closing(NOW), Session(kind="opening", begins_at=NOW + HOUR, ends_at=NOW + 2 * HOUR)], "comes first"),
        ([Session(kind="closing", begins_at=NOW, ends_at=NOW + HOUR, window_seconds=3_601)], "0 to 3600 seconds"),
        ([Session(kind="closing", begins_at=datetime(2030, 1, 1), ends_at=NOW)], "need their zone"),  # noqa: DTZ001
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_refused_in_words(plan: list[Session], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        check_plan(plan, NOW - 2 * HOUR, NOW + 10 * DAY)


def test_the_end_is_drawn_evenly_from_the_window_and_only_who_has_the_secret_knows_it() -> None:
    drawn = [end_offset("a secret", number, 60) for number in range(2_000)]

    assert drawn == [end_offset("a secret", number, 60) for number in range(2_000)]
    assert drawn[:5] != [end_offset("another", number, 60) for number in range(5)]
    tenths = [sum(6 * tenth <= each.total_seconds() < 6 * tenth + 6 for each in drawn) for tenth in range(10)]
    assert sum(tenths) == 2_000
    assert all(140 < count < 260 for count in tenths)
    assert end_offset("a secret", 1, 0) == timedelta(0)


# Carrying it out


async def test_a_day_goes_by_its_plan(market: Market) -> None:
    await market.listed(session=[a_closing(NOW + HOUR)])
    seller, buyer = await market.floor.member(), await market.floor.member()
    assert await market.state() == "halted"
    early = await market.place(seller, "sell", 90, 5)

    assert await market.at(NOW - 2 * HOUR - 29 * MINUTE) == "pre_open"
    await market.place(seller, "sell", 90, 5)
    await market.place(buyer, "buy", 110, 3)
    assert await market.at(NOW - 2 * HOUR - MINUTE) == "pre_open"
    assert await market.at(NOW - 2 * HOUR + MINUTE) == "open"
    opening, closing = await market.plan()
    continuous = await market.place(buyer, "buy", 110, 1)
    assert await market.at(NOW + 59 * MINUTE) == "open"
    assert await market.at(NOW + HOUR) == "auction"
    await market.place(buyer, "buy", 90, 5)
    assert await market.at(NOW + HOUR + 9 * MINUTE) == "auction"
    assert await market.at(NOW + HOUR + 11 * MINUTE) == "open"
    assert await market.at(NOW + 11 * DAY) == "closed"

    assert (early.code, continuous.filled) == ("market_halted", 1)
    assert opening.ended_at is not None
    assert (opening.price_minor, opening.lots) == (100, 3)
    assert (closing.begun_at, closing.ended_at) == (None, None)
    _, closing = await market.plan()
    assert (closing.price_minor, closing.lots) == (90, 1)
    assert await market.floor.connection.fetchval("select count(*) from open_order") == 0
    assert await market.is_sound()


async def test_the_auction_is_held_within_its_window_and_not_before_its_moment(market: Market) -> None:
    await market.listed(session=[a_closing(NOW)], opens_at=None)
    await market.at(NOW)
    (row,) = await market.plan()
    moment = row.ends_at + end_offset(market.venue.settings.secret_key, row.id, row.window_seconds)

    assert await market.at(moment - timedelta(microseconds=1)) == "auction"
    assert await market.at(moment) == "open"
    assert row.ends_at <= moment <= row.ends_at + MINUTE


async def test_two_schedulers_take_each_step_once(market: Market) -> None:
    await market.listed()
    for moment in (NOW - 2 * HOUR - MINUTE, NOW - 2 * HOUR, NOW - 2 * HOUR + 2 * MINUTE):
        await asyncio.gather(*(keep_time(market.venue, moment + late * HOUR / 3_600) for late in range(3)))

    keys = await market.floor.connection.fetch("select key from journal where key like '%session%' order by seq")
    (row,) = await market.plan()
    assert [key for (key,) in keys] == [f"begin-session-{row.id}", f"end-session-{row.id}"]
    assert row.ended_at is not None


async def test_what_was_missed_is_held_late_and_in_its_order(market: Market) -> None:
    await market.listed(opens_at=None, session=[a_closing(NOW - 2 * HOUR), a_closing(NOW - HOUR)])
    seller, buyer = await market.floor.member(), await market.floor.member()

    assert await market.at(NOW) == "auction"
    first, second = await market.plan()
    assert (first.begun_at, second.begun_at) == (NOW, None)
    await market.place(seller, "sell", 90, 5)
    await market.place(buyer, "buy", 95, 5)
    assert await market.at(NOW + timedelta(seconds=119)) == "auction"
    assert await market.at(NOW + SHORTEST_CALL + MINUTE) == "open"
    first, second = await market.plan()
    assert (first.lots, second.begun_at) == (5, None)
    assert await market.at(NOW + SHORTEST_CALL + 2 * MINUTE) == "auction"
    assert await market.at(NOW + 2 * SHORTEST_CALL + 3 * MINUTE) == "open"
    assert await market.auctions() == 2


async def test_a_call_that_is_under_way_at_the_close_ends_by_its_auction(market: Market) -> None:
    await market.listed(opens_at=None, session=[a_closing(NOW)])
    seller, buyer = await market.floor.member(), await market.floor.member()
    await market.at(NOW)
    await market.place(seller, "sell", 90, 5)
    await market.place(buyer, "buy", 95, 4)

    assert await market.at(NOW + 10 * DAY) == "closed"

    (row,) = await market.plan()
    assert (row.ended_at, row.lots) == (NOW + 10 * DAY, 4)
    ended = await market.floor.connection.fetch("select state, reason from ended_order order by id")
    assert [tuple(each) for each in ended] == [("cancelled", "closed"), ("filled", None)]


async def test_the_plan_waits_for_what_an_officer_has_halted(market: Market) -> None:
    await market.listed(opens_at=None, session=[a_closing(NOW)])
    await market.by_hand("halted")

    assert await market.at(NOW) == "halted"
    assert await market.at(NOW + HOUR) == "halted"
    await market.by_hand("open")
    assert await market.at(NOW + HOUR) == "auction"
    await market.by_hand("halted")
    assert await market.at(NOW + 2 * HOUR) == "halted"
    await market.by_hand("open")
    assert await market.at(NOW + 2 * HOUR) == "open"
    (row,) = await market.plan()
    assert (row.ended_at, row.attempt) == (NOW + 2 * HOUR, 0)


async def test_a_step_that_was_refused_is_asked_for_again_under_another_key(market: Market) -> None:
    """An officer halts after the scheduler has looked and before its command arrives."""
    await market.listed(opens_at=None, session=[a_closing(NOW)])
    async with market.venue.sessions() as session:
        (step,) = await sessions.due(session, market.venue.settings.secret_key, NOW)
    await market.by_hand("halted")

    for _ in range(2):  # two schedulers are told the same
        answer = await market.floor.gateway.submit(step.command)
        async with market.venue.sessions.begin() as session:
            await sessions.note(session, step, answer, NOW)
    await market.by_hand("open")

    assert answer.code == "stopped"
    assert (await market.plan())[0].attempt == 1
    assert await market.at(NOW) == "auction"


# The switch for the whole market


async def an_officer(market: Market, role: str = "operations", carrier: str | None = None) -> Officer:
    async with market.venue.sessions.begin() as session:
        row = OfficerRow(login=f"officer-{next(market.floor.keys)}", password_hash="-", role=role, carrier=carrier)
        session.add(row)
        await session.flush()
        return Officer(row.id, row.login, row.role, row.carrier)


async def throw(market: Market, officer: Officer, to: Literal["halted", "open"], **changes: Any) -> int:
    values: dict[str, Any] = {"reason": "Fire drill.", "confirmed": True, "key": f"key{next(market.floor.keys)}"}
    return await halting.switch(market.venue, officer, to=to, **{**values, **changes})


async def test_one_switch_halts_every_market_and_restores_each_as_it_was(market: Market) -> None:
    await market.listed()
    seller, buyer = await market.floor.member(), await market.floor.member()
    officer = await an_officer(market)
    assert await market.at(NOW - 2 * HOUR - 29 * MINUTE) == "pre_open"
    await market.place(seller, "sell", 90, 5)
    await market.place(buyer, "buy", 110, 5)
    by_hand = SetState(1, "hand", b"", 2, "halted")
    await market.floor.gateway.submit(by_hand)

    assert await throw(market, officer, "halted") == 2
    assert await market.at(NOW) == "halted"
    refused = await market.place(buyer, "buy", 110, 5)
    taken_out = await market.floor.gateway.submit(CancelAll(buyer.id, "out", b"", market.id, buyer.id))
    await throw(market, officer, "open")

    assert (refused.code, taken_out.ended_orders) == ("market_halted", 1)
    states = await market.floor.connection.fetch("select id, state, stopped_by from instrument order by id")
    assert [tuple(row) for row in states] == [(2, "halted", "officer"), (market.id, "pre_open", None)]
    assert await market.at(NOW + HOUR) == "open"
    async with market.venue.sessions() as session:
        links = list(await session.scalars(select(AuditLinkRow).where(AuditLinkRow.chain == "house")))
    assert not broken_links(links)
    assert b"halt_every_market" in (links[0].payload or b"")
    assert b"Fire drill." in (links[0].payload or b"")
    assert await market.is_sound()


async def test_what_is_listed_while_the_switch_is_thrown_opens_when_it_is_let_go(market: Market) -> None:
    officer = await an_officer(market)
    await throw(market, officer, "halted")
    await market.listed(now=NOW, opens_at=None)

    assert await market.at(NOW + HOUR) == "halted"
    await throw(market, officer, "open")
    assert await market.at(NOW + HOUR) == "pre_open"
    assert await market.at(NOW + 2 * HOUR) == "open"


@pytest.mark.parametrize(
    ("role", "carrier", "changes", "refusal"),
    [
        ("compliance", None, {}, Forbidden),
        ("operations", "CMCC", {}, Forbidden),
        ("operations", None, {"confirmed": False}, BadInput),
        ("operations", None, {"reason": ""}, BadInput),
        ("operations", None, {"reason": "Called 13800138000"}, BadInput),
    ],
)
async def test_the_switch_takes_an_operations_officer_a_reason_and_a_confirmation(
    market: Market, role: str, carrier: str | None, changes: dict[str, Any], refusal: type[Exception]
) -> None:
    officer = await an_officer(market, role, carrier)

    with pytest.raises(refusal):
        await throw(market, officer, "halted", **changes)

    states = await market.floor.connection.fetch("select state from instrument")
    assert {state for (state,) in states} == {"open"}
