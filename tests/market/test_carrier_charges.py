"""What carriers charge: dated, never changed, checked against the lowest price, and frozen on the order."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market import carrier_charge_setting, carrier_charges
from market.carrier_charge_setting import add, read
from market.fee_tables import FeeRow
from market.pricing import charge_minor, quote
from market.refusals import BadInput
from tests.market.town import Town

SOON = "2030-01-01T00:00:00+08:00"
STEPS = f'[[charge]]\ncarrier = "CMCC"\nfrom = {SOON}\nsteps = [{{ minor = 3 }}, {{ from_mb = 1000, minor = 5 }}]\n'


def flat(minor: int, moment: str = SOON, carrier: str = "CMCC") -> str:
    return f'[[charge]]\ncarrier = "{carrier}"\nfrom = {moment}\nminor = {minor}\n'


@pytest.mark.parametrize(
    ("charges", "quantity_mb", "charge"),
    [
        (None, 5000, 0),
        ("0:20", 100, 20),
        ("0:20", 90_000, 20),
        ("0:20 1000:35", 999, 20),
        ("0:20 1000:35", 1000, 35),
        ("500:10", 499, 0),
        ("1000:35 0:20", 100, 20),
    ],
)
def test_the_step_of_its_size_is_what_a_delivery_costs(charges: str | None, quantity_mb: int, charge: int) -> None:
    assert charge_minor(charges, quantity_mb=quantity_mb, left_minor=10_000) == charge


@given(st.integers(0, 10_000), st.integers(0, 10_000), st.integers(0, 10**6))
def test_a_charge_leaves_its_seller_something(minor: int, left_minor: int, quantity_mb: int) -> None:
    charge = charge_minor(f"0:{minor}", quantity_mb=quantity_mb, left_minor=left_minor)

    assert 0 <= charge <= minor
    assert charge < left_minor or charge == 0


def test_a_quote_has_the_charge_in_its_fee() -> None:
    plain, charged = (
        quote(
            lots=20, price_minor=150, ceiling_minor=500, fee_basis_points=100, fee_minimum_minor=1,
            charges=charges, lot_units=100,
        )
        for charges in (None, "0:20 1000:35")
    )  # fmt: skip

    assert (charged.fee_minor, charged.net_minor) == (plain.fee_minor + 35, plain.net_minor - 35)


async def test_it_is_in_force_from_its_date_on(town: Town) -> None:
    begins = datetime.fromisoformat(SOON)
    async with town.venue.sessions() as session:
        said = await add(session, read(STEPS), datetime.now(UTC))
        before = await carrier_charges.in_force(session, begins - timedelta(seconds=1), "CMCC")
        after = await carrier_charges.in_force(session, begins, "CMCC")
        all_then = await carrier_charges.all_in_force(session, begins)

        await add(session, read(flat(0, "2031-01-01T00:00:00+08:00")), datetime.now(UTC))
        ended = await carrier_charges.in_force(session, begins + timedelta(days=400), "CMCC")

    assert "CMCC" in said
    assert (before, after, ended) == (None, "0:3 1000:5", None)
    assert all_then == {"CMCC": "0:3 1000:5"}


async def test_what_stands_is_never_changed(town: Town) -> None:
    async with town.venue.sessions() as session:
        await add(session, read(flat(2)), datetime.now(UTC))
        await add(session, read(flat(2)), datetime.now(UTC))

        with pytest.raises(BadInput, match="another charge"):
            await add(session, read(flat(3)), datetime.now(UTC))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("charge = 1", "can't be read"),
        (flat(-1), "can't be read"),
        (flat(3) + "steps = [{ minor = 3 }]\n", "either flat or in steps"),
        (f'[[charge]]\ncarrier = "CMCC"\nfrom = {SOON}\n', "either flat or in steps"),
        (STEPS.replace("from_mb = 1000", "from_mb = 0"), "same size"),
        (flat(3, "2020-01-01T00:00:00+08:00"), "past"),
        (flat(3, carrier="NOBODY"), "Nothing is listed"),
        (flat(100_000), "leave the seller nothing"),
    ],
)
async def test_a_wrong_file_is_refused_with_its_reason(town: Town, text: str, words: str) -> None:
    async with town.venue.sessions() as session:
        with pytest.raises(BadInput, match=words):
            await add(session, read(text), datetime.now(UTC))


async def test_no_group_of_sellers_is_left_without_anything(town: Town) -> None:
    async with town.venue.sessions() as session:
        await add(session, read(flat(2)), datetime.now(UTC), dry_run=True)

        long_ago = datetime(2020, 1, 1, tzinfo=UTC)
        session.add(FeeRow(effective_from=long_ago, party_group="resellers", basis_points=0, minimum_minor=3))

        with pytest.raises(BadInput, match="leave the seller nothing"):
            await add(session, read(flat(2)), datetime.now(UTC), dry_run=True)


async def test_a_dry_run_sets_nothing(town: Town) -> None:
    async with town.venue.sessions() as session:
        await add(session, read(flat(3)), datetime.now(UTC), dry_run=True)

        assert await carrier_charges.in_force(session, datetime.fromisoformat(SOON), "CMCC") is None


def test_the_command_reads_what_the_documentation_shows() -> None:
    (entry,) = carrier_charge_setting.read(STEPS)

    assert entry.kept == "0:3 1000:5"
