"""Several orders at once with what they need around them: reserved at the carrier before, given back when not taken."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import select

from market.engine.commands import LineFacts, PlaceOrder, PlaceTogether, decode_command
from market.parties import Member
from market.refusals import NotAllowed, OutcomeUnknown, Refusal
from market.tables import LineRow
from market.together import PairRequest, place_all_or_none, place_each, place_pair
from market.trading import OrderRequest, cancel, mass_cancel, place
from settlement.tables import CustodyRow
from tests.engine.factories import running_engine
from tests.market.town import Town, a_key

SYMBOL = "CMCC-CN-3001"


@pytest.fixture(autouse=True, scope="module")
async def _engine(town: Town) -> AsyncIterator[None]:
    async with running_engine(town.venue.settings.database_dsn, town.venue.redis):
        yield


def a_sale(lots: int = 20, price: int | None = 300, **more: Any) -> OrderRequest:
    return OrderRequest(symbol=SYMBOL, side="sell", lots=lots, price_minor=price, **more)


async def the_bucket(town: Town, member: Member) -> tuple[int, int]:
    """MB left and MB reserved on the member's line, as the carrier has it."""
    async with town.venue.sessions() as session:
        line = await session.scalar(select(LineRow).where(LineRow.party_id == member.party_id))
    assert line is not None
    (bucket,) = await town.venue.carriers["CMCC"].buckets(town.venue.vault.open(line.number_sealed))
    return bucket.remaining_mb, bucket.reserved_mb


async def custodies(town: Town, member: Member) -> list[tuple[int, str]]:
    async with town.venue.sessions() as session:
        found = await session.execute(
            select(CustodyRow.quantity_mb, CustodyRow.status)
            .where(CustodyRow.party_id == member.party_id)
            .order_by(CustodyRow.id)
        )
    return [(row.quantity_mb, row.status) for row in found]


async def commands(town: Town, member: Member) -> list[PlaceOrder]:
    """The orders of the member's commands, as the journal has them."""
    rows = await town.rows("select command from journal where party_id = :party order by seq", party=member.party_id)
    decoded = [decode_command.decode(row.command) for row in rows]
    return [
        order
        for command in decoded
        for order in (command.orders if isinstance(command, PlaceTogether) else [command])
        if isinstance(order, PlaceOrder)
    ]


async def test_a_batch_of_all_or_none_reserves_for_each_sale(town: Town) -> None:
    seller = await town.a_member()

    answer = await place_all_or_none(town.venue, seller, [a_sale(20), a_sale(30, 310)], a_key())

    assert [each.state for each in answer.orders] == ["open", "open"]
    assert await the_bucket(town, seller) == (15_000, 5_000)
    assert await custodies(town, seller) == [(2_000, "reserved"), (3_000, "reserved")]
    await mass_cancel(town.venue, seller, a_key())


@pytest.mark.parametrize(
    ("requests", "code", "reserved"),
    [
        ([a_sale(20), a_sale(30, 303)], "off_tick", []),
        ([a_sale(20), a_sale(176)], "sale_too_large", [2_000]),
        ([a_sale(20), OrderRequest(symbol="COIN", side="sell", lots=5, price_minor=300)], "insufficient_data", [2_000]),
        ([a_sale(20), OrderRequest(symbol="COIN", side="buy", lots=5, price_minor=300)], "insufficient_money", [2_000]),
    ],
)
async def test_a_batch_that_is_refused_gives_back_what_was_reserved(
    town: Town, requests: list[OrderRequest], code: str, reserved: list[int]
) -> None:
    seller, key = await town.a_member(), a_key()

    with pytest.raises(NotAllowed) as refusal:
        await place_all_or_none(town.venue, seller, requests, key)

    assert refusal.value.code == code
    assert [amount for amount, _ in await custodies(town, seller)] == reserved
    assert {status for _, status in await custodies(town, seller)} <= {"releasing"}
    assert not await town.rows("select id from open_order where party_id = :party", party=seller.party_id)
    await town.assert_books_agree()


async def test_a_batch_that_a_carrier_leaves_in_doubt_goes_on_under_the_same_key(town: Town) -> None:
    seller, key, requests = await town.a_member(), a_key(), [a_sale(20), a_sale(30, 310)]

    await town.at_carrier("PUT", "/admin/faults", json={"error_rate_percent": 100})
    with pytest.raises(OutcomeUnknown):
        await place_all_or_none(town.venue, seller, requests, key)
    await town.at_carrier("PUT", "/admin/faults", json={})
    answer = await place_all_or_none(town.venue, seller, requests, key)

    assert len(answer.orders) == 2
    assert await the_bucket(town, seller) == (15_000, 5_000)
    await mass_cancel(town.venue, seller, a_key())


async def test_each_on_its_own_keeps_what_was_taken_and_gives_the_rest_back(town: Town) -> None:
    seller, key = await town.a_member(), a_key()
    requests = [a_sale(20), a_sale(30, 303), a_sale(500), a_sale(10, None, time_in_force="fok"), a_sale(15)]

    results = await place_each(town.venue, seller, requests, key)
    again = await place_each(town.venue, seller, requests, key)

    assert [result.refusal.code if result.refusal else None for result in results] == [
        None, "off_tick", "sale_too_large", None, None,
    ]  # fmt: skip
    assert [result.answer for result in again] == [result.answer for result in results]
    assert [result.answer.state for result in results if result.answer] == ["open", "cancelled", "open"]
    assert [amount for amount, _ in await custodies(town, seller)] == [2_000, 1_000, 1_500]
    await mass_cancel(town.venue, seller, a_key())


async def test_a_pair_of_sales_reserves_the_data_once(town: Town) -> None:
    seller = await town.a_member()
    pair = PairRequest(symbol=SYMBOL, side="sell", lots=20, price_minor=400, stop_minor=200)

    answer = await place_pair(town.venue, seller, pair, key := a_key())
    again = await place_pair(town.venue, seller, pair, key)

    assert again == answer
    assert [each.state for each in answer.orders] == ["open", "open"]
    assert await custodies(town, seller) == [(2_000, "reserved")]
    assert await the_bucket(town, seller) == (18_000, 2_000)
    await cancel(town.venue, seller, answer.orders[0].order_id or 0, a_key())
    assert not await town.rows("select id from open_order where party_id = :party", party=seller.party_id)


async def test_a_pair_that_is_refused_gives_the_data_back(town: Town) -> None:
    seller = await town.a_member()
    pair = PairRequest(symbol=SYMBOL, side="sell", lots=20, price_minor=400, stop_minor=350)

    with pytest.raises(NotAllowed) as refusal:
        await place_pair(town.venue, seller, pair, a_key())

    assert refusal.value.code == "stop_reached"
    assert await custodies(town, seller) == [(2_000, "releasing")]


async def test_orders_in_data_say_what_the_carriers_rules_ask_of_the_line(town: Town) -> None:
    seller, buyer = await town.a_member(), await town.a_member()
    await town.put(buyer.party_id, "CNY", 10_000)

    await place(town.venue, seller, a_sale(5, 900), a_key())
    await place(town.venue, buyer, OrderRequest(symbol=SYMBOL, side="buy", lots=5, price_minor=20), a_key())

    for member in (seller, buyer):
        (order,) = await commands(town, member)
        (line,) = await town.rows("select id, plan, province from line where party_id = :id", id=member.party_id)
        assert order.line_id == line.id
        assert order.line == LineFacts(line.plan, line.province)
        await mass_cancel(town.venue, member, a_key())


@pytest.mark.parametrize("count", [0, 501])
async def test_a_batch_has_one_to_five_hundred_orders(town: Town, count: int) -> None:
    member = await town.a_member()
    requests = [OrderRequest(symbol="COIN", side="buy", lots=1, price_minor=5)] * count

    for place_them in (place_all_or_none, place_each):
        with pytest.raises(Refusal):
            await place_them(town.venue, member, requests, a_key())
