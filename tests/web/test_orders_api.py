"""Every type of order through the REST API on a real engine: each is taken, shown, acts as it says, and is refused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from market.engine.commands import SetState, State
from market.trading import day_end
from settlement.accounts import HOUSE
from tests.web.making import Market, Partner, a_key

COIN_ID = 1
SHANGHAI = ZoneInfo("Asia/Shanghai")
CLEAN = 500
"""A price around which each test finds the book empty, because each takes away what it brought."""

FALLING = {"floor_minor": 400, "step_minor": 1, "every_minutes": 5}
BY_CARD: dict[str, Any] = {"payment": "card", "payment_method": "pm_card_visa"}


@pytest.fixture(autouse=True)
async def an_empty_book(market: Market) -> None:
    await market.empty_book()


@pytest.fixture
async def people(market: Market) -> AsyncIterator[tuple[Partner, Partner]]:
    """Two who trade, in a market whose last price is `CLEAN`; what they leave in the book is taken out again."""
    one, other = await market.partner(), await market.partner()
    await one.order("sell", CLEAN)
    await other.order("buy", CLEAN, time_in_force="ioc")
    yield one, other
    for each in (one, other):
        await each.post("/orders/cancel-all", None)


async def placed(partner: Partner, side: str, price_minor: int | None, lots: int = 10, **more: Any) -> dict[str, Any]:
    """An order that was taken, as it then stands."""
    body = {"symbol": "COIN", "side": side, "lots": lots, **more}
    if price_minor is not None:
        body["price_minor"] = price_minor
    answer = await partner.post("/orders", body)
    assert answer.status_code == 201, answer.text
    return await seen(partner, answer.json()["order_id"])


async def seen(partner: Partner, order_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await partner.get(f"/orders/{order_id}")).json()
    return found


async def trade_at(one: Partner, other: Partner, price_minor: int, lots: int = 1) -> None:
    """A trade at a price, which becomes the last one."""
    await one.order("sell", price_minor, lots)
    bought = await other.order("buy", price_minor, lots, time_in_force="ioc")
    assert bought.json()["state"] == "filled", bought.text


@asynccontextmanager
async def in_state(market: Market, state: State) -> AsyncIterator[None]:
    """Bring the market into a state, and open it again."""
    await market.venue.gateway.submit(SetState(HOUSE, a_key(), b"", COIN_ID, state))
    yield
    await market.venue.gateway.submit(SetState(HOUSE, a_key(), b"", COIN_ID, "open"))


# Each type, taken and at work.


async def test_a_market_order_takes_what_is_there_and_leaves_nothing(people: tuple[Partner, Partner]) -> None:
    seller, buyer = people
    await seller.order("sell", 520, 2)

    order = await placed(buyer, "buy", None, 5)

    assert (order["market"], order["time_in_force"], order["filled_lots"]) == (True, "ioc", 2)
    assert (order["state"], order["reason"]) == ("cancelled", "ioc_remainder")


async def test_a_market_order_for_all_or_nothing_takes_nothing_when_there_is_too_little(
    people: tuple[Partner, Partner],
) -> None:
    seller, buyer = people
    await seller.order("sell", 520, 2)

    order = await placed(buyer, "buy", None, 5, time_in_force="fok")

    assert (order["filled_lots"], order["reason"]) == (0, "fok_unfilled")


async def test_a_stop_waits_unseen_until_the_price_is_reached_and_then_takes(people: tuple[Partner, Partner]) -> None:
    one, other = people
    stop = await placed(one, "sell", None, 3, stop_minor=490)
    book = (await other.get("/instruments/COIN/book")).json()
    await other.order("buy", 480, 3)

    await trade_at(one, other, 490)

    assert (stop["stop_minor"], stop["triggered"], stop["state"], stop["queue"]) == (490, False, "open", None)
    assert all(level["price_minor"] > CLEAN for level in book["asks"])
    after = await seen(one, stop["id"])
    assert (after["state"], after["filled_lots"]) == ("filled", 3)


async def test_a_stop_limit_rests_at_its_own_price_once_it_is_triggered(people: tuple[Partner, Partner]) -> None:
    one, other = people
    stop = await placed(one, "buy", 515, 3, stop_minor=510)

    await trade_at(one, other, 510)

    after = await seen(one, stop["id"])
    assert (after["triggered"], after["state"], after["price_minor"]) == (True, "open", 515)
    assert after["queue"] == {"orders_ahead": 0, "lots_ahead": 0}


async def test_an_iceberg_shows_only_a_part(people: tuple[Partner, Partner]) -> None:
    one, other = people
    order = await placed(one, "sell", 530, 50, display_lots=5)

    [level] = [
        each for each in (await other.get("/instruments/COIN/book")).json()["asks"] if each["price_minor"] == 530
    ]
    await other.order("buy", 530, 12, time_in_force="ioc")

    assert (order["display_lots"], order["shown_lots"], level["lots"]) == (5, 5, 5)
    after = await seen(one, order["id"])
    assert (after["open_lots"], after["filled_lots"], after["shown_lots"]) == (38, 12, 3)


async def test_all_or_none_and_a_smallest_fill_wait_until_enough_comes(people: tuple[Partner, Partner]) -> None:
    one, other = people
    whole = await placed(one, "sell", 520, 10, all_or_none=True)
    least = await placed(one, "sell", 521, 10, minimum_lots=4)

    await other.order("buy", 521, 3, time_in_force="ioc")
    untouched = [(await seen(one, each["id"]))["filled_lots"] for each in (whole, least)]
    await other.order("buy", 521, 14, time_in_force="ioc")

    assert (whole["all_or_none"], least["minimum_lots"], whole["queue"]) == (True, 4, None)
    assert untouched == [0, 0]
    assert [(await seen(one, each["id"]))["filled_lots"] for each in (whole, least)] == [10, 4]


async def test_a_pegged_order_follows_the_last_price_and_holds_the_most_it_may_cost(
    people: tuple[Partner, Partner],
) -> None:
    one, other = people
    order = await placed(one, "buy", None, 2, peg_offset_minor=-10)
    held = (await one.get("/wallet")).json()["held_minor"]

    await trade_at(one, other, 495)

    assert (order["price_minor"], order["peg_offset_minor"], order["market"]) == (490, -10, False)
    assert held >= 2 * 1_000
    assert (await seen(one, order["id"]))["price_minor"] == 485


async def test_a_falling_offer_tells_how_it_falls(people: tuple[Partner, Partner]) -> None:
    one, _ = people
    decay = {"floor_minor": 510, "step_minor": 10, "every_minutes": 60}

    order = await placed(one, "sell", 560, 5, decay=decay)

    assert {**order["decay"], "next_at": None} == {**decay, "start_minor": 560, "next_at": None}
    next_at = datetime.fromisoformat(order["decay"]["next_at"])
    assert next_at - datetime.fromisoformat(order["created_at"]) == timedelta(hours=1)


async def test_a_day_order_ends_with_the_carriers_day(people: tuple[Partner, Partner]) -> None:
    one, _ = people

    order = await placed(one, "sell", 550, time_in_force="day")

    expires_at = datetime.fromisoformat(order["expires_at"])
    assert order["time_in_force"] == "day"
    assert expires_at.astimezone(SHANGHAI).time().isoformat() == "00:00:00"
    assert timedelta() < expires_at - datetime.now(UTC) <= timedelta(days=1)


def test_the_carriers_day_ends_at_midnight_in_shanghai() -> None:
    before, after = datetime(2026, 11, 26, 15, 59, tzinfo=UTC), datetime(2026, 11, 26, 16, tzinfo=UTC)

    assert day_end(before) == after
    assert day_end(after) == after + timedelta(days=1)


async def test_a_good_till_date_order_keeps_its_date(people: tuple[Partner, Partner]) -> None:
    one, _ = people
    until = (datetime.now(UTC) + timedelta(hours=3)).replace(microsecond=0)

    order = await placed(one, "sell", 550, time_in_force="gtd", expires_at=until.isoformat())

    assert datetime.fromisoformat(order["expires_at"]) == until


async def test_a_post_only_order_gives_up_rather_than_take(people: tuple[Partner, Partner]) -> None:
    one, other = people
    await one.order("sell", 520)

    order = await placed(other, "buy", 520, post_only=True)

    assert (order["state"], order["reason"]) == ("cancelled", "post_only_would_cross")


@pytest.mark.parametrize(
    ("mode", "resting", "incoming"),
    [
        ("cancel_newest", ("open", 4), ("cancelled", 10)),
        ("cancel_oldest", ("cancelled", 4), ("open", 10)),
        ("cancel_both", ("cancelled", 4), ("cancelled", 10)),
        ("decrement", ("cancelled", 4), ("open", 6)),
    ],
)
async def test_ones_own_orders_never_trade_and_the_mode_says_which_gives_way(
    people: tuple[Partner, Partner], mode: str, resting: tuple[str, int], incoming: tuple[str, int]
) -> None:
    one, _ = people
    first = await placed(one, "sell", 520, 4)

    second = await placed(one, "buy", 520, 10, self_trade=mode)

    after = await seen(one, first["id"])
    assert (after["state"], after["lots"]) == resting
    assert (second["state"], second["lots"]) == incoming
    assert second["self_trade"] == mode
    assert after["filled_lots"] == second["filled_lots"] == 0


# A pair.


def a_pair(**changes: Any) -> dict[str, Any]:
    return {"symbol": "COIN", "side": "sell", "lots": 10, "price_minor": 540, "stop_minor": 470, **changes}


async def test_a_pair_holds_once_and_a_fill_of_one_ends_the_other(people: tuple[Partner, Partner]) -> None:
    one, other = people
    free = (await one.get("/wallet")).json()["coins_available"]

    pair = (await one.post("/orders/pair", a_pair())).json()
    held = free - (await one.get("/wallet")).json()["coins_available"]
    await other.order("buy", 540, 1, time_in_force="ioc")

    order, stop = [await seen(one, pair[name]["order_id"]) for name in ("order", "stop")]
    assert held == 10 * 100
    assert (order["linked_to"], stop["linked_to"]) == (stop["id"], order["id"])
    assert (order["state"], order["open_lots"]) == ("open", 9)
    assert (stop["state"], stop["reason"]) == ("cancelled", "linked")
    assert (await one.get("/wallet")).json()["coins_available"] == free - held


async def test_the_stop_of_a_pair_ends_the_order_that_waited(market: Market, people: tuple[Partner, Partner]) -> None:
    one, other = people
    third = await market.partner()
    pair = (await third.post("/orders/pair", a_pair(stop_price_minor=460))).json()
    await other.order("buy", 465, 10)

    await trade_at(one, other, 470)

    assert (await seen(third, pair["order"]["order_id"]))["reason"] == "linked"
    assert (await seen(third, pair["stop"]["order_id"]))["state"] == "filled"


async def test_cancelling_one_of_a_pair_cancels_both_and_gives_everything_back(people: tuple[Partner, Partner]) -> None:
    one, _ = people
    before = (await one.get("/wallet")).json()
    pair = (await one.post("/orders/pair", a_pair(side="buy", price_minor=450, stop_minor=530))).json()

    await one.send("DELETE", f"/orders/{pair['order']['order_id']}")

    assert (await seen(one, pair["stop"]["order_id"]))["state"] == "cancelled"
    assert (await one.get("/wallet")).json() == before


async def test_the_same_pair_under_the_same_key_is_one_pair(people: tuple[Partner, Partner]) -> None:
    one, _ = people
    key = a_key()

    answers = await asyncio.gather(*(one.post("/orders/pair", a_pair(), key) for _ in range(4)))
    other = await one.post("/orders/pair", a_pair(lots=9), key)

    assert len({answer.text for answer in answers}) == 1
    assert len((await one.get("/orders?status=open")).json()["items"]) == 2
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    outcome = (await one.get(f"/outcomes/{key}")).json()
    assert [each["order_id"] for each in outcome["orders"]] == [
        answers[0].json()[name]["order_id"] for name in ("stop", "order")
    ]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"stop_minor": 510}, "stop_reached"),
        ({"stop_minor": 1_001}, "outside_band"),
        ({"time_in_force": "gtd"}, "expiry_missing"),
        ({"lots": 100_000}, "insufficient_data"),
    ],
)
async def test_what_makes_no_pair_is_refused_and_nothing_is_held(
    people: tuple[Partner, Partner], changes: dict[str, Any], code: str
) -> None:
    one, _ = people
    before = (await one.get("/wallet")).json()

    refused = await one.post("/orders/pair", a_pair(**changes))

    assert (refused.status_code, refused.json()["code"]) == (422, code), refused.text
    assert (await one.get("/wallet")).json() == before


# Refusals.


@pytest.mark.parametrize(
    ("order", "code", "field"),
    [
        ({"display_lots": 10}, "bad_display", "display_lots"),
        ({"display_lots": 3, "time_in_force": "ioc"}, "must_rest", "time_in_force"),
        ({"display_lots": 3, "price_minor": None}, "must_rest", "time_in_force"),
        ({"minimum_lots": 11}, "bad_minimum", "minimum_lots"),
        ({"minimum_lots": 2, "all_or_none": True}, "condition_stands_alone", None),
        ({"all_or_none": True, "post_only": True}, "condition_stands_alone", None),
        ({"all_or_none": True, "time_in_force": "fok"}, "fill_or_kill_instead", "time_in_force"),
        ({"stop_minor": 1_001}, "outside_band", "stop_minor"),
        ({"stop_minor": 480, "post_only": True}, "stop_takes", "post_only"),
        ({"peg_offset_minor": 5}, "price_unexpected", "price"),
        ({"peg_offset_minor": 5, "price_minor": None, "stop_minor": 480}, "peg_stands_alone", "peg_offset_minor"),
        ({"decay": {"floor_minor": 600, "step_minor": 1, "every_minutes": 5}}, "bad_decay", "decay"),
        ({"decay": {"floor_minor": 1, "step_minor": 1, "every_minutes": 5}}, "outside_band", "decay"),
        ({"decay": FALLING, "side": "buy"}, "decay_is_for_sales", "decay"),
        ({"decay": FALLING, "stop_minor": 480}, "decay_stands_alone", "decay"),
        ({"time_in_force": "day", "expires_at": "2027-01-01T00:00:00Z"}, "expiry_unexpected", "expires_at"),
        ({"time_in_force": "gtd"}, "expiry_missing", "expires_at"),
        ({"post_only": True, "time_in_force": "ioc"}, "post_only_must_rest", "post_only"),
        ({"stop_minor": 510, "side": "buy", "time_in_force": "ioc", **BY_CARD}, "card_is_immediate", "payment"),
    ],
)  # fmt: skip
async def test_terms_that_make_no_sense_are_refused_with_their_field(
    people: tuple[Partner, Partner], order: dict[str, Any], code: str, field: str | None
) -> None:
    one, _ = people
    before = (await one.get("/wallet")).json()

    refused = await one.post("/orders", {"symbol": "COIN", "side": "sell", "lots": 10, "price_minor": 550, **order})

    told = refused.json()
    assert (refused.status_code, told["code"]) == (422, code), refused.text
    assert [each["field"] for each in told.get("errors", [])] == ([field] if field else [])
    assert (await one.get("/wallet")).json() == before


@pytest.mark.parametrize("state", ["pre_open", "auction", "paused"])
async def test_while_orders_are_collected_only_what_can_wait_is_taken(market: Market, state: State) -> None:
    one, other = await market.partner(), await market.partner()
    async with in_state(market, state):
        waits = await one.order("sell", 510, 3)
        crosses = await other.order("buy", 520, 3)
        refused = [
            await other.order("buy", 520, 3, time_in_force="ioc"),
            await other.order("buy", 520, 3, time_in_force="fok"),
            await other.post("/orders", {"symbol": "COIN", "side": "buy", "lots": 1}),
        ]

    assert [waits.json()["state"], crosses.json()["state"]] == ["open", "open"]
    assert {answer.json()["code"] for answer in refused} == {"market_collecting"}
    assert (await seen(one, waits.json()["order_id"]))["state"] == "filled"


@pytest.mark.parametrize(("state", "code"), [("halted", "market_halted"), ("cancel_only", "market_cancel_only")])
async def test_a_stopped_market_takes_nothing_and_still_cancels(market: Market, state: State, code: str) -> None:
    one = await market.partner()
    order = await placed(one, "sell", 560)
    async with in_state(market, state):
        refused = await one.order("sell", 560)
        ended = await one.send("DELETE", f"/orders/{order['id']}")

    assert (refused.status_code, refused.json()["code"]) == (422, code)
    assert ended.json()["state"] == "cancelled"


# Amending.


async def test_special_orders_are_amended_where_they_stand_still(people: tuple[Partner, Partner]) -> None:
    one, _ = people
    iceberg = await placed(one, "sell", 550, 20, display_lots=5)
    falling = await placed(one, "sell", 560, 5, decay={"floor_minor": 510, "step_minor": 10, "every_minutes": 60})

    smaller = await _amend(one, iceberg["id"], 550, 12)
    fixed = await _amend(one, falling["id"], 550, 5)

    assert (smaller.status_code, smaller.json()["open_lots"]) == (200, 12)
    assert (fixed.status_code, fixed.json()["code"]) == (422, "terms_are_fixed")


async def _amend(partner: Partner, order_id: str, price_minor: int, lots: int) -> Any:
    body = {"price_minor": price_minor, "lots": lots}
    return await partner.send("PATCH", f"/orders/{order_id}", json=body, headers={"Idempotency-Key": a_key()})


# Many at once.


def an_order(price_minor: int, lots: int = 1, side: str = "sell", **more: Any) -> dict[str, Any]:
    return {"symbol": "COIN", "side": side, "lots": lots, "price_minor": price_minor, **more}


async def test_a_batch_of_all_or_none_places_every_order(people: tuple[Partner, Partner]) -> None:
    one, _ = people
    orders = [an_order(550 + number) for number in range(30)]

    batch = (await one.post("/orders/batch", {"orders": orders, "all_or_none": True})).json()

    assert batch["accepted"] == 30
    assert [each["index"] for each in batch["results"]] == list(range(30))
    for number, each in enumerate(batch["results"][:3]):
        assert (await seen(one, each["order_id"]))["price_minor"] == 550 + number


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (an_order(5_000), "outside_band"),
        (an_order(550, 99_999), "insufficient_data"),
        (an_order(550, display_lots=9), "bad_display"),
        (an_order(550, symbol="NOTHING-HERE"), "unknown_instrument"),
        (an_order(550, side="buy", time_in_force="ioc", **BY_CARD), "card_pays_for_one"),
    ],
)
async def test_a_batch_of_all_or_none_leaves_nothing_behind_when_one_is_refused(
    people: tuple[Partner, Partner], bad: dict[str, Any], code: str
) -> None:
    one, _ = people
    before = (await one.get("/wallet")).json()

    refused = await one.post("/orders/batch", {"orders": [an_order(550), bad, an_order(551)], "all_or_none": True})

    assert refused.json()["code"] == code, refused.text
    assert (await one.get("/orders?status=open")).json()["items"] == []
    assert (await one.get("/wallet")).json() == before


async def test_the_order_that_is_wrong_is_named(people: tuple[Partner, Partner]) -> None:
    one, _ = people

    refused = await one.post("/orders/batch", {"orders": [an_order(550), an_order(5_000)], "all_or_none": True})

    assert refused.json()["detail"].startswith("Order 2 of 2: ")
    assert [each["field"] for each in refused.json()["errors"]] == ["orders[1].price"]


async def test_each_order_of_a_batch_on_its_own_tells_its_outcome(people: tuple[Partner, Partner]) -> None:
    one, other = people
    await other.order("buy", 505, 2)
    orders = [an_order(550), an_order(5_000), an_order(505, 2, time_in_force="ioc"), an_order(551, 1, display_lots=3)]

    batch = (await one.post("/orders/batch", {"orders": orders})).json()

    results = batch["results"]
    assert batch["accepted"] == 2
    assert [each["accepted"] for each in results] == [True, False, True, False]
    assert [(each["code"], each["field"]) for each in results] == [
        (None, None), ("outside_band", "price"), (None, None), ("bad_display", "display_lots"),
    ]  # fmt: skip
    assert [fill["price_minor"] for fill in results[2]["fills"]] == [505]
    assert [order["id"] for order in (await one.get("/orders?status=open")).json()["items"]] == [results[0]["order_id"]]


@pytest.mark.parametrize("all_or_none", [True, False])
async def test_the_same_batch_under_the_same_key_happens_once(
    people: tuple[Partner, Partner], *, all_or_none: bool
) -> None:
    one, _ = people
    key, body = a_key(), {"orders": [an_order(550), an_order(551)], "all_or_none": all_or_none}

    answers = [await one.post("/orders/batch", body, key) for _ in range(3)]
    other = await one.post("/orders/batch", {**body, "orders": [an_order(552), an_order(551)]}, key)

    assert len({answer.text for answer in answers}) == 1
    assert len((await one.get("/orders?status=open")).json()["items"]) == 2
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_five_hundred_orders_fit_into_a_batch_and_more_are_refused(market: Market) -> None:
    partner = await market.partner()
    orders = [an_order(2, side="buy") for _ in range(501)]

    too_many = await partner.post("/orders/batch", {"orders": orders, "all_or_none": True})
    batch = await partner.post("/orders/batch", {"orders": orders[:500], "all_or_none": True})
    ended = await partner.post("/orders/cancel-all", None)

    assert too_many.status_code == 400
    assert batch.json()["accepted"] == 500, batch.text[:300]
    assert ended.json() == {"orders": 500}


# Ending many.


async def test_the_orders_of_one_side_end_and_the_same_key_tells_the_same_number(
    people: tuple[Partner, Partner],
) -> None:
    one, _ = people
    for price in (550, 551):
        await one.order("sell", price)
    await one.order("buy", 450)
    headers = {"Idempotency-Key": a_key()}

    first = await one.send("DELETE", "/orders?symbol=COIN&side=sell", headers=headers)
    await one.order("sell", 550)
    again = await one.send("DELETE", "/orders?symbol=COIN&side=sell", headers=headers)
    other = await one.send("DELETE", "/orders?symbol=COIN&side=buy", headers=headers)

    assert first.json() == again.json() == {"orders": 2}
    assert other.json()["code"] == "idempotency_key_reused"
    assert [order["side"] for order in (await one.get("/orders?status=open")).json()["items"]] == ["sell", "buy"]
    assert (await one.send("DELETE", "/orders?symbol=COIN")).json() == {"orders": 2}


@pytest.mark.parametrize(
    ("query", "status"), [("", 400), ("?symbol=NOTHING", 404), ("?symbol=COIN&side=both", 400), ("?symbol=%00", 404)]
)
async def test_a_mass_cancel_must_say_of_which_market(market: Market, query: str, status: int) -> None:
    partner = await market.partner()

    assert (await partner.send("DELETE", f"/orders{query}")).status_code == status


async def test_the_place_in_the_queue_is_told_when_asked(people: tuple[Partner, Partner]) -> None:
    one, other = people
    await one.order("sell", 540, 3)
    await one.order("sell", 550, 4)
    order = await placed(other, "sell", 550, 1)

    [listed] = (await other.get("/orders?status=open&queue=true")).json()["items"]
    [plain] = (await other.get("/orders?status=open")).json()["items"]

    assert order["queue"] == listed["queue"] == {"orders_ahead": 2, "lots_ahead": 7}
    assert plain["queue"] is None


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"display_lots": 0}, "display_lots"),
        ({"minimum_lots": -1}, "minimum_lots"),
        ({"stop_minor": 0}, "stop_minor"),
        ({"peg_offset_minor": 1.0}, "peg_offset_minor"),
        ({"peg_offset_minor": 2**40}, "peg_offset_minor"),
        ({"decay": {"floor_minor": 2, "step_minor": 0, "every_minutes": 1}}, "decay.step_minor"),
        ({"decay": {"floor_minor": 2, "step_minor": 1, "every_minutes": 10_081}}, "decay.every_minutes"),
        ({"decay": {"floor_minor": 2, "step_minor": 1}}, "decay.every_minutes"),
        ({"all_or_none": "yes"}, "all_or_none"),
        ({"self_trade": "allow"}, "self_trade"),
        ({"time_in_force": "DAY"}, "time_in_force"),
    ],
)
async def test_a_wrong_field_of_a_special_order_is_named(market: Market, changes: dict[str, Any], field: str) -> None:
    partner = await market.partner()

    response = await partner.post("/orders", an_order(5, **changes))

    assert (response.status_code, response.json()["errors"][0]["field"]) == (400, field)
