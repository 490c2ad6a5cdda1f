"""What an operator lists from a file."""

import re
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from market import listing
from market.database import connect, migrate, raw_dsn, sessions
from market.refusals import BadInput

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
    ],
)
def test_a_faulty_file_is_refused_in_words(change: tuple[str, str], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        listing.programme(the_guides_example().replace(*change))
