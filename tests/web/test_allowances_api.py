"""What a new member may trade holds for orders one by one, together, and made larger afterwards."""

import pytest

from tests.web.making import Market, Partner, a_key

PRICE_MINOR, LOTS = 500, 400
"""As much as a first order may come to."""


@pytest.fixture
async def member(market: Market) -> Partner:
    await market.empty_book()
    return await market.partner(kind="subscriber")


async def test_a_first_order_has_a_cap_and_a_partner_has_none(market: Market, member: Partner) -> None:
    refused = await member.order("buy", PRICE_MINOR, LOTS + 1)
    assert (refused.status_code, refused.json()["code"]) == (422, "allowance")
    assert refused.json()["errors"][0]["field"] == "lots"

    assert (await member.order("buy", PRICE_MINOR, LOTS)).status_code == 201
    assert (await (await market.partner()).order("buy", PRICE_MINOR, LOTS + 1)).status_code == 201


async def test_amending_is_no_way_around(member: Partner) -> None:
    placed = (await member.order("buy", PRICE_MINOR, LOTS)).json()
    path, key = f"/orders/{placed['order_id']}", {"Idempotency-Key": a_key()}

    larger = await member.send("PATCH", path, json={"price_minor": PRICE_MINOR, "lots": 2_000}, headers=key)
    assert (larger.status_code, larger.json()["code"]) == (422, "allowance")

    smaller = await member.send("PATCH", path, json={"price_minor": PRICE_MINOR, "lots": 10}, headers=key)
    assert smaller.status_code == 200


async def test_several_orders_at_once_count_together(member: Partner) -> None:
    half = {"symbol": "COIN", "side": "buy", "lots": 201, "price_minor": PRICE_MINOR}

    refused = await member.post("/orders/batch", {"orders": [half, half], "all_or_none": True})

    assert (refused.status_code, refused.json()["code"]) == (422, "allowance")
