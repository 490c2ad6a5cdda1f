"""A session proves itself again before money leaves, before a large sale and before what can't be undone."""

import re
import time

import pytest

from market import notices, step_up
from market.parties import Member, member
from market.step_up import ANYTHING, PAYOUT, SALE, StepUpNeeded, demand, is_proved, proved
from tests.web.making import Market, Visitor, a_key

NOW = 1_700_000_000
PAYOUTS = "/wallet/payouts"
COIN = "/instruments/COIN"


def test_a_proof_holds_ten_minutes_for_its_own_class_of_actions() -> None:
    held = proved({}, PAYOUT, NOW)

    assert is_proved(held, PAYOUT, NOW + 599)
    assert not is_proved(held, PAYOUT, NOW + 600)
    assert not is_proved(held, SALE, NOW)


def test_signing_in_proves_every_class_and_what_has_run_out_is_forgotten() -> None:
    held = proved({}, ANYTHING, NOW)

    assert all(is_proved(held, action, NOW + 1) for action in (PAYOUT, SALE, step_up.DELETION))
    assert proved(held, SALE, NOW + 600) == {SALE: NOW + 1_200}


async def seller_of(visitor: Visitor) -> Member:
    party = await visitor.market.partner(kind="subscriber")
    await visitor.sign_in(party.party_id)
    async with visitor.market.venue.sessions() as session:
        return await member(session, party.party_id)


@pytest.mark.parametrize(("amount_minor", "asked"), [(19_999, False), (20_000, True)])
async def test_only_a_large_sale_asks_for_proof(market: Market, amount_minor: int, *, asked: bool) -> None:
    here = Member(1, 1, "subscriber", "", "en", proved_until={})

    if not asked:
        await demand(market.venue, here, SALE, amount_minor)
        return
    with pytest.raises(StepUpNeeded):
        await demand(market.venue, here, SALE, amount_minor)


async def test_a_key_or_a_schedule_has_nobody_to_ask(market: Market) -> None:
    await demand(market.venue, Member(1, 1, "partner", "", "en"), PAYOUT)

    sold = await (await market.partner()).order("sell", 1_000, lots=50)
    assert sold.status_code == 201


async def test_who_has_just_signed_in_is_not_asked_again_and_is_told_of_the_change(visitor: Visitor) -> None:
    seller = await seller_of(visitor)

    answer = await visitor.post(PAYOUTS, every="weekly", minimum="50")

    assert (answer.status_code, answer.headers["Location"]) == (303, PAYOUTS)
    async with visitor.market.venue.sessions() as session:
        (told,) = await notices.latest(session, seller.party_id, 10)
    assert told.kind == "payouts_changed"


async def test_a_change_of_payouts_leads_to_the_proof_and_back_with_what_was_typed(visitor: Visitor) -> None:
    await seller_of(visitor)
    await visitor.post("/tests/proof-runs-out")

    sent = await visitor.post(PAYOUTS, every="weekly", minimum="77.50")
    assert (sent.status_code, sent.headers["Location"]) == (303, f"/step-up?for=payout&next={PAYOUTS}")
    asked = await visitor.get(sent.headers["Location"])
    assert "check that it is you" in asked.text or "确认是您本人" in asked.text
    await visitor.post("/tests/prove/payout")
    back = await visitor.get(PAYOUTS)

    assert 'value="77.50"' in back.text
    assert re.search(r'value="weekly"\s+selected', back.text)
    assert (await visitor.post(PAYOUTS, every="weekly", minimum="77.50")).headers["Location"] == PAYOUTS
    assert 'value="77.50"' in (await visitor.get(PAYOUTS)).text


async def test_what_was_typed_comes_back_once_and_only_to_its_own_page(visitor: Visitor) -> None:
    await seller_of(visitor)
    await visitor.post("/tests/proof-runs-out")
    referer = {"Referer": f"{visitor.origin}/wallet"}
    sent = await visitor.post("/wallet/withdraw", headers=referer, amount="12.34", key="a1")
    assert sent.headers["Location"] == "/step-up?for=payout&next=/wallet"

    assert "12.34" not in (await visitor.get(COIN)).text
    assert "12.34" in (await visitor.get("/wallet")).text
    assert "12.34" not in (await visitor.get("/wallet")).text


async def test_a_large_sale_is_placed_only_after_the_proof_and_the_ticket_is_kept(visitor: Visitor) -> None:
    seller = await seller_of(visitor)
    await visitor.post("/tests/proof-runs-out")
    ticket = {"mode": "pro", "side": "sell", "lots": "33", "price": "9.87", "key": a_key().replace("-", "")}

    sent = await visitor.post(COIN, None, **ticket)
    assert sent.headers["Location"] == f"/step-up?for=sale&next={COIN}"
    assert await _orders(visitor, seller) == 0
    await visitor.post("/tests/prove/sale")
    back = await visitor.get(COIN)
    assert 'value="33"' in back.text
    assert 'value="9.87"' in back.text

    assert (await visitor.post(COIN, None, **ticket)).status_code == 303
    assert await _orders(visitor, seller) == 1


async def test_a_proof_of_one_class_is_none_of_another(visitor: Visitor) -> None:
    await seller_of(visitor)
    await visitor.post("/tests/proof-runs-out")
    await visitor.post("/tests/prove/sale")

    answer = await visitor.post(PAYOUTS, every="daily", minimum="50")

    assert answer.headers["Location"].startswith("/step-up?for=payout")


async def test_htmx_is_sent_to_the_proof_as_a_whole_page(visitor: Visitor) -> None:
    await seller_of(visitor)
    await visitor.post("/tests/proof-runs-out")
    htmx = {"HX-Request": "true", "HX-Current-URL": f"{visitor.origin}/wallet?drawn=x"}

    answer = await visitor.post("/wallet/withdraw", headers=htmx, amount="12.34", key="a1")

    assert answer.headers["HX-Redirect"] == "/step-up?for=payout&next=/wallet"


async def test_a_program_is_told_what_to_do(visitor: Visitor) -> None:
    await seller_of(visitor)
    await visitor.post("/tests/proof-runs-out")

    answer = await visitor.post(PAYOUTS, headers={"Accept": "application/json"}, every="daily", minimum="50")

    assert (answer.status_code, answer.json()["code"]) == (403, "step_up_needed")
    assert "confirm that it is you" in answer.json()["detail"]


async def test_no_proof_leads_out_of_this_site(visitor: Visitor) -> None:
    await seller_of(visitor)

    asked = await visitor.get("/step-up?for=payout&next=https://evil.example/")

    assert "evil.example" not in asked.text


async def test_nobody_proves_everything_by_asking_for_it(visitor: Visitor) -> None:
    await seller_of(visitor)

    asked = await visitor.get("/step-up?for=*&next=/wallet")

    assert 'name="for" value="other"' in asked.text


async def test_a_session_that_ended_keeps_what_was_typed_for_after_the_sign_in(visitor: Visitor) -> None:
    seller = await seller_of(visitor)
    async for key in visitor.market.venue.redis.scan_iter("surplusflow:session:*"):
        await visitor.market.venue.redis.delete(key)

    refused = await visitor.post(
        PAYOUTS, headers={"X-CSRFToken": visitor.token}, every="weekly", minimum="66.60", _csrf_token=visitor.token
    )
    assert refused.status_code == 401
    await visitor.sign_in(seller.party_id)

    assert 'value="66.60"' in (await visitor.get(PAYOUTS)).text


async def _orders(visitor: Visitor, seller: Member) -> int:
    found = await visitor.market.client.get("/orders", headers={"Accept": "text/html"})
    assert found.status_code == 200, seller
    return found.text.count('data-testid="order-row"')


def test_time_is_counted_in_whole_seconds() -> None:
    assert proved({}, SALE, time.time())[SALE] - int(time.time()) in {599, 600}
