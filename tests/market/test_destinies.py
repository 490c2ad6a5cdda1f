"""Unsold data goes where its seller wanted, once, by the carrier's rules; or it is the seller's again."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete

from market import charities, destinies
from market.engine.caps import day_of
from market.engine.times import microseconds
from market.line_tables import LineUsageRow
from market.parties import Member
from market.refusals import BadInput, NotAllowed, NotFound, Refusal
from market.trading import OrderRequest, cancel, mass_cancel, place
from tests.engine.factories import running_engine
from tests.faults.waiting import until
from tests.market.giving import SYMBOL, assert_sound, comes_to, settling, somebody, told
from tests.market.town import Town, a_key, a_number


@pytest.fixture(autouse=True)
async def _engine(town: Town) -> AsyncIterator[None]:
    """An engine, and a book without anything that other tests left in it."""
    async with running_engine(town.venue.settings.database_dsn, town.venue.redis):
        for row in await town.rows("select id, party_id, group_id from orders where state = 'open'"):
            owner = Member(row.party_id, row.group_id, "subscriber", "Somebody", "zh_CN")
            await cancel(town.venue, owner, row.id, a_key())
        yield


def a_sale(lots: int = 10, **more: Any) -> OrderRequest:
    return OrderRequest(symbol=SYMBOL, side="sell", lots=lots, price_minor=300, **more)


def a_short_sale(lots: int = 10, seconds: float = 3) -> OrderRequest:
    return a_sale(lots, time_in_force="gtd", expires_at=datetime.now(UTC) + timedelta(seconds=seconds))


async def listed(town: Town, seller: Member, request: OrderRequest, **values: str) -> int:
    """Choose, place, attach: as a page does it. Gives the order's id."""
    chosen = await destinies.choose(town.venue, seller, request, values)
    assert isinstance(chosen.request, OrderRequest)
    placed = await place(town.venue, seller, chosen.request, a_key())
    assert placed.answer is not None
    assert placed.answer.order_id is not None
    await destinies.attach(town.venue, seller, placed.answer.order_id, chosen)
    return placed.answer.order_id


async def ended(town: Town, order_id: int) -> Any:
    """The destiny of an order, once it is no longer only chosen."""
    query = "select * from destiny where order_id = :id and status <> 'chosen'"

    async def is_so() -> bool:
        return bool(await town.rows(query, id=order_id))

    await until(is_so)
    return (await town.rows(query, id=order_id))[0]


async def expired(town: Town, order_id: int) -> None:
    async def is_so() -> bool:
        query = "select id from ended_order where id = :id and reason = 'expired'"
        return bool(await town.rows(query, id=order_id))

    await until(is_so)


async def test_unsold_data_goes_to_a_friend_who_never_signed_in(town: Town) -> None:
    seller, friend = await somebody(town), await town.line(remaining_mb=0)
    order = await listed(town, seller.member, a_short_sale(), destiny="friend", friend_phone=friend)

    async with settling(town):
        await comes_to(town, friend, (0, 0, 1_000))
        await comes_to(town, seller.number, (19_000, 0, 0))

    assert (await ended(town, order)).status == "carried_out"
    assert await told(town, seller.member) == ["given_to_friend"]
    receiver = await town.enter(friend)
    assert "received_from_friend" in await told(town, receiver)
    await assert_sound(town)


async def test_only_what_was_not_sold_goes_on(town: Town) -> None:
    seller, buyer, friend = await somebody(town), await somebody(town, remaining_mb=0), await town.line(remaining_mb=0)
    await town.put(buyer.member.party_id, "CNY", 900)
    bid = OrderRequest(symbol=SYMBOL, side="buy", lots=3, price_minor=300)
    await place(town.venue, buyer.member, bid, a_key())
    await listed(town, seller.member, a_short_sale(), destiny="friend", friend_phone=friend)

    async with settling(town):
        await comes_to(town, buyer.number, (0, 0, 300))
        await comes_to(town, friend, (0, 0, 700))

    await assert_sound(town)


async def test_unsold_data_fills_the_tank_and_stays_reserved(town: Town) -> None:
    seller = await somebody(town)
    order = await listed(town, seller.member, a_short_sale(), destiny="tank")

    async with settling(town):
        assert (await ended(town, order)).status == "carried_out"
        custody = await town.value("select custody_id from destiny where order_id = :id", id=order)

        async def is_done() -> bool:
            query = "select id from instruction where kind = 'release' and subject_id = :id and status = 'done'"
            return bool(await town.rows(query, id=custody))

        await until(is_done)

    await comes_to(town, seller.number, (19_000, 1_000, 0))
    assert await town.value("select status from custody where id = :id", id=custody) == "reserved"
    assert await town.value("select amount_mb from tank_deposit where custody_id = :id", id=custody) == 1_000
    assert await told(town, seller.member) == ["given_to_tank"]
    await assert_sound(town)


async def test_unsold_data_goes_to_the_charity_of_the_carrier(town: Town) -> None:
    seller, line = await somebody(town), await town.line(remaining_mb=0)
    await charities.appoint(town.venue, "CMCC", "Data for schools", line)
    await listed(town, seller.member, a_short_sale(), destiny="charity")

    async with settling(town):
        await comes_to(town, line, (0, 0, 1_000))

    await assert_sound(town)


@pytest.mark.parametrize("values", [{}, {"destiny": "back"}, {"destiny": "friend", "cancelled": "by hand"}])
async def test_data_is_its_owners_again_by_default_and_when_they_cancel(town: Town, values: dict[str, str]) -> None:
    seller, friend = await somebody(town), await town.line(remaining_mb=0)
    by_hand = values.pop("cancelled", None)
    request = a_sale() if by_hand else a_short_sale()
    order = await listed(town, seller.member, request, **values, friend_phone=friend)
    if by_hand:
        await mass_cancel(town.venue, seller.member, a_key())
    else:
        await expired(town, order)

    async with settling(town):
        await comes_to(town, seller.number, (20_000, 0, 0))

    await comes_to(town, friend, (0, 0, 0))
    assert await told(town, seller.member) == []
    await assert_sound(town)


async def test_what_the_carrier_refuses_is_the_sellers_again_with_a_notice(town: Town) -> None:
    seller = await somebody(town)
    closed = await town.line(remaining_mb=0, number=a_number()[:-4] + "9001")
    await listed(town, seller.member, a_short_sale(), destiny="friend", friend_phone=closed)

    async with settling(town):
        await comes_to(town, seller.number, (20_000, 0, 0))

    assert await told(town, seller.member) == ["not_given"]
    await assert_sound(town)


async def test_a_friend_who_may_receive_no_more_gets_nothing_and_the_seller_hears_why(town: Town) -> None:
    seller, friend = await somebody(town), await somebody(town, remaining_mb=0)
    order = await listed(town, seller.member, a_short_sale(), destiny="friend", friend_phone=friend.number)
    async with town.venue.sessions.begin() as session:
        session.add(
            LineUsageRow(
                line_id=friend.line_id, plan=None, province=None, day=day_of(microseconds(datetime.now(UTC))),
                sent_today=0, received_today=0, received_today_mb=0, sent_month=0, received_month=1,
                received_month_mb=19_500,
            )
        )  # fmt: skip

    async with settling(town):
        destiny = await ended(town, order)
        await comes_to(town, seller.number, (20_000, 0, 0))

    assert (destiny.status, destiny.reason) == ("given_back", "receive_cap")
    (notice,) = await town.rows("select kind, facts from notice where party_id = :id", id=seller.member.party_id)
    assert notice.kind == "destiny_given_back"
    assert "as much this month" in notice.facts["reason"]
    async with town.venue.sessions.begin() as session:  # no trade of this market has moved it
        await session.execute(delete(LineUsageRow).where(LineUsageRow.line_id == friend.line_id))


# What may be chosen.


@pytest.mark.parametrize(
    ("request_", "values", "field"),
    [
        (a_sale(), {"destiny": "the moon"}, "destiny"),
        (a_sale(time_in_force="ioc"), {"destiny": "tank"}, "destiny"),
        (a_sale(), {"destiny": "friend"}, "friend_phone"),
        (a_sale(), {"destiny": "friend", "friend_phone": "12"}, "friend_phone"),
        (a_sale(), {"destiny": "friend", "friend_phone": "+8618912345678"}, "friend_phone"),
    ],
)
async def test_what_can_not_be_chosen_is_refused_beside_its_field(
    town: Town, request_: OrderRequest, values: Mapping[str, str], field: str
) -> None:
    seller = await somebody(town)

    with pytest.raises(Refusal) as caught:
        await destinies.choose(town.venue, seller.member, request_, values)

    assert isinstance(caught.value, BadInput | NotAllowed)
    assert caught.value.field == field


async def test_a_friend_is_somebody_else(town: Town) -> None:
    seller = await somebody(town)

    values = {"destiny": "friend", "friend_phone": seller.number}

    with pytest.raises(NotAllowed) as caught:
        await destinies.choose(town.venue, seller.member, a_sale(), values)

    assert caught.value.code == "own_number"


async def test_price_steps_fall_by_a_twentieth_a_day_down_to_a_half(town: Town) -> None:
    seller = await somebody(town)

    chosen = await destinies.choose(town.venue, seller.member, a_sale(), {"destiny": "price_steps"})
    again = await destinies.choose(town.venue, seller.member, a_sale(), {"destiny": "price_steps"})

    assert chosen.request == again.request
    assert isinstance(chosen.request, OrderRequest)
    assert chosen.request.decay is not None
    assert (chosen.request.decay.floor_minor, chosen.request.decay.step_minor) == (150, 15)
    placed = await place(town.venue, seller.member, chosen.request, a_key())
    assert placed.answer is not None
    assert placed.answer.state == "open"


async def test_for_the_last_auction_a_sale_stands_until_the_close(town: Town) -> None:
    seller = await somebody(town)

    chosen = await destinies.choose(town.venue, seller.member, a_short_sale(), {"destiny": "last_auction"})

    assert isinstance(chosen.request, OrderRequest)
    assert (chosen.request.time_in_force, chosen.request.expires_at) == ("gtc", None)


async def test_a_destiny_belongs_to_ones_own_order_and_shows_the_friend_masked(town: Town) -> None:
    seller, other, friend = await somebody(town), await somebody(town), await town.line()
    order = await listed(town, seller.member, a_sale(), destiny="friend", friend_phone=friend)
    chosen = await destinies.choose(town.venue, other.member, a_sale(), {"destiny": "tank"})

    with pytest.raises(NotFound):
        await destinies.attach(town.venue, other.member, order, chosen)

    async with town.venue.sessions() as session:
        shown = (await destinies.of_orders(session, town.venue.vault, [order]))[order]
    assert (shown.what, shown.status, shown.friend) == ("friend", "chosen", f"{friend[3:6]}****{friend[-4:]}")
