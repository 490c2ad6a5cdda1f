"""Alerts: each is told once, a price only when somebody else makes it, and texts keep to the quiet hours."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from market import alerts, telling
from market.alerts import MARKS, Setting, warnings
from market.refusals import BadInput, NotAllowed
from market.trading import OrderRequest, place
from settlement.carriers.values import Bucket
from settlement.notices import tell
from tests.engine.factories import running_engine
from tests.market.town import Town, a_key

NOW = datetime(2026, 11, 10, 4, tzinfo=UTC)
MONTH_END = datetime(2026, 11, 30, 16, tzinfo=UTC)


@pytest.fixture(autouse=True, scope="module")
async def _engine(town: Town) -> AsyncIterator[None]:
    async with running_engine(town.venue.settings.database_dsn, town.venue.redis):
        yield


def a_bucket(remaining_mb: int, *, reserved_mb: int = 0, expires_at: datetime = MONTH_END, **more: Any) -> Bucket:
    values = {"app_scope": None, "transferable": True, **more}
    return Bucket(
        id="b1", carrier="CMCC", msisdn="+8613900000000", scope="CN", expires_at=expires_at,
        remaining_mb=remaining_mb, reserved_mb=reserved_mb, **values,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("remaining", "mark"), [(6_000, None), (5_001, None), (5_000, 50), (2_001, 50), (2_000, 80), (1, 80), (0, 100)]
)
def test_the_highest_mark_that_is_passed_is_told(remaining: int, mark: int | None) -> None:
    found = warnings(1, 10_000, [a_bucket(remaining)], Setting(), NOW)
    assert [each.percent for each in found] == ([] if mark is None else [mark])


@given(st.integers(0, 20_000), st.integers(0, 20_000))
def test_what_is_told_never_falls_while_data_is_used(one: int, other: int) -> None:
    more, less = max(one, other), min(one, other)
    marks = [
        max((each.percent or 0 for each in warnings(1, 10_000, [a_bucket(left)], Setting(), NOW)), default=0)
        for left in (more, less)
    ]
    assert marks == sorted(marks)
    assert set(marks) <= {0, *MARKS}


def test_received_and_app_directed_data_and_what_has_expired_warn_of_nothing() -> None:
    others = [
        a_bucket(0, transferable=False), a_bucket(0, app_scope="VIDEO"), a_bucket(0, expires_at=NOW),
    ]  # fmt: skip
    assert not warnings(1, 10_000, others, Setting(), NOW)


def test_data_that_expires_within_three_days_is_told_from_one_lot_on() -> None:
    soon = NOW + timedelta(days=3)
    told = warnings(1, 0, [a_bucket(100, expires_at=soon)], Setting(), NOW)
    assert [(each.kind, each.left_mb) for each in told] == [("expires_soon", 100)]
    assert not warnings(1, 0, [a_bucket(99, expires_at=soon)], Setting(), NOW)
    assert not warnings(1, 0, [a_bucket(100, expires_at=soon + timedelta(seconds=1))], Setting(), NOW)
    assert not warnings(1, 10_000, [a_bucket(0, expires_at=soon)], Setting(usage=False, expiry=False), NOW)


async def test_a_price_that_comes_is_told_once_and_not_for_one_s_own_offer(town: Town) -> None:
    waits, offers = await town.a_member(), await town.a_member()
    async with town.venue.sessions.begin() as session:
        await alerts.wait_for(session, waits, "COIN", "rises", 300)
        await alerts.wait_for(session, waits, "COIN", "rises", 300)
    for member, price in ((waits, 350), (offers, 295)):
        await bid(town, member, price)
    assert await fired(town, waits.party_id) == 0

    await bid(town, offers, 300)
    assert await fired(town, waits.party_id) == 1
    assert await fired(town, waits.party_id) == 1

    facts = await town.value("select facts from notice where party_id = :id", id=waits.party_id)
    assert (facts["symbol"], facts["best_minor"]) == ("COIN", 300)
    async with town.venue.sessions() as session:
        assert not await alerts.waiting(session, waits.party_id)


async def bid(town: Town, member: Any, price: int) -> None:
    await town.put(member.party_id, "CNY", 10_000)
    request = OrderRequest(symbol="COIN", side="buy", lots=1, price_minor=price)
    await place(town.venue, member, request, a_key())


async def fired(town: Town, party_id: int) -> int:
    await alerts.fire(town.venue)
    return int(await town.value("select count(*) from notice where party_id = :id", id=party_id))


async def test_a_price_that_cannot_come_and_too_many_wishes_are_refused(town: Town) -> None:
    member = await town.a_member()
    async with town.venue.sessions.begin() as session:
        with pytest.raises(BadInput, match="No order can have this price"):
            await alerts.wait_for(session, member, "COIN", "falls", 1_001)
        for price in range(5, 5 + 5 * alerts.MOST_ALERTS, 5):
            await alerts.wait_for(session, member, "COIN", "falls", price)
        with pytest.raises(NotAllowed, match="remove one first"):
            await alerts.wait_for(session, member, "COIN", "falls", 500)
        first = (await alerts.waiting(session, member.party_id))[0]
        await alerts.remove(session, member, first.id)
        await alerts.wait_for(session, member, "COIN", "falls", 500)


async def test_a_line_is_asked_about_in_its_turn_and_told_once(town: Town) -> None:
    member = await town.a_member(remaining_mb=1_000)
    line = "update line set base_mb = 10000, looked_at = null where party_id = :id returning id"
    await change(town, line, id=member.party_id)

    await alerts.look(town.venue, datetime.now(UTC))
    again = "update line set looked_at = now() - interval '2 hours' where party_id = :id returning id"
    await change(town, again, id=member.party_id)
    await alerts.look(town.venue, datetime.now(UTC))

    rows = await town.rows("select kind, facts ->> 'percent' from notice where party_id = :id", id=member.party_id)
    assert [tuple(row) for row in rows] == [("usage", "80")]


async def change(town: Town, statement: str, **values: Any) -> None:
    async with town.venue.sessions.begin() as session:
        await session.execute(text(statement), values)


def words(kind: str, facts: Mapping[str, object], locale: str) -> str:
    return f"{kind} {facts['n']} {locale}"


async def test_texts_wait_for_the_end_of_the_quiet_hours_and_are_sent_once(town: Town) -> None:
    number = await town.line()
    member = await town.enter(number)
    noon = datetime.now(UTC).replace(hour=4, minute=0)
    night = noon.replace(hour=15)
    async with town.venue.sessions.begin() as session:
        await alerts.change(session, member, Setting(texts=True))
        await tell(session, member.party_id, "usage", texted=True, n=1)
    await change(town, "update notice set at = :at where party_id = :id", at=night, id=member.party_id)

    await telling.send_texts(town.venue, words, night)
    assert "usage 1 zh_CN" not in await town.texts_to(number)
    await telling.send_texts(town.venue, words, night + timedelta(hours=13))
    await telling.send_texts(town.venue, words, night + timedelta(hours=13))

    assert (await town.texts_to(number)).count("usage 1 zh_CN") == 1


async def test_what_is_about_the_safety_of_money_is_texted_to_everybody_at_any_hour(town: Town) -> None:
    number = await town.line()
    member = await town.enter(number)
    async with town.venue.sessions.begin() as session:
        await tell(session, member.party_id, "bank_changed", texted=True, n=1)

    await telling.send_texts(town.venue, words, datetime.now(UTC))

    assert (await town.texts_to(number)).count("bank_changed 1 zh_CN") == 1


async def test_who_wants_no_texts_gets_none_and_nobody_more_than_five_a_day(town: Town) -> None:
    silent, loud = await town.line(), await town.line()
    members = [await town.enter(silent), await town.enter(loud)]
    now = datetime.now(UTC)
    async with town.venue.sessions.begin() as session:
        await alerts.change(session, members[1], Setting(texts=True, quiet_from=0, quiet_until=0))
        for n in range(telling.TEXTS_A_DAY + 2):
            for member in members:
                await tell(session, member.party_id, "usage", texted=True, n=n)

    await telling.send_texts(town.venue, words, now)
    await telling.send_texts(town.venue, words, now)

    assert not [each for each in await town.texts_to(silent) if each.startswith("usage")]
    assert len([each for each in await town.texts_to(loud) if each.startswith("usage")]) == telling.TEXTS_A_DAY
