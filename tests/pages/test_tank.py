"""The page of the community tank, without a carrier behind it: levels, both forms, and refusals beside their fields."""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from litestar import Litestar
from sqlalchemy import text

from market import giving
from market.tables import LineRow
from tests.pages.conftest import Browser
from web.pages.giving_words import OBSTACLES

PAGE = "/tank"
GIVE = "/tank/deposits"
LISTED = text("""
    with asset as (
        insert into asset (code, kind, carrier, scope, expires_at)
        values ('CUCC-CN-3001', 'data', 'CUCC', 'CN', '2030-01-31T16:00:00Z') on conflict do nothing returning id
    )
    insert into instrument (symbol, asset_id, currency, lot_units, tick_minor, floor_minor, ceiling_minor,
        reference_minor, maximum_lots, fee_basis_points, fee_minimum_minor, opens_at, closes_at)
    select 'CUCC-CN-3001', id, 'CNY', 100, 5, 5, 1000, 300, 1000, 500, 1, '2020-01-01', '2030-01-31' from asset
""")


@pytest.fixture
async def member(page_app: Litestar, signed_in: Callable[..., Any]) -> Browser:
    """Somebody with a line at a carrier of which data is listed."""
    browser: Browser = await signed_in()
    venue, number = page_app.state.venue, f"+86186{secrets.randbelow(10**8):08d}"
    async with venue.sessions.begin() as session:
        await session.execute(LISTED)
        line = LineRow(
            party_id=browser.party_id, carrier="CUCC", province="GD", plan="prepaid", base_mb=0, state="active",
            number_hash=venue.vault.lookup(number), number_sealed=venue.vault.seal(number),
            verified_at=datetime.now(UTC),
        )  # fmt: skip
        session.add(line)
    return browser


async def test_the_page_explains_the_tank_and_offers_to_give(member: Browser) -> None:

    page = await member.get(PAGE)

    assert page.status_code == 200
    assert "Community tank" in member.text
    assert "at most 1 GB a month for each line" in member.text


async def test_a_wrong_amount_is_refused_beside_its_field_and_stays(member: Browser) -> None:
    await member.get(PAGE)

    page = await member.send(GIVE, amount_mb="all of it")

    assert page.status_code == 400
    assert 'id="give-amount-error"' in member.text
    assert member.shown[GIVE]["amount_mb"] == "all of it"


async def test_the_page_is_in_chinese_too(member: Browser) -> None:

    await member.get(PAGE, language="zh-CN")

    assert 'lang="zh' in member.text


def test_what_keeps_data_from_being_given_has_the_markets_own_words() -> None:
    assert giving.WORDS == OBSTACLES
