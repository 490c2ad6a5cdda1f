"""What a group of the fee schedule is worth to a seller, from the operator's word to the trade."""

from datetime import UTC, datetime

import pytest

from market.fee_groups import set_group
from market.fee_tables import FeeRow
from tests.web.making import Market, Partner
from web.api import door

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


async def fee_of_a_sale(market: Market, seller: Partner) -> int:
    placed = (await seller.order("sell", 62, 2)).json()
    buyer = await market.partner()
    [fill] = (await buyer.order("buy", 62, 2, time_in_force="ioc")).json()["fills"]
    trade = (await seller.get(f"/trades/{fill['trade_id']}")).json()
    assert trade["order_id"] == placed["order_id"]
    return int(trade["fee_minor"])


async def test_a_seller_in_a_group_pays_the_groups_fee_until_it_is_out_again(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "KNOWN_SECONDS", 0)
    await market.empty_book()
    seller, settings = await market.partner(), market.venue.settings
    async with market.venue.sessions.begin() as session:
        session.add(FeeRow(effective_from=LONG_AGO, party_group="resellers", basis_points=0, minimum_minor=0))
    usual = await fee_of_a_sale(market, seller)

    await set_group(settings, "resellers", [], [seller.party_id])
    in_the_group = await fee_of_a_sale(market, seller)
    of_others = await fee_of_a_sale(market, await market.partner())
    await set_group(settings, None, [], [seller.party_id])

    assert (in_the_group, of_others, await fee_of_a_sale(market, seller)) == (0, usual, usual)
    assert usual > 0
