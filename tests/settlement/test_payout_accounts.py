"""Bank accounts behind payouts: a change is noticed, waits a day, is told, and can be disowned."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from settlement import freezing, payout_accounts
from settlement.notice_tables import NoticeRow
from settlement.payment_tables import PayoutAccountRow
from settlement.payout_accounts import QUIET, NothingToDisown
from tests.payment.making import Http, fresh, onboard
from tests.settlement.making import NEXT
from tests.settlement.test_checkouts import told
from tests.settlement.world import World

OTHER_BANK = "000123456780"


async def an_account(world: World, http: Http) -> PayoutAccountRow:
    """A party's account with a bank behind it, as we have read it once."""
    account_id, party_id = await onboard(world.payments, http), next(NEXT)
    async with world.sessions.begin() as session:
        await payout_accounts.opened(session, account_id, party_id)
        row, is_changed = await payout_accounts.take_in(session, await world.payments.account(account_id))
    assert row is not None
    assert not is_changed, "naming a bank for the first time is no change"
    return row


async def change(world: World, http: Http, row: PayoutAccountRow, number: str = OTHER_BANK) -> None:
    """Somebody names another bank on the provider's page."""
    link = await world.payments.onboarding_link(row.id, "https://market.example/", "https://market.example/")
    await http.page("POST", link, {"holder": "李雷", "number": number})


async def notices(world: World, party_id: int) -> list[NoticeRow]:
    async with world.sessions() as session:
        return list(await session.scalars(select(NoticeRow).where(NoticeRow.party_id == party_id)))


async def test_a_changed_bank_keeps_payouts_back_for_a_day_and_is_told(world: World, provider_http: Http) -> None:
    row = await an_account(world, provider_http)
    await change(world, provider_http, row)

    assert await told(world, "account.external_account.created", "ba_any", row.id) == "bank account changed"

    async with world.sessions() as session:
        waiting = await payout_accounts.quiet_until(session, row.party_id)
    assert waiting is not None
    assert waiting.quiet_until is not None
    assert waiting.changed_at is not None
    assert waiting.quiet_until - waiting.changed_at == QUIET
    (notice,) = await notices(world, row.party_id)
    assert (notice.kind, notice.facts["last4"]) == ("bank_changed", OTHER_BANK[-4:])


async def test_the_same_bank_again_changes_nothing(world: World, provider_http: Http) -> None:
    row = await an_account(world, provider_http)
    await change(world, provider_http, row, "000123456789")

    assert await told(world, "account.updated", row.id, row.id) == "read"
    assert await notices(world, row.party_id) == []


async def test_news_of_one_change_in_any_number_and_order_is_one_change(world: World, provider_http: Http) -> None:
    row = await an_account(world, provider_http)
    await change(world, provider_http, row)

    kinds = ("account.updated", "account.external_account.created", "account.updated")
    outcomes = await asyncio.gather(*(told(world, kind, row.id, row.id) for kind in kinds))

    assert sorted(outcomes) == ["bank account changed", "read", "read"]
    assert len(await notices(world, row.party_id)) == 1


async def test_the_quiet_time_ends(world: World, provider_http: Http) -> None:
    row = await an_account(world, provider_http)
    await change(world, provider_http, row)
    await told(world, "account.updated", row.id, row.id)
    over = update(PayoutAccountRow).where(PayoutAccountRow.id == row.id)
    async with world.sessions.begin() as session:
        await session.execute(over.values(quiet_until=func.now() - timedelta(seconds=1)))

    async with world.sessions() as session:
        assert await payout_accounts.quiet_until(session, row.party_id) is None


async def test_a_change_that_the_member_disowns_freezes_them(world: World, provider_http: Http) -> None:
    row = await an_account(world, provider_http)
    with pytest.raises(NothingToDisown):
        async with world.sessions.begin() as session:
            await payout_accounts.disown(session, row.party_id)
    await change(world, provider_http, row)
    await told(world, "account.updated", row.id, row.id)

    async with world.sessions.begin() as session:
        await payout_accounts.disown(session, row.party_id)

    async with world.sessions() as session:
        assert await freezing.is_frozen(session, row.party_id) == payout_accounts.DISOWNED


async def test_an_account_of_nobodys_is_not_ours(world: World, provider_http: Http) -> None:
    stranger = await onboard(world.payments, provider_http)

    assert await told(world, "account.updated", fresh("acct"), stranger) == "not ours"


async def test_what_the_provider_still_wants_is_kept(world: World) -> None:
    account_id, party_id = await world.payments.open_account(fresh("seller"), "CN", fresh("key")), next(NEXT)
    async with world.sessions.begin() as session:
        await payout_accounts.opened(session, account_id, party_id)

    await told(world, "account.updated", account_id, account_id)

    async with world.sessions() as session:
        row = await payout_accounts.of_party(session, party_id)
    assert row is not None
    assert "external_account" in row.currently_due
    assert not row.payouts_enabled
