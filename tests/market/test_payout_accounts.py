"""What can't be withdrawn: to a bank that changed lately, money off the phone bill, and what is disputed."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from market import payout_accounts, wallet
from market.kept_back import kept_back
from market.parties import Member
from market.refusals import Conflict, NotAllowed
from settlement.payout_accounts import of_party
from tests.market.test_wallet import a_seller
from tests.market.town import Town, a_key

OTHER_BANK = "000123456780"


async def name_a_bank(town: Town, member: Member, number: str) -> None:
    """Somebody names another bank account at the provider."""
    async with town.venue.sessions() as session:
        row = await of_party(session, member.party_id)
    assert row is not None
    bank = {"object": "bank_account", "account_number": number, "account_holder_name": "李雷"}
    form = {f"external_account[{name}]": value for name, value in bank.items()}
    await town.at_provider("POST", f"/v1/accounts/{row.id}", data=form)


async def billed(town: Town, member: Member, amount_minor: int, days_ago: int) -> None:
    """Money that came off the phone bill so many days ago."""
    async with town.venue.sessions.begin() as session:
        await session.execute(
            text("""
                insert into bill_payment (party_id, key, line_id, carrier, account_id, amount_minor, currency, status,
                    created_at)
                select :party, :key, 1, 'CMCC', min(id), :amount, 'CNY', 'charged', now() - make_interval(days => :days)
                from account where party_id = :party
            """),
            {"party": member.party_id, "key": a_key(), "amount": amount_minor, "days": days_ago},
        )


async def test_a_bank_that_changed_is_noticed_at_the_next_withdrawal_even_without_its_news(town: Town) -> None:
    member = await a_seller(town)
    assert (await wallet.withdraw(town.venue, member, 1_000, a_key())).status == "requested"
    await name_a_bank(town, member, OTHER_BANK)

    for _ in range(2):
        with pytest.raises(NotAllowed) as refused:
            await wallet.withdraw(town.venue, member, 1_000, a_key())
        assert refused.value.code == "bank_changed"

    told = "select count(*) from notice where kind = 'bank_changed' and party_id = :id"
    assert await town.value(told, id=member.party_id) == 1
    async with town.venue.sessions.begin() as session:
        await session.execute(text("update payout_account set quiet_until = now()"))
    assert (await wallet.withdraw(town.venue, member, 1_000, a_key())).status == "requested"


async def test_who_disowns_a_change_is_paid_nothing(town: Town) -> None:
    member = await a_seller(town)
    with pytest.raises(Conflict):
        await payout_accounts.disown(town.venue, member)
    await wallet.withdraw(town.venue, member, 1_000, a_key())
    await name_a_bank(town, member, OTHER_BANK)
    with pytest.raises(NotAllowed):
        await wallet.withdraw(town.venue, member, 1_000, a_key())

    await payout_accounts.disown(town.venue, member)

    async with town.venue.sessions.begin() as session:
        await session.execute(text("update payout_account set quiet_until = now()"))
    with pytest.raises(NotAllowed) as refused:
        await wallet.withdraw(town.venue, member, 1_000, a_key())
    assert refused.value.code == "frozen"


async def test_money_off_the_phone_bill_waits_before_it_is_withdrawn(town: Town) -> None:
    member = await a_seller(town, 10_000)
    await billed(town, member, 4_000, days_ago=6)
    await billed(town, member, 3_000, days_ago=8)

    with pytest.raises(NotAllowed) as refused:
        await wallet.withdraw(town.venue, member, 6_001, a_key())
    assert refused.value.code == "kept_back"
    assert (await wallet.withdraw(town.venue, member, 6_000, a_key())).status == "requested"


async def test_a_disputed_amount_is_kept_back_before_the_bank_takes_it(town: Town) -> None:
    member = await a_seller(town, 10_000)
    made = await wallet.top_up(town.venue, member, 2_500, "pm_card_visa", a_key())
    async with town.venue.sessions.begin() as session:
        await session.execute(
            text("""
                insert into clawback (provider_id, kind, payment_id, amount_minor, status)
                values ('dp_noticed', 'dispute', :payment, 2500, 'noticed')
            """),
            {"payment": made.id},
        )

    async with town.venue.sessions() as session:
        kept = await kept_back(session, member.party_id, datetime.now(UTC), 7)
    assert (kept.disputed_minor, kept.phone_bill_minor, kept.phone_bill_until) == (2_500, 0, None)
    with pytest.raises(NotAllowed) as refused:
        await wallet.withdraw(town.venue, member, 10_001, a_key())
    assert refused.value.code == "kept_back"


async def test_the_wait_ends_by_the_day_that_was_set(town: Town) -> None:
    member = await a_seller(town, 10_000)
    await billed(town, member, 4_000, days_ago=2)
    now = datetime.now(UTC)

    async with town.venue.sessions() as session:
        week = await kept_back(session, member.party_id, now, 7)
        day = await kept_back(session, member.party_id, now, 1)

    assert (week.minor, day.minor) == (4_000, 0)
    assert week.phone_bill_until is not None
    assert timedelta(days=4) < week.phone_bill_until - now < timedelta(days=6)
