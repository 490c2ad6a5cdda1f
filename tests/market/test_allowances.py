"""How much a member may trade: less while the account is new, more with a checked name; minors do not sell."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from market import trading
from market.allowances import Account, Level, Terms, allowance, born_on, comes_of_age, share_percent
from market.parties import Member
from market.refusals import NotAllowed
from market.tables import PartyRow
from market.trading import OrderRequest
from market.trust import trust_of
from market.trust_tables import IdentityRow
from tests.market.town import Town, a_key

TERMS = Terms(month_minor=100_000, first_minor=10_000)
COIN = "COIN"

ages = st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=4_000))
levels = st.sampled_from(Level)
amounts = st.integers(0, 10**9)


@pytest.mark.parametrize(("days", "percent"), [(0, 25), (29, 25), (30, 50), (59, 50), (60, 100), (4_000, 100)])
def test_a_share_grows_with_the_age_of_the_account(days: int, percent: int) -> None:
    assert share_percent(timedelta(days=days)) == percent


accounts = st.builds(Account, ages, levels, st.booleans(), amounts)
terms = st.builds(Terms, st.integers(1, 10**9), st.integers(1, 10**9))


@given(accounts, terms)
def test_no_order_takes_more_than_is_left_and_nothing_is_left_beyond_the_month(account: Account, terms: Terms) -> None:
    found = allowance(account, terms)

    assert 0 <= found.once_minor <= found.left_minor <= found.month_minor
    assert found.left_minor + account.used_minor >= found.month_minor
    assert found.takes(found.once_minor)
    assert not found.takes(found.once_minor + 1)
    assert found.is_first == (found.once_minor < found.left_minor)


@given(ages, ages, levels, levels, amounts)
def test_an_older_or_better_known_account_may_never_trade_less(
    age: timedelta, more: timedelta, level: Level, other: Level, used: int
) -> None:
    lesser, greater = sorted((level, other))

    before = allowance(Account(age, lesser, has_traded=True, used_minor=used), TERMS)
    after = allowance(Account(age + more, greater, has_traded=True, used_minor=used), TERMS)

    assert after.once_minor >= before.once_minor


def test_the_first_trade_has_a_cap_that_a_checked_name_lifts() -> None:
    new = timedelta(days=1)

    by_phone = allowance(Account(new, Level.PHONE, has_traded=False, used_minor=0), TERMS)
    by_name = allowance(Account(new, Level.DOCUMENT, has_traded=False, used_minor=0), TERMS)

    assert (by_phone.once_minor, by_phone.is_first) == (10_000, True)
    assert (by_name.once_minor, by_name.is_first) == (125_000, False)


def test_nobody_may_only_look() -> None:
    found = allowance(Account(timedelta(days=900), Level.NOBODY, has_traded=True, used_minor=0), TERMS)

    assert not found.takes(1)


@pytest.mark.parametrize(
    ("document", "born"),
    [
        ("440101199001011234", date(1990, 1, 1)),
        ("44010120080229123X", date(2008, 2, 29)),
        ("440101199002301234", None),
        ("E12345678", None),
        ("４４０１０１１９９００１０１１２３４", None),
    ],
)
def test_a_residents_number_tells_the_birth_date(document: str, born: date | None) -> None:
    assert born_on(document) == born


@given(st.dates(min_value=date(1900, 1, 1), max_value=date(2100, 1, 1)))
def test_everybody_comes_of_age_eighteen_years_after_birth(born: date) -> None:
    grown_up = comes_of_age(born)

    assert grown_up.year == born.year + 18
    assert grown_up - born >= timedelta(days=18 * 365)


# In the market.


async def of_age(town: Town, member: Member, days: int) -> None:
    created_at = datetime.now(UTC) - timedelta(days=days)
    async with town.venue.sessions.begin() as session:
        await session.execute(update(PartyRow).where(PartyRow.id == member.party_id).values(created_at=created_at))


async def known_by_name(town: Town, member: Member, minor_until: date | None = None) -> None:
    line_id = await town.value("select id from line where party_id = :party", party=member.party_id)
    async with town.venue.sessions.begin() as session:
        session.add(
            IdentityRow(
                party_id=member.party_id, line_id=line_id, document_hash=b"-", minor_until=minor_until
            )
        )  # fmt: skip


def a_bid(lots: int, price_minor: int = 1_000) -> OrderRequest:
    return OrderRequest(symbol=COIN, side="buy", lots=lots, price_minor=price_minor)


async def refusal_of(town: Town, member: Member, request: OrderRequest) -> NotAllowed:
    with pytest.raises(NotAllowed) as refused:
        await trading.place(town.venue, member, request, a_key())
    return refused.value


async def test_a_new_members_first_order_has_a_cap_and_the_refusal_says_what_helps(town: Town) -> None:
    member = await town.a_member()

    refused = await refusal_of(town, member, a_bid(201))

    assert (refused.code, refused.field) == ("allowance", "lots")
    assert (
        refused.detail
        == "Your first trade may be 2,000.00 yuan at most. Have your name checked in the settings for more."
    )


async def test_a_checked_name_has_more_and_no_cap_of_the_first_trade(town: Town) -> None:
    member = await town.a_member()
    await known_by_name(town, member)
    async with town.venue.sessions() as session:
        whole = (await trust_of(session, town.venue.settings, member)).allowance
    assert (whole.month_minor, whole.share_percent) == (2_500_000, 25)

    refused = await refusal_of(town, member, a_bid(2_501))

    assert "25,000.00 yuan more" in refused.detail


@pytest.mark.parametrize(("days", "lots"), [(45, 1_001), (61, 2_001)])
async def test_the_limit_relaxes_as_the_account_grows_older(town: Town, days: int, lots: int) -> None:
    member = await town.a_member()
    await of_age(town, member, days)
    async with town.venue.sessions() as session:
        found = (await trust_of(session, town.venue.settings, member)).allowance

    assert found.left_minor == (lots - 1) * 1_000


async def test_a_minor_may_receive_but_not_sell_until_the_birthday(town: Town) -> None:
    member, today = await town.a_member(), datetime.now(UTC).date()
    await known_by_name(town, member, today + timedelta(days=400))
    sale = OrderRequest(symbol=COIN, side="sell", lots=1, price_minor=300)

    refused = await refusal_of(town, member, sale)
    assert refused.code == "minor"
    assert "not sell" in refused.detail
    async with town.venue.sessions.begin() as session:
        await session.execute(
            update(IdentityRow).where(IdentityRow.party_id == member.party_id).values(minor_until=today)
        )
        assert not (await trust_of(session, town.venue.settings, member)).is_minor
