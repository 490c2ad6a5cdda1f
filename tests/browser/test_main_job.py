"""The main job, as two people, a carrier, a payment provider and an officer see it."""

import asyncio
import csv
import io
import json
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import openpyxl
from playwright.async_api import Browser, expect

from market.demo.catalogue import month_ends
from market.demo.seed import BUYER, SELLER
from tests.browser.people import DESKTOP, PHONE, Person, arrive
from tests.stack import Running

TMF = "/tmf-api/prepayBalanceManagement/v4"


@dataclass
class Outside:
    """What carrier and provider say themselves, asked without any of our code."""

    environment: dict[str, str]

    @classmethod
    def of(cls, market: Running) -> "Outside":
        return cls(json.loads((market.data_dir / "environment.json").read_text(encoding="utf-8")))

    def carrier(self, code: str) -> tuple[str, dict[str, str]]:
        carriers = tomllib.loads(self.environment["SURPLUSFLOW_CARRIERS"])["carrier"]
        found = next(one for one in carriers if one["code"] == code)
        return found["base_url"] + TMF, {"Authorization": f"Bearer {found['credential']}"}

    def bucket(self, msisdn: str, expires_at: str) -> tuple[int, int]:
        """MB remaining and reserved in the line's national buckets that end at a time, received data included."""
        base, headers = self.carrier("CMCC")
        answer = httpx.get(f"{base}/bucket", params={"logicalResource.id": msisdn}, headers=headers, trust_env=False)
        fitting = [
            bucket
            for bucket in answer.raise_for_status().json()
            if bucket["validFor"]["endDateTime"].startswith(expires_at) and bucket.get("scope") == "CN"
            if not bucket.get("appScope")
        ]
        return (
            sum(bucket["remainingValue"]["amount"] for bucket in fitting),
            sum(bucket["reservedValue"]["amount"] for bucket in fitting),
        )

    def provider(self, path: str) -> list[dict[str, Any]]:
        found = httpx.get(
            f"{self.environment['SURPLUSFLOW_STRIPE_API_BASE']}/v1/{path}",
            headers={"Authorization": f"Bearer {self.environment['SURPLUSFLOW_STRIPE_API_KEY']}"},
            trust_env=False,
        )
        return list(found.raise_for_status().json()["data"])


async def _trade_settles(person: Person) -> None:
    """Open the newest trade and watch its tracker until it is paid."""
    await person.open("/trades")
    row = person.page.get_by_test_id("trade-row").first
    await person.open(f"/trades/{await row.get_attribute('data-trade')}")
    await expect(person.page.get_by_test_id("tracker")).to_have_attribute("data-state", "settled", timeout=30_000)


async def test_from_selling_two_spare_gigabytes_to_the_officers_report(market: Running, browser: Browser) -> None:
    outside = Outside.of(market)
    month_end = month_ends(datetime.now(UTC))[0]
    symbol, end = f"CMCC-CN-{month_end - timedelta(days=1):%y%m}", month_end.astimezone(UTC).strftime("%Y-%m-%dT%H")
    seller = await arrive(browser, market, viewport=PHONE, is_mobile=True, has_touch=True)
    buyer = await arrive(browser, market, viewport=DESKTOP)
    await seller.sign_in(SELLER[2])
    await buyer.sign_in(BUYER[2])
    had = {msisdn: outside.bucket(msisdn, end) for msisdn in (SELLER[2], BUYER[2])}

    # The seller lists 2 GB; the buyer's open page shows them by itself.
    await buyer.open(f"/instruments/{symbol}")
    await seller.open(f"/instruments/{symbol}")
    sale = await seller.place("sell", lots=20, price="1.50")
    ask = buyer.page.locator('[data-testid="ask-level"][data-price="150"]')
    await expect(ask).to_have_attribute("data-lots", "20", timeout=10_000)
    assert outside.bucket(SELLER[2], end) == (had[SELLER[2]][0] - 2_000, 2_000)

    # The buyer takes 1 GB by card; both pages change by themselves.
    purchase = await buyer.place("buy", lots=10, price="1.50", card="pm_card_visa")
    assert purchase != sale
    await expect(ask).to_have_attribute("data-lots", "10", timeout=10_000)
    left = seller.page.locator('[data-testid="ask-level"][data-price="150"]')
    await expect(left).to_have_attribute("data-lots", "10", timeout=10_000)
    await _trade_settles(buyer)
    await _trade_settles(seller)

    # Exactly 1,000 MB moved at the carrier, exactly 15 yuan at the provider.
    assert outside.bucket(BUYER[2], end)[0] == had[BUYER[2]][0] + 1_000
    assert outside.bucket(SELLER[2], end) == (had[SELLER[2]][0] - 2_000, 1_000)
    captured = [one for one in outside.provider("payment_intents?limit=100") if one["capture_method"] == "manual"]
    assert [(one["status"], one["amount_received"]) for one in captured] == [("succeeded", 1_500)]

    # The seller cancels the rest; the carrier gives it back, and the proceeds are in the wallet.
    await seller.open("/orders")
    row = seller.page.locator(f'[data-testid="order-row"][data-order="{sale}"]')
    await row.get_by_test_id("cancel").click()
    await expect(row.and_(seller.page.locator('[data-state="open"]'))).to_have_count(0, timeout=10_000)
    await seller.open("/wallet")
    await expect(seller.page.get_by_test_id("wallet-available")).to_have_attribute("data-minor", "1425")
    await _released(outside, end, (had[SELLER[2]][0] - 1_000, 0))

    await _withdrawn(seller, outside)
    await _officer_reads_it(browser, market, captured[0]["id"])
    assert market.command("verify").returncode == 0
    await seller.leave()
    await buyer.leave()


async def _released(outside: Outside, end: str, wanted: tuple[int, int]) -> None:
    await _until(lambda: outside.bucket(SELLER[2], end) == wanted)


async def _until(happened: Callable[[], bool], seconds: int = 20) -> None:
    """Look until it has happened: carrier and provider call nobody back here."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "It did not happen in time."
        await asyncio.sleep(0.1)


async def _withdrawn(seller: Person, outside: Outside) -> None:
    """The seller withdraws: first the provider asks who they are, then the money goes to their bank."""
    page = seller.page
    await page.fill("#withdraw-amount", "14.25")
    await page.get_by_test_id("withdraw").click()
    await page.wait_for_url("**/onboarding/**")
    await page.fill("#holder", "Seller")
    await page.locator("form button").click()
    await page.wait_for_url(f"{seller.market.web}/**")
    await seller.open("/wallet")
    await page.fill("#withdraw-amount", "14.25")
    await page.get_by_test_id("withdraw").click()
    await expect(page.get_by_test_id("wallet-available")).to_have_attribute("data-minor", "0", timeout=15_000)
    await _until(lambda: any(one["amount"] == 1_425 for one in outside.provider("transfers?limit=10")))


async def _officer_reads_it(browser: Browser, market: Running, payment_id: str) -> None:
    officer = await arrive(browser, market, viewport=DESKTOP, accept_downloads=True)
    await officer.open("/officer/sign-in")
    await officer.page.fill("#login", "officer")
    await officer.page.fill("#password", market.officer_password)
    await officer.page.get_by_test_id("officer-enter").click()
    await officer.page.wait_for_url("**/officer")

    rows = {}
    for form in ("csv", "xlsx"):
        async with officer.page.expect_download() as arriving:
            await officer.page.get_by_test_id(f"report-{form}").click()
        path = await (await arriving.value).path()
        content = path.read_bytes()
        rows[form] = _csv_rows(content) if form == "csv" else _xlsx_rows(content)

    for table in rows.values():
        trades = [row for row in table if row["record"] == "trade" and row["payment_reference"] == payment_id]
        assert len(trades) == 1
        assert trades[0]["carrier_reference"]
        assert int(trades[0]["quantity_mb"]) == 1_000
        assert int(trades[0]["amount_minor"]) == 1_500
    await officer.leave()


def _csv_rows(content: bytes) -> list[dict[str, Any]]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))


def _xlsx_rows(content: bytes) -> list[dict[str, Any]]:
    """The rows of every sheet that lists records; a heading's last line is the column's name."""
    book = openpyxl.load_workbook(io.BytesIO(content))
    found = []
    for sheet in book.worksheets[1:]:
        heading, *rows = sheet.iter_rows(values_only=True)
        names = [str(name).rpartition("\n")[2] for name in heading]
        found += [dict(zip(names, row, strict=True)) for row in rows]
    return found
