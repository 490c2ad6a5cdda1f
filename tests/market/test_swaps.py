"""Swaps and bulk purchases with the carriers around them: data is set aside first, and given back if nothing comes."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from market import baskets, trading
from market.baskets import BasketLeg, BasketRequest
from market.parties import Member
from market.partners import BulkLeg, bulk_buy
from market.refusals import KeyReused, NotAllowed
from market.trading import OrderRequest
from settlement.failpoints import VARIABLE, Failed
from tests.engine.factories import running_engine
from tests.market.test_partners import a_partner, a_seller
from tests.market.town import Town, a_key

CMCC, CTCC, COIN = "CMCC-CN-3001", "CTCC-CN-3001", "COIN"


@pytest.fixture(autouse=True)
async def _engine(town: Town) -> AsyncIterator[None]:
    async with running_engine(town.venue.settings.database_dsn, town.venue.redis):
        yield


async def a_buyer_of_data(town: Town, symbol: str, carrier: str, lots: int, price_minor: int) -> Member:
    buyer = await town.a_member(carrier)
    await town.put(buyer.party_id, "CNY", 100_000)
    wanted = OrderRequest(symbol=symbol, side="buy", lots=lots, price_minor=price_minor)
    await trading.place(town.venue, buyer, wanted, a_key())
    return buyer


def a_swap(limit_minor: int, *, sold: int = 4, bought: int = 2) -> BasketRequest:
    legs = (BasketLeg(CMCC, "sell", sold), BasketLeg(COIN, "buy", bought))
    return BasketRequest(kind="swap", legs=legs, limit_minor=limit_minor)


async def clear_books(town: Town) -> None:
    """What other tests left in the books must not trade with this one."""
    rows = await town.rows("select id, party_id, group_id from orders where state = 'open'")
    for row in rows:
        member = Member(row.party_id, row.group_id, "subscriber", "Somebody", "zh_CN")
        await trading.cancel(town.venue, member, row.id, a_key())


async def custody_of(town: Town, member: Member) -> str:
    status: str = await town.value("select status from custody where party_id = :party", party=member.party_id)
    return status


async def test_a_swap_sells_reserved_data_and_buys_at_once(town: Town) -> None:
    await clear_books(town)
    await a_buyer_of_data(town, CMCC, "CMCC", 4, 200)
    holder, member = await town.a_member(), await town.a_member()
    await town.put(holder.party_id, "COIN", 1_000)
    await town.put(member.party_id, "CNY", 1_000)
    offer = OrderRequest(symbol=COIN, side="sell", lots=2, price_minor=300)
    await trading.place(town.venue, holder, offer, a_key())

    done = await baskets.place(town.venue, member, a_swap(-160), a_key())

    assert (done.state, done.net_minor) == ("committed", -160)  # 800 less a fee of 40 got, 600 paid
    assert [leg.filled for leg in done.legs] == [4, 2]
    assert await custody_of(town, member) == "reserved"


async def test_data_is_given_back_when_the_swap_does_not_happen(town: Town) -> None:
    await clear_books(town)
    await a_buyer_of_data(town, CMCC, "CMCC", 4, 200)
    member, key = await town.a_member(), a_key()
    await town.put(member.party_id, "CNY", 1_000)

    for _ in range(2):  # asking again is refused again
        with pytest.raises(NotAllowed) as refused:
            await baskets.place(town.venue, member, a_swap(0), key)

        assert refused.value.code == "not_offered"
        assert refused.value.detail.startswith("Leg 2 of 2: ")
    assert await custody_of(town, member) == "releasing"
    assert await town.value("select count(*) from trade where seller_id = :party", party=member.party_id) == 0
    assert (
        await town.value(
            "select sum(available + held) from account join asset on asset.id = asset_id"
            " where party_id = :party and asset.kind = 'data'",
            party=member.party_id,
        )
        == 0
    )


async def test_who_asks_again_after_a_death_gets_the_basket_once(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    await clear_books(town)
    await a_buyer_of_data(town, CMCC, "CMCC", 8, 200)
    holder, member, key = await town.a_member(), await town.a_member(), a_key()
    await town.put(holder.party_id, "COIN", 1_000)
    await town.put(member.party_id, "CNY", 1_000)
    offer = OrderRequest(symbol=COIN, side="sell", lots=4, price_minor=300)
    await trading.place(town.venue, holder, offer, a_key())

    monkeypatch.setenv(VARIABLE, "basket.written:raise")
    with pytest.raises(Failed):
        await baskets.place(town.venue, member, a_swap(-160), key)
    monkeypatch.delenv(VARIABLE)
    many = await asyncio.gather(*(baskets.place(town.venue, member, a_swap(-160), key) for _ in range(5)))

    assert {each.id for each in many} == {many[0].id}
    assert await town.value("select count(*) from trade where buyer_id = :party", party=member.party_id) == 1
    with pytest.raises(KeyReused):
        await baskets.place(town.venue, member, a_swap(-159), key)


async def test_a_bulk_purchase_can_be_all_or_none(town: Town) -> None:
    await clear_books(town)
    await a_seller(town, "CMCC", CMCC, 5, 300)
    await a_seller(town, "CTCC", CTCC, 5, 310)
    partner = await a_partner(town, "CMCC", "CTCC")

    with pytest.raises(NotAllowed):
        await bulk_buy(town.venue, partner, [BulkLeg(CMCC, 5, 300), BulkLeg(CTCC, 6, 310)], a_key(), all_or_none=True)
    assert await town.value("select count(*) from trade where buyer_id = :party", party=partner.party_id) == 0
    bought = await bulk_buy(
        town.venue, partner, [BulkLeg(CMCC, 5, 300), BulkLeg(CTCC, 5, 310)], a_key(), all_or_none=True
    )

    assert [(leg.accepted, leg.filled) for leg in bought] == [(True, 5), (True, 5)]
    held = "select held from account where party_id = :party and kind = 'wallet' and asset_id = 1"
    assert await town.value(held, party=partner.party_id) == 5 * 300 + 5 * 310
