"""The wallet: money comes in once, goes out once, and the statement adds up."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from market import wallet
from market.keys import check_key
from market.parties import Member
from market.refusals import BadInput, KeyReused, NotAllowed, NotFound, PaymentFailed, TooMany, Unavailable
from market.tables import PartyRow
from market.venue import Venue
from settlement.carriers.client import Carrier
from settlement.payments.port import Payments
from tests.market.town import Town, a_key

VISA = "pm_card_visa"
CHALLENGED = "pm_card_threeDSecure2Required"


@asynccontextmanager
async def provider_faults(town: Town, **faults: int) -> AsyncIterator[None]:
    await town.at_provider("PUT", "/_sim/faults", json=faults)
    try:
        yield
    finally:
        await town.at_provider("PUT", "/_sim/faults", json=dict.fromkeys(faults, 0))


@asynccontextmanager
async def without_provider(town: Town) -> AsyncIterator[Venue]:
    payments = Payments(replace(town.venue.settings.payment, api_base="http://127.0.0.1:1"))
    yield replace(town.venue, payments=payments)
    await payments.close()


async def answer_the_bank(url: str, answer: str) -> str:
    """Press a button on the bank's page, as the buyer's browser does; gives where it is sent back to."""
    async with httpx.AsyncClient(trust_env=False) as client:
        answered = await client.post(url, data={"answer": answer})
    assert answered.is_redirect, answered.text
    return answered.headers["location"]


async def a_seller(town: Town, amount_minor: int = 50_000, **line: Any) -> Member:
    """A member with money and with a bank account at the provider."""
    member = await town.a_member(**line)
    await town.put(member.party_id, "CNY", amount_minor)
    made = await wallet.withdraw(town.venue, member, 100, a_key())
    assert made.onboarding_url
    await with_bank_account(town, member)
    return member


async def with_bank_account(town: Town, member: Member) -> None:
    async with town.venue.sessions() as session:
        account = (await session.get_one(PartyRow, member.party_id)).payout_reference
    await town.at_provider(
        "POST",
        f"/v1/accounts/{account}",
        data={
            "external_account[object]": "bank_account",
            "external_account[account_number]": "000123456789",
            "external_account[account_holder_name]": "王小明",
        },
    )


async def money_of(town: Town, member: Member) -> tuple[int, int]:
    found = await wallet.balances(town.venue, member)
    return found.available_minor, found.held_minor


# Money in.


async def test_a_new_member_has_nothing(town: Town) -> None:
    member = await town.a_member()

    assert await wallet.balances(town.venue, member) == wallet.Wallet(0, 0, "CNY", 0, 0)
    assert await wallet.balances(town.venue, replace(member, party_id=10**12)) == wallet.Wallet(0, 0, "CNY", 0, 0)


async def test_a_top_up_is_charged_and_credited(town: Town) -> None:
    member = await town.a_member()

    made = await wallet.top_up(town.venue, member, 12_345, VISA, a_key())

    assert (made.status, made.amount_minor, made.action_url) == ("succeeded", 12_345, None)
    assert await money_of(town, member) == (12_345, 0)
    await town.assert_books_agree()


async def test_twenty_top_ups_with_one_key_credit_once(town: Town) -> None:
    member, key = await town.a_member(), a_key()

    made = await asyncio.gather(*(wallet.top_up(town.venue, member, 1_000, VISA, key) for _ in range(20)))
    settled = await wallet.top_up(town.venue, member, 1_000, VISA, key)

    assert len({each.id for each in made}) == 1
    assert {each.status for each in made} <= {"succeeded", "unknown"}
    assert settled.status == "succeeded"
    assert await money_of(town, member) == (1_000, 0)
    charged = await town.at_provider("GET", f"/v1/payment_intents?customer={await customer(town, member)}")
    assert [(each["amount"], each["status"]) for each in charged["data"]] == [(1_000, "succeeded")]
    await town.assert_books_agree()


async def customer(town: Town, member: Member) -> str:
    return str(await town.value("select customer_reference from party where id = :id", id=member.party_id))


@pytest.mark.parametrize(("amount", "method"), [(1_001, VISA), (1_000, "pm_card_mastercard")])
async def test_a_key_belongs_to_one_request(town: Town, amount: int, method: str) -> None:
    member, key = await town.a_member(), a_key()
    await wallet.top_up(town.venue, member, 1_000, VISA, key)

    with pytest.raises(KeyReused):
        await wallet.top_up(town.venue, member, amount, method, key)


async def test_a_key_is_each_members_own(town: Town) -> None:
    key = a_key()
    for member in (await town.a_member(), await town.a_member()):
        await wallet.top_up(town.venue, member, 1_000, VISA, key)

        assert await money_of(town, member) == (1_000, 0)


@pytest.mark.parametrize("amount", [-400, 0, 399, 500_001, 2**63])
async def test_a_top_up_has_a_smallest_and_a_largest_amount(town: Town, amount: int) -> None:
    with pytest.raises(BadInput) as caught:
        await wallet.top_up(town.venue, await town.a_member(), amount, VISA, a_key())

    assert caught.value.field == "amount"


@pytest.mark.parametrize("method", ["", "pm card", "4242424242424242 12/30", "x" * 101, "pm_card_visa\n"])
async def test_what_is_no_saved_card_is_refused(town: Town, method: str) -> None:
    with pytest.raises(BadInput) as caught:
        await wallet.top_up(town.venue, await town.a_member(), 1_000, method, a_key())

    assert caught.value.field == "payment_method"


@pytest.mark.parametrize("key", ["", "x" * 256, "a\nb", "a\x00b"])
def test_a_key_is_short_and_printable(key: str) -> None:
    with pytest.raises(BadInput):
        check_key(key)


async def test_all_declines_are_told_alike_and_with_every_repeat(town: Town) -> None:
    member, told = await town.a_member(), set()

    for method in (
        "pm_card_chargeDeclined",
        "pm_card_chargeDeclinedInsufficientFunds",
        "pm_card_visa_chargeDeclinedStolenCard",
    ):
        key = a_key()
        for _ in range(2):
            with pytest.raises(PaymentFailed) as caught:
                await wallet.top_up(town.venue, member, 1_000, method, key)
            told.add((caught.value.detail, caught.value.code))

    assert len(told) == 1
    assert await money_of(town, member) == (0, 0)


async def test_someone_who_tries_one_card_after_another_is_stopped(town: Town) -> None:
    member = await town.a_member()
    for _ in range(5):
        with pytest.raises(PaymentFailed):
            await wallet.top_up(town.venue, member, 1_000, "pm_card_chargeDeclined", a_key())

    with pytest.raises(TooMany, match="declined"):
        await wallet.top_up(town.venue, member, 1_000, VISA, a_key())


async def test_the_days_limit_holds_for_top_ups_sent_together(town: Town) -> None:
    member = await town.a_member()

    answers = await asyncio.gather(
        *(wallet.top_up(town.venue, member, 500_000, VISA, a_key()) for _ in range(7)), return_exceptions=True
    )

    assert sum(isinstance(answer, wallet.TopUp) for answer in answers) == 4
    assert sum(isinstance(answer, TooMany) for answer in answers) == 3


async def test_an_answer_that_is_lost_is_told_as_not_known_and_found_again(town: Town) -> None:
    member, key = await town.a_member(), a_key()
    await wallet.top_up(town.venue, member, 500, VISA, a_key())

    async with without_provider(town) as venue:
        made = await wallet.top_up(venue, member, 1_000, VISA, key)
    assert made.status == "unknown"
    assert await money_of(town, member) == (500, 0)

    assert (await wallet.top_up(town.venue, member, 1_000, VISA, key)).status == "unknown", "it may still arrive"
    async with town.venue.sessions.begin() as session:
        await session.execute(text("update instruction set last_sent_at = now() - interval '2 minutes'"))
    await wallet.top_up(town.venue, member, 1_000, VISA, key)
    async with town.venue.sessions.begin() as session:
        await session.execute(text("update instruction set not_before = now() where status = 'ready'"))
    assert (await wallet.top_up(town.venue, member, 1_000, VISA, key)).status == "succeeded"
    assert await money_of(town, member) == (1_500, 0)
    await town.assert_books_agree()


async def test_money_that_was_taken_although_the_answer_failed_is_credited_once_found(town: Town) -> None:
    member, key = await town.a_member(), a_key()
    await wallet.top_up(town.venue, member, 500, VISA, a_key())

    async with provider_faults(town, error_after_percent=100):
        made = await wallet.top_up(town.venue, member, 1_000, VISA, key)
    assert made.status == "unknown"

    charged = await town.at_provider("GET", f"/v1/payment_intents?customer={await customer(town, member)}")
    assert sorted(each["amount"] for each in charged["data"]) == [500, 1_000]
    assert await money_of(town, member) == (500, 0)


async def test_a_top_up_is_credited_after_the_banks_page_was_confirmed(town: Town) -> None:
    member, key = await town.a_member(), a_key()
    made = await wallet.top_up(town.venue, member, 1_000, CHALLENGED, key)
    assert made.status == "requires_action"
    assert made.action_url
    assert await money_of(town, member) == (0, 0)
    assert (await wallet.payment_returned(town.venue, member, made.id)).status == "requires_action"

    back = await answer_the_bank(made.action_url, "confirm")

    assert back.startswith(f"http://127.0.0.1:8000/payments/{made.id}/returned")
    answers = await asyncio.gather(*(wallet.payment_returned(town.venue, member, made.id) for _ in range(5)))
    assert {answer.status for answer in answers} == {"succeeded"}
    assert (await wallet.top_up(town.venue, member, 1_000, CHALLENGED, key)).status == "succeeded"
    assert await money_of(town, member) == (1_000, 0)


async def test_a_top_up_that_the_buyer_did_not_confirm_is_declined(town: Town) -> None:
    member = await town.a_member()
    made = await wallet.top_up(town.venue, member, 1_000, CHALLENGED, a_key())
    assert made.action_url

    await answer_the_bank(made.action_url, "fail")

    with pytest.raises(PaymentFailed):
        await wallet.payment_returned(town.venue, member, made.id)
    assert await money_of(town, member) == (0, 0)


async def test_nobody_asks_after_somebody_elses_payment(town: Town) -> None:
    made = await wallet.top_up(town.venue, await town.a_member(), 1_000, VISA, a_key())
    other = await town.a_member()

    for payment_id in (made.id, 10**9):
        with pytest.raises(NotFound):
            await wallet.payment_returned(town.venue, other, payment_id)


# Money out.


async def test_the_first_withdrawal_sends_the_member_to_name_a_bank_account(town: Town) -> None:
    member = await town.a_member()
    await town.put(member.party_id, "CNY", 10_000)

    first, second = [await wallet.withdraw(town.venue, member, 5_000, a_key()) for _ in range(2)]

    assert (first.id, first.status) == (None, "onboarding")
    assert first.onboarding_url
    assert second.onboarding_url
    assert await money_of(town, member) == (10_000, 0)
    accounts = "select count(*) from party where payout_reference is not null and id = :id"
    assert await town.value(accounts, id=member.party_id) == 1


async def test_a_withdrawal_sets_money_aside_and_instructs_the_transfer(town: Town) -> None:
    member = await a_seller(town)

    made = await wallet.withdraw(town.venue, member, 20_000, a_key())

    assert (made.status, made.onboarding_url) == ("requested", None)
    assert await money_of(town, member) == (30_000, 20_000)
    instruction = await town.rows(
        "select lane, status from instruction where kind = 'transfer' and subject_id = :id", id=made.id
    )
    assert [tuple(row) for row in instruction] == [("provider", "ready")]
    payload = await town.value("select payload from audit_link where chain = 'house' order by number desc limit 1")
    assert b'"action":"withdraw"' in payload
    await town.assert_books_agree()


async def test_twenty_withdrawals_with_one_key_set_aside_once(town: Town) -> None:
    member, key = await a_seller(town), a_key()

    made = await asyncio.gather(*(wallet.withdraw(town.venue, member, 2_000, key) for _ in range(20)))

    assert len({each.id for each in made}) == 1
    assert await money_of(town, member) == (48_000, 2_000)
    with pytest.raises(KeyReused):
        await wallet.withdraw(town.venue, member, 2_001, key)


async def test_withdrawals_sent_together_never_take_more_than_there_is(town: Town) -> None:
    member = await a_seller(town, 10_000)

    answers = await asyncio.gather(
        *(wallet.withdraw(town.venue, member, 4_000, a_key()) for _ in range(5)), return_exceptions=True
    )

    assert sum(isinstance(answer, wallet.Withdrawal) for answer in answers) == 2
    assert {answer.code for answer in answers if isinstance(answer, NotAllowed)} == {"insufficient_money"}
    assert await money_of(town, member) == (2_000, 8_000)


async def test_the_days_limit_of_withdrawals_holds(town: Town) -> None:
    member = await a_seller(town, 3_000_000)
    await wallet.withdraw(town.venue, member, 1_999_900, a_key())

    with pytest.raises(TooMany):
        await wallet.withdraw(town.venue, member, 200, a_key())
    assert (await wallet.withdraw(town.venue, member, 100, a_key())).status == "requested"


@pytest.mark.parametrize("amount", [-1, 0, 99])
async def test_a_withdrawal_has_a_smallest_amount(town: Town, amount: int) -> None:
    with pytest.raises(BadInput):
        await wallet.withdraw(town.venue, await town.a_member(), amount, a_key())


async def test_a_sim_card_that_was_changed_lately_stops_withdrawals(town: Town) -> None:
    changed = (datetime.now(UTC) - timedelta(hours=70)).isoformat()
    member = await town.a_member(sim_changed_at=changed)
    await town.put(member.party_id, "CNY", 10_000)

    with pytest.raises(NotAllowed) as caught:
        await wallet.withdraw(town.venue, member, 5_000, a_key())

    assert caught.value.code == "sim_changed"
    assert await money_of(town, member) == (10_000, 0)


async def test_a_carrier_that_cannot_vouch_stops_withdrawals(town: Town) -> None:
    member = await a_seller(town)
    gone = Carrier(replace(town.venue.carriers["CMCC"].profile, base_url="http://127.0.0.1:1"))

    for carriers in ({"CMCC": gone}, {}):
        with pytest.raises(Unavailable):
            await wallet.withdraw(replace(town.venue, carriers=carriers), member, 5_000, a_key())
    await gone.aclose()


async def test_a_provider_that_is_away_stops_withdrawals_before_anything_is_set_aside(town: Town) -> None:
    member = await a_seller(town)

    async with without_provider(town) as venue:
        with pytest.raises(Unavailable):
            await wallet.withdraw(venue, member, 5_000, a_key())

    assert await money_of(town, member) == (50_000, 0)


async def test_a_member_without_a_line_cannot_withdraw(town: Town) -> None:
    async with town.venue.sessions.begin() as session:
        party = PartyRow(kind="partner", name="A company", group_id=0)
        session.add(party)

    with pytest.raises(NotAllowed):
        await wallet.withdraw(town.venue, Member(party.id, 0, "partner", "A company", "zh_CN"), 5_000, a_key())


# The statement.


async def test_the_statement_tells_each_movement_and_the_balance_after_it(town: Town) -> None:
    member = await a_seller(town, 10_000)
    made = await wallet.top_up(town.venue, member, 1_000, VISA, a_key())
    drawn = await wallet.withdraw(town.venue, member, 4_000, a_key())

    async with town.venue.sessions() as session:
        entries = await wallet.statement(session, member, None, 10)

    assert [(each.kind, each.available_change, each.held_change, each.balance_after) for each in entries] == [
        ("payout_held", -4_000, 4_000, 11_000),
        ("topped_up", 1_000, 0, 11_000),
        ("topped_up", 10_000, 0, 10_000),
    ]
    assert [each.reference for each in entries[:2]] == [f"wdr_{drawn.id}", f"pay_{made.id}"]


async def test_the_pages_of_a_statement_join_without_a_gap(town: Town) -> None:
    member = await town.a_member()
    for amount in (100, 200, 300, 400, 500):
        await town.put(member.party_id, "CNY", amount)

    async with town.venue.sessions() as session:
        whole = await wallet.statement(session, member, None, 100)
        pages, before = [], None
        while page := await wallet.statement(session, member, before, 2):
            pages += page
            before = page[-1].id

    assert pages == whole
    assert [each.balance_after for each in whole] == [1_500, 1_000, 600, 300, 100]


async def test_a_statement_shows_nothing_of_others_and_no_coins(town: Town) -> None:
    member, other = await town.a_member(), await town.a_member()
    await town.put(other.party_id, "CNY", 100)
    await town.put(member.party_id, "COIN", 100)

    async with town.venue.sessions() as session:
        (foreign,) = await wallet.statement(session, other, None, 10)

        assert await wallet.statement(session, member, None, 10) == []
        assert await wallet.statement(session, member, foreign.id, 10) == []
