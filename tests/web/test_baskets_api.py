"""Baskets and swaps through the API: what they answer, what they refuse, and whose they are."""

from typing import Any

import pytest

from tests.web.making import Market, Partner, a_key

COIN, DATA = "COIN", "CMCC-CN-3001"


async def rest(market: Market, side: str, price_minor: int, lots: int = 1) -> Partner:
    """Somebody's order in the book of coins."""
    partner = await market.partner()
    assert (await partner.order(side, price_minor, lots)).status_code == 201
    return partner


def basket(*legs: dict[str, Any], limit_minor: int = 1_000, **more: Any) -> dict[str, Any]:
    return {"legs": list(legs), "limit_minor": limit_minor, **more}


def leg(symbol: str = COIN, lots: int = 2, **more: Any) -> dict[str, Any]:
    return {"symbol": symbol, "lots": lots, **more}


async def test_a_basket_tells_what_each_leg_got_and_is_found_again(market: Market) -> None:
    await rest(market, "sell", 31, lots=2)
    partner, key = await market.partner(), a_key()

    first = await partner.post("/baskets", basket(leg(limit_price_minor=31), limit_minor=62), key)
    again = await partner.post("/baskets", basket(leg(limit_price_minor=31), limit_minor=62), key)
    found = await partner.get(f"/baskets/{first.json()['id']}")

    assert first.status_code == 201
    told = first.json()
    assert (told["state"], told["kind"], told["net_minor"]) == ("committed", "basket", 62)
    (bought,) = told["legs"]
    assert (bought["filled_lots"], bought["net_minor"], bought["code"]) == (2, 62, None)
    assert [(fill["price_minor"], fill["lots"]) for fill in bought["fills"]] == [(31, 2)]
    assert again.json() == found.json() == told
    order = await partner.get(f"/orders/{bought['order_ids'][0]}")
    assert (order.json()["state"], order.json()["time_in_force"]) == ("filled", "fok")


async def test_a_basket_is_its_partys_own(market: Market) -> None:
    await rest(market, "sell", 32, lots=2)
    partner, other = await market.partner(), await market.partner()
    placed = await partner.post("/baskets", basket(leg(limit_price_minor=32)))

    assert (await other.get(f"/baskets/{placed.json()['id']}")).status_code == 404
    assert (await other.get("/baskets/bsk_0")).status_code == 404


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (basket(leg(limit_price_minor=2), limit_minor=1_000), "not_offered"),
        (basket(leg(), limit_minor=1), "over_limit"),
        (basket(leg(), leg(DATA)), "no_line"),
    ],
)
async def test_a_basket_that_cannot_be_whole_does_nothing_and_says_why(
    market: Market, body: dict[str, Any], code: str
) -> None:
    await rest(market, "sell", 33, lots=2)
    partner = await market.partner()

    refused = await partner.post("/baskets", body)

    assert refused.status_code == 422
    assert refused.headers["content-type"].startswith("application/problem+json")
    assert refused.json()["code"] == code
    assert (await partner.get("/wallet")).json()["held_minor"] == 0
    assert (await partner.get("/trades")).json()["items"] == []


async def test_a_best_effort_buys_what_the_limit_allows_and_says_what_is_missing(market: Market) -> None:
    await rest(market, "sell", 30, lots=3)
    partner = await market.partner()

    placed = await partner.post("/baskets", basket(leg(lots=3), limit_minor=65, all_or_none=False))

    (bought,) = placed.json()["legs"]
    assert (bought["filled_lots"], bought["code"]) == (2, "over_limit")
    assert (await partner.get("/wallet")).json()["held_minor"] == 60


async def test_the_same_key_with_another_basket_is_refused(market: Market) -> None:
    await rest(market, "sell", 29, lots=4)
    partner, key = await market.partner(), a_key()
    await partner.post("/baskets", basket(leg(limit_price_minor=29)), key)

    other = await partner.post("/baskets", basket(leg(limit_price_minor=29, lots=1)), key)
    order = await partner.order("buy", 29, key=key)

    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert (order.status_code, order.json()["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize(
    "body",
    [
        basket(),
        basket(*[leg()] * 21),
        basket(leg(), leg()),
        basket(leg(lots=0)),
        basket(leg(), limit_minor=0),
        basket(leg(), limit_minor=10**13),
        basket({**leg(), "side": "sell"}),
        basket(leg(line_id="7")),
        {"legs": [leg()]},
    ],
)
async def test_what_makes_no_basket_is_bad_input(market: Market, body: dict[str, Any]) -> None:
    partner = await market.partner()

    assert (await partner.post("/baskets", body)).status_code == 400


@pytest.mark.parametrize("limit", [{}, {"pay_at_most_minor": 5, "get_at_least_minor": 5}, {"pay_at_most_minor": -1}])
async def test_a_swap_has_one_limit(market: Market, limit: dict[str, int]) -> None:
    partner = await market.partner()

    assert (await partner.post("/swaps", {"sell": leg(), "buy": leg(DATA), **limit})).status_code == 400


async def test_a_swap_that_finds_nothing_gives_back_what_it_set_aside(market: Market) -> None:
    await rest(market, "buy", 20, lots=2)
    partner = await market.partner()

    refused = await partner.post("/swaps", {"sell": leg(), "buy": leg(DATA), "get_at_least_minor": 1})

    assert (refused.status_code, refused.json()["code"]) == (422, "no_line")
    assert (await partner.get("/wallet")).json()["coins_held"] == 0
