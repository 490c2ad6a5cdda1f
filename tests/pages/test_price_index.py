"""The price index is there for everybody, as a page and as a file."""

import csv
from datetime import UTC, datetime, timedelta
from io import StringIO

from litestar import Litestar
from sqlalchemy import text

from market.custody import SHANGHAI
from tests.pages.conftest import Browser

_DAY = """
insert into price_index (carrier, day, currency, median_minor, average_minor, volume_mb, trades, dropped_trades,
    updated_at) values ('CMCC', :day, 'CNY', 1510, 1495, 12000, 7, 1, now()) on conflict do nothing
"""


async def test_anybody_reads_the_index_and_takes_it_along(browser: Browser, page_app: Litestar) -> None:
    yesterday = datetime.now(UTC).astimezone(SHANGHAI).date() - timedelta(days=1)
    async with page_app.state.venue.sessions.begin() as session:
        await session.execute(text(_DAY), {"day": yesterday})

    page = await browser.get("/price-index")
    file = await browser.get("/price-index.csv")

    assert page.status_code == 200
    assert yesterday.isoformat() in page.text
    assert "15.10" in page.text
    [row] = [each for each in csv.DictReader(StringIO(file.text)) if each["day"] == yesterday.isoformat()]
    assert (row["carrier"], row["median_minor"], row["volume_mb"]) == ("CMCC", "1510", "12000")
