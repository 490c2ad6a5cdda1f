"""What an operator lists from a file."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import select

from market import listing
from market.database import connect, raw_dsn, sessions
from market.refusals import BadInput
from market.sessions import lines
from market.tables import InstrumentRow
from tests.databases import migrate

OVERLONG = """
[[instrument.session]]
kind = "closing"
begins_at = 2026-11-30T21:50:00+08:00
ends_at = 2026-11-30T21:59:30+08:00
"""
GUIDE = Path(__file__).parents[2] / "docs" / "operating.md"


def the_guides_example() -> str:
    found = re.search(r"```toml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def database(new_database: Callable[[str], str]) -> str:
    url = new_database("listing")
    migrate(url)
    return url


async def test_the_guides_example_is_listed_and_listing_it_again_changes_nothing(database: str) -> None:
    read = listing.programme(the_guides_example())
    engine = connect(database)
    for _ in range(2):
        async with sessions(engine).begin() as session:
            await listing.found(session, "CNY")
            for rules in read.rules:
                await listing.enact(session, rules)
            for one in read.instrument:
                await listing.list_instrument(session, one, "CNY", rules.effective_from)
    await engine.dispose()

    connection = await asyncpg.connect(raw_dsn(database))
    symbols = await connection.fetch("select symbol, ceiling_minor from instrument order by symbol")
    houses = await connection.fetchval("select count(*) from party")
    await connection.close()
    assert [tuple(row) for row in symbols] == [("CMCC-CN-2611", 300), ("COIN", 260)]
    assert houses == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("ceiling_minor = 300", "ceiling_minor = 100"), "must be in this order"),
        (("closes_at = 2026-11-30T22:00:00+08:00", "closes_at = 2026-12-01T00:00:00+08:00"), "before the data expires"),
        (("closes_at = 2099-12-31T16:00:00Z", "closes_at = 2099-12-31T16:00:00"), "need their zone"),
        (('scope = "CN"', ""), "needs carrier, scope"),
        (("reference_minor = 150", "reference_minor = 1.5"), "Expected `int`"),
        (('kind = "coin"', 'kind = "coin"\nfee = 3'), "unknown field"),
        (("[[instrument]]", "[[instrument"), "can't be listed"),
        (("ceiling_minor = 300", "ceiling_minor = 300\nfloor_minor = 1"), "the least fee and 1 more, 2: nobody pays"),
        (("fee_basis_points = 500", "fee_basis_points = 9000"), "the least fee and 1 more, 10"),
        (("fee_basis_points = 500", "fee_basis_points = 10000"), "the fee is 0 to 9999"),
        (("ceiling_minor = 300", "ceiling_minor = 300\nband_basis_points = 10001"), "the dynamic band is 1 to 10000"),
        (("ceiling_minor = 300", "ceiling_minor = 300\nclosing_days = 29"), "closing_days is 0 to 28"),
        (("fee_basis_points = 500", f"fee_basis_points = 500\n{OVERLONG}"), "CMCC-CN-2611: a session must be over"),
    ],
)
def test_a_faulty_file_is_refused_in_words(change: tuple[str, str], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        listing.programme(the_guides_example().replace(*change))


async def test_what_is_listed_has_the_usual_band_and_a_plan_that_a_file_may_override(database: str) -> None:
    moved = the_guides_example().replace("CMCC-CN-2611", "CMCC-CN-2611-VIDEO")
    own = """
[[instrument]]
symbol = "CUCC-CN-2611"
kind = "data"
carrier = "CUCC"
scope = "CN"
expires_at = 2026-12-01T00:00:00+08:00
opens_at = 2026-11-02T09:00:00+08:00
closes_at = 2026-11-30T22:00:00+08:00
ceiling_minor = 300
reference_minor = 150
band_basis_points = 0

[[instrument.session]]
kind = "closing"
begins_at = 2026-11-30T20:00:00+08:00
ends_at = 2026-11-30T20:15:00+08:00
window_seconds = 120
"""
    read = listing.programme(moved + own)
    engine = connect(database)
    async with sessions(engine).begin() as session:
        await listing.found(session, "CNY")
        for one in read.instrument:
            await listing.list_instrument(session, one, "CNY", datetime(2026, 11, 1, tzinfo=UTC))
        usual = await lines(session, ["CMCC-CN-2611-VIDEO"])
        overridden = await lines(session, ["CUCC-CN-2611"])
        listed = await session.execute(
            select(InstrumentRow.symbol, InstrumentRow.state, InstrumentRow.band_basis_points).order_by("symbol")
        )
        rows = {row.symbol: (row.state, row.band_basis_points) for row in listed}
    await engine.dispose()

    closing = [line for line in usual if " closing: " in line]
    assert [line.rpartition(" of ")[2] for line in closing] == [f"2026-11-{day} 21:58" for day in (28, 29, 30)]
    assert overridden == [
        "CUCC-CN-2611 opening: collects from 2026-11-02 08:30, auction within 60 s of 2026-11-02 09:00",
        "CUCC-CN-2611 closing: collects from 2026-11-30 20:00, auction within 120 s of 2026-11-30 20:15",
    ]
    assert rows["CMCC-CN-2611-VIDEO"][1] == 1_000
    assert rows["CUCC-CN-2611"] == ("halted", None)
