"""A member sends a part of a top-up back; a frozen member neither does that nor trades nor withdraws."""

import pytest

from market import refunds, trading, wallet
from market.refusals import BadInput, KeyReused, NotAllowed, NotFound
from market.trading import OrderRequest
from settlement import freezing
from tests.market.test_wallet import VISA, money_of
from tests.market.town import Town, a_key


async def test_a_part_of_a_top_up_is_set_aside_for_its_card_once(town: Town) -> None:
    member, key = await town.a_member(), a_key()
    made = await wallet.top_up(town.venue, member, 1_000, VISA, a_key())

    first = await refunds.refund_part(town.venue, member, made.id, 400, key)
    again = await refunds.refund_part(town.venue, member, made.id, 400, key)

    assert first.id == again.id
    assert await money_of(town, member) == (600, 400)
    with pytest.raises(KeyReused):
        await refunds.refund_part(town.venue, member, made.id, 401, key)
    with pytest.raises(BadInput):
        await refunds.refund_part(town.venue, member, made.id, 601, a_key())
    with pytest.raises(NotFound):
        await refunds.refund_part(town.venue, await town.a_member(), made.id, 1, a_key())


async def test_a_frozen_member_is_told_why_nothing_leaves_and_nothing_is_bought(town: Town) -> None:
    member = await town.a_member()
    made = await wallet.top_up(town.venue, member, 1_000, VISA, a_key())
    async with town.venue.sessions.begin() as session:
        await freezing.freeze(session, member.party_id, freezing.DISPUTED, "because", "dp_1")
    order = OrderRequest(symbol="CMCC-CN-3001", side="buy", lots=1, price_minor=100, payment="card",
                         payment_method=VISA, time_in_force="ioc")  # fmt: skip

    with pytest.raises(NotAllowed, match="disputed") as placing:
        await trading.place(town.venue, member, order, a_key())
    with pytest.raises(NotAllowed, match="disputed"):
        await wallet.withdraw(town.venue, member, 100, a_key())
    with pytest.raises(NotAllowed, match="disputed"):
        await refunds.refund_part(town.venue, member, made.id, 100, a_key())

    assert placing.value.code == "frozen"
    assert await town.value("select count(*) from payment where kind = 'card_hold' and party_id = :id",
                            id=member.party_id) == 0  # fmt: skip
    assert await money_of(town, member) == (1_000, 0)
