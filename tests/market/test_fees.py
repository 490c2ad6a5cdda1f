"""The fee schedule: the most specific entry in force wins, it is dated, and nothing in it is ever changed."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market import fee_setting, fees
from market.accounts_admin import create_partner
from market.engine.commands import FeeTerms
from market.fee_groups import set_group
from market.fee_tables import FeeRow
from market.fees import Fee, Seller, terms_in_force
from market.pricing import fee_minor
from market.refusals import BadInput
from tests.market.town import Town, a_number

NOW = datetime(2029, 5, 1, tzinfo=UTC)
EARLIER, LATER = NOW - timedelta(days=9), NOW + timedelta(days=9)
SCOPES = st.sampled_from([(None, None), ("CMCC", None), ("CUCC", None), (None, "CMCC-CN-3001"), (None, "COIN")])
FEES = st.builds(
    lambda days, share, least, who, where: Fee(
        NOW + timedelta(days=days), share, least, who[0], where[0], where[1], who[1]
    ),
    st.integers(-30, 30),
    st.integers(0, 9_999),
    st.integers(0, 50),
    st.sampled_from([(None, None), ("subscriber", None), ("partner", None), (None, "resellers"), (None, "founders")]),
    SCOPES,
)


def of_partner(*known: Fee) -> FeeTerms | None:
    return terms_in_force(known, NOW, Seller("partner", "resellers"), carrier="CMCC", symbol="CMCC-CN-3001")


@pytest.mark.parametrize(
    ("known", "basis_points"),
    [
        ([Fee(EARLIER, 500, 1), Fee(EARLIER, 300, 1, "partner")], 300),
        ([Fee(EARLIER, 300, 1, "partner"), Fee(EARLIER, 200, 1, None, "CMCC")], 200),
        ([Fee(EARLIER, 200, 1, "partner", "CMCC"), Fee(EARLIER, 100, 1, None, None, "CMCC-CN-3001")], 100),
        ([Fee(EARLIER, 300, 1, "partner"), Fee(EARLIER, 200, 1, party_group="resellers")], 200),
        ([Fee(EARLIER, 300, 1, "partner"), Fee(EARLIER, 200, 1, party_group="founders")], 300),
        ([Fee(EARLIER, 200, 1, party_group="resellers"), Fee(EARLIER, 100, 1, None, "CMCC")], 100),
        ([Fee(EARLIER, 300, 1, None, "CMCC"), Fee(EARLIER, 200, 1, None, "CMCC", None, "resellers")], 200),
        ([Fee(EARLIER, 500, 1), Fee(NOW, 400, 1)], 400),
        ([Fee(EARLIER, 500, 1), Fee(LATER, 400, 1)], 500),
        ([Fee(EARLIER, 500, 1), Fee(EARLIER, 300, 1, "subscriber")], 500),
        ([Fee(EARLIER, 500, 1), Fee(EARLIER, 300, 1, None, "CUCC")], 500),
    ],
)
def test_the_most_specific_fee_in_force_wins(known: list[Fee], basis_points: int) -> None:
    assert of_partner(*known) == of_partner(*reversed(known)) == FeeTerms(basis_points, 1)


def test_without_an_entry_the_instruments_own_fee_applies() -> None:
    assert of_partner() is None
    assert of_partner(Fee(LATER, 400, 1)) is None


@given(st.lists(FEES, max_size=8), st.integers(1, 10**9))
def test_fee_and_proceeds_are_exactly_what_the_buyer_paid(known: list[Fee], amount_minor: int) -> None:
    terms = of_partner(*known) or FeeTerms(500, 1)

    fee = fee_minor(amount_minor, basis_points=terms.basis_points, minimum_minor=terms.minimum_minor)

    assert 0 <= fee <= amount_minor
    assert fee >= min(terms.minimum_minor, amount_minor)
    assert fee * 10_000 >= amount_minor * terms.basis_points
    assert fee <= max(terms.minimum_minor, amount_minor * terms.basis_points // 10_000 + 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[[fee]]\nbasis_points = 300",
        "[[fee]]\nfrom = 2029-01-01T00:00:00\nbasis_points = 300",
        "[[fee]]\nfrom = 2029-01-01T00:00:00Z\nbasis_points = 10000",
        "[[fee]]\nfrom = 2029-01-01T00:00:00Z\nbasis_points = 3.5",
        "[[fee]]\nfrom = 2029-01-01T00:00:00Z\nbasis_points = 300\nrebate = 1",
        '[[fee]]\nfrom = 2029-01-01T00:00:00Z\nbasis_points = 300\ngroup = "My friends"',
        '[[fee]]\nfrom = 2029-01-01T00:00:00Z\nbasis_points = 300\ncarrier = "CMCC"\nsymbol = "COIN"',
    ],
)
def test_a_file_that_is_not_plain_sets_nothing(text: str) -> None:
    with pytest.raises(BadInput):
        fee_setting.read(text)


async def test_fees_are_set_once_and_never_changed(town: Town) -> None:
    (fee,) = fee_setting.read('[[fee]]\nfrom = 2031-01-01T00:00:00Z\nbasis_points = 300\ngroup = "partner"')
    async with town.venue.sessions() as session:
        await fee_setting.add(session, [fee], NOW, dry_run=True)
        assert fee not in await fees.schedule(session)
        await fee_setting.add(session, [fee], NOW)
        await fee_setting.add(session, [fee], NOW)
        assert (await fees.schedule(session)).count(fee) == 1

        with pytest.raises(BadInput, match="another fee"):
            await fee_setting.add(session, [Fee(fee.effective_from, 100, 1, "partner")], NOW)


async def test_of_each_scope_the_newest_that_has_begun_is_in_force(town: Town) -> None:
    former, present, coming = (
        Fee(datetime(year, 1, 1, tzinfo=UTC), year, 1, "partner", "CBN") for year in (2001, 2002, 2091)
    )
    async with town.venue.sessions() as session:
        session.add_all(FeeRow(**asdict(fee)) for fee in (present, former, coming))
        await session.flush()

        found = await fees.in_force(session, NOW)

    assert [fee for fee in found if fee.carrier == "CBN"] == [present]


@pytest.mark.parametrize(
    ("fee", "words"),
    [
        (Fee(EARLIER, 300, 1), "past"),
        (Fee(LATER, 300, 1, None, None, "NOWHERE"), "Nothing is listed"),
        (Fee(LATER, 300, 1_000, None, "CMCC"), "leave the seller nothing"),
    ],
)
async def test_a_fee_that_cannot_be_is_refused(town: Town, fee: Fee, words: str) -> None:
    async with town.venue.sessions() as session:
        with pytest.raises(BadInput, match=words):
            await fee_setting.add(session, [fee], NOW)


async def test_parties_are_put_into_a_group_and_out_of_it(town: Town) -> None:
    number, settings = await town.line(), town.venue.settings
    member = await town.enter(number)
    partner = await create_partner(settings, "Resale Ltd", [])

    count = await set_group(settings, "resellers", [number, number], [partner.party_id])

    assert (count, member.fee_group, (await town.enter(number)).fee_group) == (2, None, "resellers")
    groups = "select count(*) from party where fee_group = 'resellers'"
    assert await town.value(groups) == 2
    assert (
        await town.value("select count(*) from audit_link where convert_from(payload, 'UTF8') like '%set_fee_group%'")
        == 2
    )
    await set_group(settings, None, [number], [])
    assert await town.value(groups) == 1


@pytest.mark.parametrize(
    ("group", "phones", "partners", "words"),
    [
        ("partner", [], [1], "no kind of party"),
        ("Our friends", [], [1], "2 to 32"),
        ("friends\n", [], [1], "2 to 32"),
        ("friends", [a_number()], [], "takes no part"),
        ("friends", ["12"], [], "number"),
        ("friends", [], [10**12], "no partner"),
        ("friends", [], [1], "no partner"),
    ],
    ids=["kind", "name", "two_lines", "nobody", "no_number", "no_partner", "house"],
)
async def test_a_wrong_group_or_member_changes_nothing(
    town: Town, group: str, phones: list[str], partners: list[int], words: str
) -> None:
    known = await town.line()
    await town.enter(known)

    with pytest.raises(BadInput, match=words):
        await set_group(town.venue.settings, group, [known, *phones], partners)

    assert await town.value("select count(*) from party where fee_group = :group", group=group) == 0
