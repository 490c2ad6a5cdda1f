"""Nobody sees the other side of a trade: no page, no file and no answer of the API names them, before or after."""

from collections.abc import Callable
from itertools import count

import pytest
from litestar import Litestar
from sqlalchemy import text

from market.parties import line_or_invitation
from market.tables import PartyRow
from tests.pages.conftest import Browser
from tests.web.making import Market, Partner
from tests.web.test_access import ACCESS, For

FIRST_ID = 7_654_321
"""So large that no price, lot or time has the same digits."""
FROM_HERE_ON = "select setval(pg_get_serial_sequence('party', 'id'), greatest(:first, max(id))) from party"
NUMBERS = count(12_345)
ENDLESS = ("/stream", "/feed")


class Person:
    """One side of the trade: at a browser and with a key, and known by what must not show elsewhere."""

    def __init__(self, browser: Browser, partner: Partner, name: str, number: str) -> None:
        self.browser, self.partner, self.name, self.number = browser, partner, name, number

    @property
    def marks(self) -> list[str]:
        national = self.number.removeprefix("+86")
        return [self.name, str(self.partner.party_id), national, f"{national[:3]}****{national[-4:]}"]


async def a_person(page_app: Litestar, browser: Browser, name: str, number: str) -> Person:
    venue = page_app.state.venue
    partner = await Market(browser.client, venue).partner(kind="subscriber")
    async with venue.sessions.begin() as session:
        party = await session.get_one(PartyRow, partner.party_id)
        party.name = name
        line = await line_or_invitation(session, venue.vault, number, "CMCC", party)
        line.verified_at = party.created_at
    await browser.get("/sign-in")
    await browser.post(f"/tests/sign-in/{partner.party_id}", browser.shown["/preferences"])
    return Person(browser, partner, name, number)


@pytest.fixture
async def both(page_app: Litestar, browsers: Callable[[], Browser]) -> tuple[Person, Person]:
    """A seller and a buyer who have just traded with each other."""
    venue = page_app.state.venue
    async with venue.sessions.begin() as session:
        await session.execute(text(FROM_HERE_ON), {"first": FIRST_ID})
    seller = await a_person(page_app, browsers(), "Zyxwvu Qrstop", f"+86139555{next(NUMBERS)}")
    buyer = await a_person(page_app, browsers(), "Abcdef Ghijkl", f"+86139666{next(NUMBERS)}")
    await Market(seller.partner.client, venue).empty_book()
    assert (await seller.partner.order("sell", 101, lots=3)).status_code == 201
    bought = await buyer.partner.order("buy", 101, lots=2)
    assert bought.json()["state"] == "filled", bought.text
    return seller, buyer


async def _names(page_app: Litestar, person: Person) -> dict[str, str]:
    """What a path's placeholders stand for, as far as the person has such a thing."""
    async with page_app.state.venue.sessions() as session:
        own = {"party": person.partner.party_id}
        trade = await session.scalar(text("select max(id) from trade where :party in (buyer_id, seller_id)"), own)
        order = await session.scalar(text("select max(id) from orders where party_id = :party"), own)
    return {"symbol": "COIN", "name": f"trd_{trade}", "trade_id": f"trd_{trade}", "order_id": f"ord_{order}"}


async def test_no_page_and_no_answer_names_the_other_side(page_app: Litestar, both: tuple[Person, Person]) -> None:
    looked = 0
    for person, other in (both, both[::-1]):
        names = await _names(page_app, person)
        for (method, path), served in ACCESS.items():
            if method != "GET" or path.endswith(ENDLESS) or served not in {For.ANYONE, For.MEMBERS, For.KEYS}:
                continue
            try:
                address = path.format(**names)
            except KeyError:
                continue
            if served is For.KEYS:
                answer = await person.partner.get(address.removeprefix("/api/v1"))
            else:
                answer = await person.browser.client.get(address, headers={"Accept": "text/html"})
            assert not [mark for mark in other.marks if mark in answer.text], address
            looked += answer.status_code == 200
    assert looked > 50


async def test_a_members_own_data_names_nobody_else(both: tuple[Person, Person]) -> None:
    for person, other in (both, both[::-1]):
        await person.browser.get("/settings")
        answer = await person.browser.send("/settings/export")
        assert str(person.partner.party_id) in answer.text
        assert not [mark for mark in other.marks if mark in answer.text]


async def test_the_marks_would_be_found(both: tuple[Person, Person]) -> None:
    seller, _ = both

    await seller.browser.get("/me")

    assert seller.name in seller.browser.text
