"""A top-up given back in parts: never more than came in, and what fails is the wallet's again."""

import pytest

from settlement import part_refunds
from settlement.card_tables import TopUpRefundRow
from settlement.funding import UnknownPayment
from settlement.ledger import InsufficientFunds
from settlement.tables import PaymentRow
from tests.payment.making import Http
from tests.settlement.making import NEXT, Balance, balance, imbalance
from tests.settlement.test_disputes import a_top_up
from tests.settlement.test_inbox import a_paid_top_up, an_event, told
from tests.settlement.world import World, until


async def _came(world: World, card: str = "pm_card_visa") -> PaymentRow:
    row, name = await a_paid_top_up(world, card)
    await told(world, [an_event("payment_intent.succeeded", name)])
    return row


async def _ask(world: World, row: PaymentRow, amount_minor: int, key: str = "") -> TopUpRefundRow:
    async with world.sessions.begin() as session:
        return await part_refunds.request(
            session, row.id, party_id=row.party_id, amount_minor=amount_minor, key=key or f"refund-{next(NEXT)}"
        )


async def _left(world: World, row: PaymentRow) -> int:
    async with world.sessions() as session:
        return await part_refunds.left_minor(session, row.id)


async def _refund(world: World, refund_id: int) -> TopUpRefundRow:
    async with world.sessions() as session:
        return await session.get_one(TopUpRefundRow, refund_id)


async def test_several_parts_come_to_the_whole_and_no_further(world: World) -> None:
    row = await _came(world)
    first = await _ask(world, row, 300, "one")
    again = await _ask(world, row, 300, "one")
    with pytest.raises(part_refunds.TooMuch):
        await _ask(world, row, 701)
    second = await _ask(world, row, 700)

    async with world.working():
        for refund in (first, second):
            await world.status("refund_part", refund.id, "done")

    assert again.id == first.id
    with pytest.raises(UnknownPayment):
        await _ask(world, row, 1)
    async with world.sessions() as session:
        payment = await session.get_one(PaymentRow, row.id)
        assert (payment.status, payment.refunded_minor) == ("refunded", 1000)
        assert await balance(session, row.account_id) == Balance(0, 0)
        assert await imbalance(session) == {}
    assert (await world.payments.payment(str(payment.provider_id))).refunded_minor == 1000


async def test_only_money_that_is_unspent_and_ones_own_goes_back(world: World) -> None:
    row = await a_top_up(world, spent=800)
    with pytest.raises(InsufficientFunds):
        await _ask(world, row, 201)
    async with world.sessions.begin() as session:
        with pytest.raises(UnknownPayment):
            await part_refunds.request(session, row.id, party_id=row.party_id + 1, amount_minor=1, key="theirs")


async def test_what_was_refunded_outside_is_not_refunded_again(world: World, provider_http: Http) -> None:
    row, name = await a_paid_top_up(world)
    refund = await provider_http.post("/v1/refunds", {"payment_intent": name, "amount": 400})
    await told(world, [an_event("refund.created", refund["id"])])

    assert await _left(world, row) == 600


async def test_a_refund_that_fails_after_it_was_taken_is_the_wallets_again(world: World, provider_http: Http) -> None:
    row = await _came(world, "pm_card_refundFail")
    refund = await _ask(world, row, 400)
    async with world.working():
        ended = await world.status("refund_part", refund.id, "done")
    await provider_http.advance(60)

    async def returned() -> bool:
        await told(
            world, [an_event(kind, str(ended.external_reference)) for kind in ("refund.failed", "refund.created")]
        )
        return (await _refund(world, refund.id)).status == "returned"

    await until(returned)

    assert await _left(world, row) == 1000
    async with world.sessions() as session:
        assert await balance(session, row.account_id) == Balance(1000, 0)
        assert await imbalance(session) == {}


async def test_a_refund_that_the_provider_refuses_leaves_the_wallet_as_it_was(world: World) -> None:
    row = await a_top_up(world)
    refund = await _ask(world, row, 400)

    async with world.working():
        await world.status("refund_part", refund.id, "refused")

    assert (await _refund(world, refund.id)).status == "refused"
    async with world.sessions() as session:
        assert await balance(session, row.account_id) == Balance(1000, 0)
        assert await imbalance(session) == {}
