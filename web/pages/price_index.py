"""What a carrier's data cost on each day, for everybody to read and to take along."""

import csv
from datetime import UTC, datetime, timedelta
from io import StringIO

from litestar import Response, get
from litestar.types import ControllerRouterHandler

from market import price_index
from market.custody import SHANGHAI
from market.price_index import IndexDay
from web.edge.sessions import present_member
from web.edge.venue import Venue
from web.pages.rendering import Page, page

DAYS = 31
COLUMNS = ("day", "carrier", "currency", "median_minor", "average_minor", "volume_mb", "trades", "dropped_trades")


@get("/price-index")
async def show(request: Page, venue: Venue) -> Response[str]:
    await present_member(request)
    return page(request, "price_index.html", days=await _last_days(venue))


@get("/price-index.csv")
async def download(venue: Venue) -> Response[str]:
    """The same as a file: prices are minor units for 1 GB (1,000 MB)."""
    file = StringIO(newline="")
    rows = csv.writer(file)
    rows.writerow(COLUMNS)
    rows.writerows([getattr(day, name) for name in COLUMNS] for day in await _last_days(venue))
    headers = {"Content-Disposition": 'attachment; filename="price-index.csv"'}
    return Response(file.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


async def _last_days(venue: Venue) -> list[IndexDay]:
    today = datetime.now(UTC).astimezone(SHANGHAI).date()
    async with venue.reads() as session:
        return await price_index.read(session, None, today - timedelta(days=DAYS), today)


routes: list[ControllerRouterHandler] = [show, download]
