"""The market's list, and an instrument's ticket, depth and auctions, as a browser without script uses them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from litestar import Litestar
from sqlalchemy import event, update

from market import sparklines
from market.data_tables import CandleRow
from market.engine.caps import Tally
from market.headroom import headroom
from market.line_tables import LineUsageRow
from market.rules import RuleProfile
from market.tables import LineRow, RuleProfileRow
from market.venue import Venue
from market.views import BookView, InstrumentView, Level
from tests.pages.conftest import Browser
from tests.pages.test_order_types import COIN, COIN_ID, in_state, placed
from tests.web.making import Market, a_key
from web.pages.drawing import depth, sparkline
from web.pages.forms import Form
from web.pages.ticket_amounts import amount_of, lots_of, share

DATA = "/instruments/CMCC-CN-3001"


@contextmanager
def counted(venue: Venue) -> Iterator[list[str]]:
    """The statements that are sent meanwhile."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    engine = venue.sessions.kw["bind"].sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)


async def a_line(app: Litestar, party_id: int, **terms: Any) -> int:
    """A line of CMCC's for somebody, and the rules that its carrier has from now on."""
    venue: Venue = app.state.venue
    number = f"+8613{party_id:09}"
    async with venue.sessions.begin() as session:
        session.add(RuleProfileRow(carrier="CMCC", effective_from=datetime.now(UTC), terms=dict(terms)))
        line = LineRow(
            party_id=party_id, carrier="CMCC", province="GD", plan="postpaid", base_mb=20_000,
            number_hash=venue.vault.lookup(number), number_sealed=venue.vault.seal(number),
            verified_at=datetime.now(UTC),
        )  # fmt: skip
        session.add(line)
        await session.flush()
        return int(line.id)


@pytest.mark.parametrize(
    ("query", "data", "coins"),
    [
        ("", True, True),
        ("carrier=CMCC", True, False),
        ("carrier=CUCC", False, False),
        ("scope=national", True, False),
        ("scope=province", False, False),
        ("kind=general", True, False),
        ("kind=app", False, False),
        ("expiry=3001", True, False),
        ("expiry=2912", False, False),
        ("carrier=CMCC&scope=national&kind=general&expiry=3001&q=mobile", True, False),
        ("carrier=<script>", False, False),
    ],
)
async def test_each_filter_leaves_what_it_names(browser: Browser, query: str, data: bool, coins: bool) -> None:
    await browser.get(f"/market?{query}")

    assert ("instrument-CMCC-CN-3001" in browser.text) is data
    assert ('data-testid="instrument-COIN"' in browser.text) is coins
    assert "<script>" not in browser.text


async def test_what_was_chosen_stays_chosen(browser: Browser) -> None:
    await browser.get("/market?carrier=CMCC&scope=national&expiry=3001&q=mobile")

    assert browser.shown["/market"] == {
        "carrier": "CMCC", "scope": "national", "kind": "", "expiry": "3001", "q": "mobile",
    }  # fmt: skip


async def test_the_list_costs_the_same_however_much_was_traded(signed_in: Any, page_app: Litestar) -> None:
    browser = await signed_in()
    listing = page_app.state.listing = None
    assert listing is None
    with counted(page_app.state.venue) as before:
        await browser.get("/market")
    for _ in range(3):
        await placed(browser, side="buy", price="0.02", lots="1")
    page_app.state.listing = None
    with counted(page_app.state.venue) as after:
        await browser.get("/market")

    assert len(before) == len(after) <= 5


async def test_an_instruments_page_costs_the_same_however_many_orders_there_are(
    signed_in: Any, page_app: Litestar
) -> None:
    browser = await signed_in()
    await placed(browser, side="buy", price="0.02", lots="1")
    with counted(page_app.state.venue) as before:
        await browser.get(COIN)
    for _ in range(3):
        await placed(browser, side="buy", price="0.02", lots="1")
    with counted(page_app.state.venue) as after:
        await browser.get(COIN)

    assert len(before) == len(after) <= 20


async def test_a_course_is_drawn_of_the_last_week_in_few_points(page_app: Litestar) -> None:
    venue, now = page_app.state.venue, datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    hours = [now - timedelta(hours=back) for back in range(24 * 9)]
    async with venue.sessions() as session:
        session.add_all(
            CandleRow(
                instrument_id=2, width_minutes=60, at=at, open_minor=300, high_minor=400, low_minor=200,
                close_minor=300 + at.hour, lots=1, turnover_minor=300, trades=1,
            )
            for at in hours
        )  # fmt: skip
        await session.flush()

        points = (await sparklines.read(session, now + timedelta(minutes=1)))[2]

    assert 35 <= len(points) <= sparklines.MOST_POINTS + 1
    assert points[-1] == 300 + now.hour


async def test_a_young_market_is_drawn_by_its_quarter_hours(page_app: Litestar) -> None:
    now = datetime.now(UTC).replace(minute=30, second=0, microsecond=0)
    terms = {"open_minor": 300, "high_minor": 400, "low_minor": 200, "lots": 1, "turnover_minor": 300, "trades": 1}
    async with page_app.state.venue.sessions() as session:
        for width, minutes in ((60, 30), (15, 30), (15, 15)):
            at = now - timedelta(minutes=minutes)
            session.add(CandleRow(instrument_id=2, width_minutes=width, at=at, close_minor=300 + minutes, **terms))
        await session.flush()

        assert (await sparklines.read(session, now))[2] == (330, 315)


def test_a_line_lies_in_its_box_and_says_where_it_went() -> None:
    drawn = sparkline([150, 120, 180])

    assert drawn is not None
    assert (drawn.first, drawn.last, drawn.lowest, drawn.highest) == (150, 180, 120, 180)
    assert drawn.points == "2,14 48,25 94,3"
    assert sparkline([150]) is None


def test_depth_sums_up_from_the_best_price_on_either_side() -> None:
    drawn = depth(BookView((Level(100, 2, 1), Level(90, 3, 1)), (Level(110, 4, 2),)))

    assert drawn is not None
    assert [step.total for step in drawn.bids] == [2, 5]
    assert [step.total for step in drawn.asks] == [4]
    assert (drawn.lowest, drawn.highest, drawn.most) == (90, 110, 5)
    assert depth(BookView((), ())) is None


async def test_the_depth_has_the_same_figures_as_a_table(signed_in: Any) -> None:
    browser = await signed_in()
    await placed(browser, side="buy", price="0.03", lots="4", payment="wallet")
    await browser.get(f"{COIN}?chart=depth")

    assert 'class="wanted" points="' in browser.text
    assert re.search(r'<th scope="row">Wanted</th><td class="number up">0.03</td>', browser.text)
    assert "lightweight-charts" not in browser.text


# The ticket


def an_instrument(kind: str) -> InstrumentView:
    now = datetime.now(UTC)
    return InstrumentView(
        1, "X", "CMCC", "CN", None, kind, 100, 1, 1, 1_000, 300, 1_000, 500, 1, "CNY", now, now, now, "open", None,
        None, None, None, 0,
    )  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "lots"), [("data", "1", 10), ("data", "０.5", 5), ("coin", "1,200", 12)])
def test_an_amount_is_lots(kind: str, text: str, lots: int) -> None:
    view = an_instrument(kind)

    assert lots_of(Form({"amount": text}), view) == lots
    assert lots_of(Form({"amount": amount_of(lots, view)}), view) == lots


def test_a_share_is_whole_lots_and_no_more_than_one_order_may_have() -> None:
    assert share(75, there_lots=10, maximum_lots=100) == 7
    assert share(100, there_lots=10, maximum_lots=4) == 4
    assert share(25, there_lots=3, maximum_lots=100) == 0


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        ("", "Please enter how much."),
        ("a lot", "Please enter an amount above zero."),
        ("NaN", "Please enter an amount above zero."),
        ("-1", "Please enter an amount above zero."),
        ("150", "Please choose an amount in steps of 100."),
    ],
)
async def test_a_wrong_amount_is_told_beside_it_and_stays(signed_in: Any, amount: str, words: str) -> None:
    browser = await signed_in()
    await browser.get(COIN + "?side=sell&price=9.00")

    response = await browser.send(COIN, amount=amount)

    assert response.status_code == 400
    assert re.search(rf'id="ticket-amount-error"[^>]*>.*{re.escape(words)}', browser.text)
    assert f'name="amount" value="{amount}"' in browser.text


async def test_what_the_market_says_of_lots_stands_beside_the_amount(signed_in: Any) -> None:
    browser = await signed_in()
    await browser.get(COIN + "?side=sell&price=9.00")

    await browser.send(COIN, amount="99999900")

    assert 'id="ticket-amount-error"' in browser.text


async def test_the_simple_ticket_places_an_order(signed_in: Any) -> None:
    browser = await signed_in()
    await browser.get(COIN + "?side=sell&price=9.00")

    await browser.send(COIN, amount="500")

    assert "Your order waits in the book." in browser.text
    await browser.get("/orders")
    assert "500 coins × CN¥9.00" in browser.text


async def test_a_buttons_amount_is_filled_in_and_nothing_placed(signed_in: Any) -> None:
    browser = await signed_in(money_minor=1_000, coins=1_000)
    await browser.get(COIN + "?side=buy&price=0.30")
    key = browser.shown[COIN]["key"]

    await browser.send(COIN, share="50")
    assert browser.shown[COIN]["amount"] == "1600"  # 5 yuan at 0.30 a lot of 100
    assert browser.shown[COIN]["key"] == key

    await browser.get(COIN + "?side=sell&price=9.00")
    await browser.send(COIN, share="25")
    assert browser.shown[COIN]["amount"] == "200"
    await browser.send(COIN, chip="5")
    assert browser.shown[COIN]["amount"] == "500"
    await browser.get("/orders")
    assert 'data-testid="order-row"' not in browser.text


async def test_a_share_of_nothing_says_so(signed_in: Any) -> None:
    browser = await signed_in(coins=100)
    await browser.get(COIN + "?side=sell&price=9.00")

    await browser.send(COIN, share="25")

    assert "That is less than one lot." in browser.text


async def test_the_ticket_that_was_chosen_stays_and_keeps_what_was_typed(signed_in: Any) -> None:
    browser = await signed_in()
    await browser.get(COIN + "?side=sell&price=9.00")
    assert 'id="ticket-kind"' not in browser.text

    await browser.send(COIN, amount="700", switch="pro")
    assert browser.shown[COIN]["lots"] == "7"
    assert browser.shown[COIN]["price"] == "9.00"
    await browser.get(COIN)
    assert 'id="ticket-kind"' in browser.text

    await browser.send(COIN, lots="3", kind="iceberg", display="1", switch="simple")
    assert browser.shown[COIN]["amount"] == "300"
    assert 'id="ticket-kind"' not in browser.text


async def test_a_link_with_a_price_of_the_book_fills_price_and_side(signed_in: Any) -> None:
    browser = await signed_in()
    await placed(browser, side="sell", price="8.80", lots="2")
    await browser.get(COIN + "?mode=simple")
    link = re.search(r'<a class="level" href="([^"]*price=8.80[^"]*)"', browser.text)
    assert link is not None

    await browser.get(link[1].replace("&amp;", "&"))

    assert browser.shown[COIN]["price"] == "8.80"
    assert browser.shown[COIN]["side"] == "buy"


async def test_the_quote_says_what_the_wallet_will_hold(signed_in: Any) -> None:
    browser = await signed_in(money_minor=1_000)

    await browser.get(f"{COIN}/quote?side=buy&amount=1000&price=0.50", htmx=True)
    assert 'data-testid="quote-after" data-minor="500"' in browser.text
    await browser.get(f"{COIN}/quote?side=buy&amount=3000&price=0.50", htmx=True)
    assert "Your wallet holds too little for this." in browser.text


async def test_the_carriers_rules_are_told_with_what_is_left_of_them(signed_in: Any, page_app: Litestar) -> None:
    browser = await signed_in()
    line_id = await a_line(
        page_app, browser.party_id, sales_a_month=5, residual_mb=500, largest_sale_mb=2_000, transfers_from="08:00:00",
        transfers_until="22:00:00", received_a_month_mb=9_000,
    )  # fmt: skip
    today = (datetime.now(UTC) + timedelta(hours=8) - datetime(1970, 1, 1, tzinfo=UTC)).days
    async with page_app.state.venue.sessions.begin() as session:
        session.add(
            LineUsageRow(
                line_id=line_id, plan=None, province=None, day=today, sent_today=1, received_today=0,
                received_today_mb=0, sent_month=3, received_month=1, received_month_mb=4_000,
            )
        )  # fmt: skip

    await browser.get(DATA + "?side=sell")
    for words in (
        "2 more sends this month.", "At most 2 GB in one sale.", "500 MB of it stay on your line.",
        "between 08:00 and 22:00",
    ):  # fmt: skip
        assert words in browser.text
    await browser.get(DATA + "?side=buy")
    assert "This line can receive 5 GB more this month." in browser.text
    async with page_app.state.venue.sessions.begin() as session:
        await session.execute(update(LineUsageRow).where(LineUsageRow.line_id == line_id).values(day=today - 40))
    await browser.get(DATA + "?side=sell")
    assert "5 more sends this month." in browser.text


def test_what_is_used_up_leaves_nothing_and_no_limit_leaves_no_figure() -> None:
    room = headroom(RuleProfile(sales_a_month=2, sales_a_day=None), Tally(sent=1), Tally(sent=3))

    assert (room.sends_month, room.sends_today) == (0, None)


async def test_what_was_typed_is_there_again_after_a_session_has_ended(signed_in: Any, page_app: Litestar) -> None:
    browser = await signed_in()
    await browser.get(COIN)
    async for session in page_app.state.venue.redis.scan_iter("surplusflow:session:*"):
        await page_app.state.venue.redis.delete(session)
    await browser.get(f"{COIN}/quote?side=sell&amount=700&price=9.10", htmx=True)

    assert (await browser.send(COIN, side="sell", amount="700", price="9.10")).status_code == 401
    await browser.post(f"/tests/sign-in/{browser.party_id}", browser.shown["/preferences"])
    await browser.get(COIN)

    assert browser.shown[COIN] | {"side": "sell", "amount": "700", "price": "9.10"} == browser.shown[COIN]


# Auctions and the queue


async def test_while_orders_are_collected_the_price_so_far_is_told(
    signed_in: Any, page_app: Litestar, browser: Browser
) -> None:
    await Market(browser.client, page_app.state.venue).empty_book()
    async with in_state(page_app, "auction"):
        member = await signed_in()
        await member.get(COIN)
        assert "No price so far" in member.text
        await placed(member, side="sell", price="1.00", lots="5")
        buyer = await Market(browser.client, page_app.state.venue).partner()
        await buyer.order("buy", 120, lots=3, key=a_key())
        await member.get(COIN)
        told = re.search(r'data-testid="indication" data-price="(\d+)" data-lots="(\d+)"', member.text)
        await Market(browser.client, page_app.state.venue).empty_book()

    assert told is not None
    assert 100 <= int(told[1]) <= 120
    assert told[2] == "3"
    assert COIN_ID == 1


async def test_one_sees_how_many_stand_before_ones_own_order(
    signed_in: Any, page_app: Litestar, browser: Browser
) -> None:
    market = Market(browser.client, page_app.state.venue)
    await market.empty_book()
    other = await market.partner()
    assert (await other.order("sell", 700, lots=2, key=a_key())).status_code == 201
    member = await signed_in()

    await placed(member, side="sell", price="7.00", lots="1")
    await member.get(COIN)
    assert "1 order ahead, 200 coins" in member.text
    await market.empty_book()
    await placed(member, side="sell", price="7.00", lots="1")
    await member.get(COIN)
    assert "first in line" in member.text
