"""Cases: one side says what went wrong, both are heard, two officers pay back, and nobody learns who the other is."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from litestar import Litestar
from sqlalchemy import select, text

from market import case_views, cases, telling
from market.case_tables import CaseRow
from market.parties import member
from market.settling import outside_of, settle
from market.tables import OfficerRow
from settlement.notice_tables import NoticeRow
from tests.pages.conftest import Browser
from tests.settlement.world import until

COIN = "/instruments/COIN"
WALLET = """
select available from account join asset on asset.id = asset_id
where party_id = :party and account.kind = 'wallet' and code = 'CNY'
"""
IMBALANCE = """
select count(*) from (
    select from posting join account on account.id = account_id
    group by transfer_id, asset_id having sum(available_change + held_change) <> 0
) unbalanced
"""
PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


@asynccontextmanager
async def settling(app: Litestar) -> AsyncIterator[None]:
    stop = asyncio.Event()
    worker = asyncio.create_task(settle(app.state.venue, outside_of(app.state.venue, "tests"), stop))
    yield
    stop.set()
    await worker


async def a_settled_trade(app: Litestar, seller: Browser, buyer: Browser) -> str:
    await seller.get(COIN + "?side=sell&price=1.00")
    await seller.send(COIN, lots="2")
    await buyer.get(COIN + "?side=buy&price=1.00")
    await buyer.send(COIN, lots="2")
    await buyer.get("/trades")
    trade = re.search(r'data-trade="(trd_\d+)"', buyer.text)
    assert trade is not None
    number = int(trade[1].removeprefix("trd_"))

    async def is_settled() -> bool:
        return bool(await value(app, "select status = 'settled' from delivery where id = :id", id=number))

    async with settling(app):
        await until(is_settled)
    return trade[1]


async def value(app: Litestar, statement: str, **values: Any) -> Any:
    async with app.state.venue.sessions() as session:
        return await session.scalar(text(statement), values)


async def wallet_of(app: Litestar, party_id: int) -> int:
    return int(await value(app, WALLET, party=party_id))


async def told(app: Litestar, party_id: int) -> list[str]:
    async with app.state.venue.sessions() as session:
        query = select(NoticeRow.kind).where(NoticeRow.party_id == party_id).order_by(NoticeRow.id)
        return list(await session.scalars(query))


@pytest.fixture
async def sides(page_app: Litestar, signed_in: Callable[..., Any]) -> tuple[str, Browser, Browser]:
    seller, buyer = await signed_in(), await signed_in()
    return await a_settled_trade(page_app, seller, buyer), seller, buyer


@pytest.fixture
def officer(page_app: Litestar, anybody: Callable[[], Browser]) -> Callable[..., Any]:
    async def enter(role: str = "operations", carrier: str | None = None) -> Browser:
        browser = anybody()
        async with page_app.state.venue.sessions.begin() as session:
            taken = len(list(await session.scalars(select(OfficerRow.id))))
            row = OfficerRow(login=f"cases{taken}", password_hash="-", role=role, carrier=carrier)
            session.add(row)
            await session.flush()
            number = row.id
        await browser.get("/officer/sign-in")
        await browser.post(f"/tests/officers/{number}", browser.shown["/preferences"])
        return browser

    return enter


async def opened(buyer: Browser, trade: str, words: str = "Nothing came.") -> str:
    await buyer.get(f"/trades/{trade}/case")
    await buyer.send(f"/trades/{trade}/case", reason="not_received", words=words)
    found = re.search(r"cas_\d+", buyer.text)
    assert found is not None, buyer.text
    return found[0]


async def test_two_officers_pay_the_buyer_back_out_of_the_seller_s_wallet(
    page_app: Litestar, sides: tuple[str, Browser, Browser], officer: Callable[..., Any]
) -> None:
    trade, seller, buyer = sides
    before = await wallet_of(page_app, buyer.party_id), await wallet_of(page_app, seller.party_id)
    fee = await value(page_app, "select fee_minor from delivery where id = :id", id=int(trade.removeprefix("trd_")))
    case = await opened(buyer, trade)
    assert await told(page_app, seller.party_id) == ["case_opened"]
    async with page_app.state.venue.sessions() as session:
        assert await case_views.kept_back(session, seller.party_id) == 200
        assert await case_views.kept_back(session, buyer.party_id) == 0
    await seller.get(f"/cases/{case}")
    await seller.send(f"/cases/{case}", words="It left my line.")

    first, second = await officer(), await officer()
    here = f"/officer/cases/{case}"
    await first.get(here)
    assert "It left my line." in first.text
    await first.send(here + "/decide", amount="2.00", words="The carrier knows of no transfer.")
    assert "Another officer has to confirm this." in first.text
    assert (await first.post(here + "/confirm", first.shown["/preferences"])).status_code == 403
    assert before[0] == await wallet_of(page_app, buyer.party_id), "one officer alone moves nothing"
    await second.get(here)
    await second.send(here + "/confirm")

    assert await wallet_of(page_app, buyer.party_id) == before[0] + 200
    assert await wallet_of(page_app, seller.party_id) == before[1] - 200 + fee
    assert (await told(page_app, buyer.party_id))[-1] == "case_decided_back"
    await buyer.get(f"/cases/{case}")
    assert 'data-state="decided"' in buyer.text
    async with page_app.state.venue.sessions() as session:
        assert await case_views.kept_back(session, seller.party_id) == 0
    assert await value(page_app, IMBALANCE) == 0


async def test_a_decision_for_the_seller_pays_nothing_and_cannot_be_opened_again(
    page_app: Litestar, sides: tuple[str, Browser, Browser], officer: Callable[..., Any]
) -> None:
    trade, _, buyer = sides
    case = await opened(buyer, trade)
    one = await officer()
    await one.get(f"/officer/cases/{case}")
    await one.send(f"/officer/cases/{case}/decide", amount="0", words="It was delivered.")

    await buyer.get(f"/trades/{trade}/case")

    assert 'data-state="decided"' in buyer.text
    with pytest.raises(Exception, match="decided on already"):
        await open_again(page_app, buyer, trade)


async def open_again(app: Litestar, browser: Browser, trade: str) -> None:
    async with app.state.venue.sessions() as session:
        who = await member(session, browser.party_id)
    number = int(trade.removeprefix("trd_"))
    await cases.open_case(
        app.state.venue, who, number, reason="other", told=cases.Told("Again."), now=datetime.now(UTC)
    )


async def test_who_does_not_answer_within_48_hours_has_given_the_case_up(
    page_app: Litestar, sides: tuple[str, Browser, Browser], officer: Callable[..., Any]
) -> None:
    trade, seller, buyer = sides
    case = await opened(buyer, trade)
    one = await officer()
    await one.get(f"/officer/cases/{case}")
    await one.send(f"/officer/cases/{case}/ask", side="buy", words="Which line?")
    await buyer.get(f"/cases/{case}")
    assert "Please answer by" in buyer.text
    now, venue = datetime.now(UTC), page_app.state.venue

    assert await cases.lapse(venue, now + timedelta(hours=47)) == 0
    assert await cases.lapse(venue, now + timedelta(hours=49)) == 1

    await buyer.get(f"/cases/{case}")
    assert 'data-state="abandoned"' in buyer.text
    assert (await told(page_app, seller.party_id))[-1] == "case_abandoned"


async def test_an_answer_in_time_and_the_other_side_s_silence_keep_the_case_open(
    page_app: Litestar, sides: tuple[str, Browser, Browser], officer: Callable[..., Any]
) -> None:
    trade, _, buyer = sides
    case = await opened(buyer, trade)
    one, later = await officer(), datetime.now(UTC) + timedelta(hours=49)
    await one.get(f"/officer/cases/{case}")
    await one.send(f"/officer/cases/{case}/ask", side="buy", words="Which line?")
    await buyer.get(f"/cases/{case}")
    await buyer.send(f"/cases/{case}", words="My only one.")
    assert await cases.lapse(page_app.state.venue, later) == 0
    await one.send(f"/officer/cases/{case}/ask", side="sell", words="And you?")
    assert await cases.lapse(page_app.state.venue, later) == 1

    async with page_app.state.venue.sessions() as session:
        row = await session.get_one(CaseRow, int(case.removeprefix("cas_")))
        assert (row.status, row.asked_id) == ("open", None)


async def test_a_file_is_seen_by_its_sender_and_the_officers_alone(
    sides: tuple[str, Browser, Browser], officer: Callable[..., Any]
) -> None:
    trade, seller, buyer = sides
    here = f"/trades/{trade}/case"
    await buyer.get(here)
    fields = {**buyer.shown[here], "reason": "not_received", "words": "Look."}
    headers = {"Origin": "http://127.0.0.1:8000", "Accept": "text/html"}
    files = {"file": ("proof.png", PNG, "text/html")}
    fields.pop("file", None)
    page = await buyer.client.post(here, data=fields, files=files, headers=headers)
    case = re.search(r"cas_\d+", page.text)
    assert case is not None, page.text
    path = re.search(rf"/cases/{case[0]}/files/\d+", page.text)
    assert path is not None

    own = await buyer.get(path[0])
    assert (own.content, own.headers["content-type"]) == (PNG, "image/png")
    assert own.headers["content-disposition"].startswith("attachment")
    assert (await seller.get(path[0])).status_code == 404
    one = await officer("compliance")
    assert (await one.get("/officer" + path[0])).content == PNG


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"reason": "not_paid", "words": "x"}, "Please choose what went wrong."),
        ({"reason": "other", "words": "   "}, "1 to 1000 characters"),
        ({"reason": "other", "words": "Call me: 13912345678"}, "leave phone numbers out"),
    ],
)
async def test_what_is_wrong_with_a_form_stands_beside_its_field(
    sides: tuple[str, Browser, Browser], fields: dict[str, str], words: str
) -> None:
    trade, _, buyer = sides
    await buyer.get(f"/trades/{trade}/case")
    answer = await buyer.send(f"/trades/{trade}/case", fields)
    assert answer.status_code == 400
    assert words in buyer.text


async def test_strangers_and_other_carriers_officers_see_nothing(
    sides: tuple[str, Browser, Browser], anybody: Callable[[], Browser], officer: Callable[..., Any]
) -> None:
    trade, seller, buyer = sides
    case = await opened(buyer, trade)
    other = await officer(carrier="CMCC")
    assert (await other.get(f"/officer/cases/{case}")).status_code == 404
    reader = await officer("compliance")
    await reader.get(f"/officer/cases/{case}")
    assert f"/officer/cases/{case}/decide" not in reader.shown
    await seller.get(f"/cases/{case}")
    assert "Somebody" not in seller.text, "nobody learns the other's name"
    assert f"/cases/{case}/withdraw" not in seller.shown
    await buyer.get(f"/cases/{case}")
    await buyer.send(f"/cases/{case}/withdraw")
    assert 'data-state="withdrawn"' in buyer.text


async def test_both_sides_are_told_once_how_their_trade_ended(
    page_app: Litestar, sides: tuple[str, Browser, Browser]
) -> None:
    _, seller, buyer = sides
    venue, now = page_app.state.venue, datetime.now(UTC)

    await telling.tell_of_trades(venue, now - timedelta(minutes=5), now)
    assert await telling.tell_of_trades(venue, now - timedelta(minutes=5), now) == 0

    assert await told(page_app, buyer.party_id) == ["bought_coins"]
    assert await told(page_app, seller.party_id) == ["sold_coins"]
    await seller.get("/notices")
    assert re.search(r"You sold 200 coins and received (CN)?¥1\.90\.", seller.text)
