"""What has to happen in a market before every page of it can be seen, those of trouble among them."""

import asyncio
import json
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import httpx
from playwright.async_api import BrowserContext, expect

from market.database import raw_dsn
from market.engine.commands import SetState, State
from market.settings import Settings
from market.venue import open_venue
from settlement.accounts import HOUSE
from tests.browser.every_page import Role
from tests.browser.people import Person
from tests.stack import Running

TROUBLE: dict[int, tuple[Role, str]] = {
    403: ("member", "/officer"),
    404: ("nobody", "/nothing"),
    429: ("partner", "/wallet/statement.csv"),
    500: ("member", "/alerts"),
    503: ("member", "/alerts"),
}
"""By the status of the answer: who sees it, and where. The last three only while something is made to go wrong."""


async def enter_as_officer(officer: Person) -> None:
    await officer.open("/officer/sign-in")
    await officer.page.fill("#login", "officer")
    await officer.page.fill("#password", officer.market.officer_password)
    await officer.page.get_by_test_id("officer-enter").click()
    await officer.page.wait_for_url("**/officer")


async def enter_as_partner(partner: Person) -> None:
    logins = (partner.market.data_dir / "demo-logins.txt").read_text(encoding="utf-8")
    phone = re.search(r"Partner.*phone (\S+)", logins)
    assert phone is not None
    await partner.sign_in(phone[1])


async def open_a_case(buyer: Person, trade: str) -> str:
    """Complain of a trade once it is settled; gives the case's public id."""
    await buyer.open(f"/trades/{trade}")
    await expect(buyer.page.get_by_test_id("tracker")).to_have_attribute("data-state", "settled", timeout=30_000)
    await buyer.page.get_by_test_id("case").click()
    await buyer.page.locator("input[type=radio]").first.check(force=True)
    await buyer.page.fill("#case-words", "My phone shows nothing.")
    await buyer.page.get_by_test_id("open-case").click()
    await expect(buyer.page.get_by_test_id("case-state")).to_be_visible()
    return buyer.page.url.partition("/cases/")[2].partition("?")[0]


async def make_a_gift(giver: Person) -> str:
    """Make a gift of coins; gives the code in its address."""
    await giver.open("/gifts")
    await giver.page.fill("#gift-link-coins", "5")
    await giver.page.get_by_test_id("make-gift").click()
    address = await giver.page.get_by_test_id("gift-address").input_value()
    return address.rpartition("/")[2]


async def make_a_break(officer: Person) -> str:
    """Have somebody pay the provider behind our back, and compare the books; gives the number of what differs."""
    environment = _environment(officer.market)
    async with httpx.AsyncClient(trust_env=False) as provider:
        paid = await provider.post(
            f"{environment['SURPLUSFLOW_STRIPE_API_BASE']}/v1/payment_intents",
            headers={"Authorization": f"Bearer {environment['SURPLUSFLOW_STRIPE_API_KEY']}"},
            data={
                "amount": "1500",
                "currency": "cny",
                "payment_method": "pm_card_visa",
                "payment_method_types[]": "card",
                "confirm": "true",
            },
        )
    stranger = paid.raise_for_status().json()["id"]
    compared = await asyncio.to_thread(officer.market.command, "reconcile")
    assert compared.returncode == 1, compared.stdout + compared.stderr
    await officer.open("/officer/reconciliation")
    address = await officer.page.get_by_role("link", name=stranger).get_attribute("href")
    return str(address).rpartition("/")[2]


async def set_state(market: Running, symbol: str, state: State) -> None:
    """Bring an instrument into a state, as the engine or an officer does."""
    async with database(market) as connection:
        instrument_id = await connection.fetchval("select id from instrument where symbol = $1", symbol)
    async with open_venue(Settings.from_environment(_environment(market)), pool_size=2) as venue:
        key = f"scene-{secrets.token_hex(8)}"
        answer = await venue.gateway.submit(SetState(HOUSE, key, b"", instrument_id, state))
    assert answer.accepted, answer.code


@asynccontextmanager
async def trouble(status: int, market: Running, context: BrowserContext) -> AsyncIterator[None]:
    """While this lasts, the address in `TROUBLE` answers whoever has this context with the status."""
    if status < 429:
        yield
    elif status == 429:
        while (await context.request.get(market.web + TROUBLE[429][1])).status != 429:
            pass
        yield
    else:
        async with database(market) as connection:
            if status == 500:  # what is not there is a mistake of ours
                await connection.execute("alter table price_alert rename to price_alert_gone")
                try:
                    yield
                finally:
                    await connection.execute("alter table price_alert_gone rename to price_alert")
            else:  # what nobody can read just now is an outage
                async with connection.transaction():
                    await connection.execute("lock table price_alert in access exclusive mode")
                    yield


@asynccontextmanager
async def database(market: Running) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(raw_dsn(_environment(market)["SURPLUSFLOW_DATABASE_URL"]))
    try:
        yield connection
    finally:
        await connection.close()


def _environment(market: Running) -> dict[str, str]:
    return dict(json.loads((market.data_dir / "environment.json").read_text(encoding="utf-8")))
