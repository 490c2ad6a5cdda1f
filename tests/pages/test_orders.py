"""A member's orders without script: filters, changes, renewals, mass cancels, and a long history at a fixed cost."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from litestar import Litestar
from sqlalchemy import event, text

from market import renewing
from tests.pages.conftest import Browser
from tests.pages.test_order_types import placed
from web.i18n import CLOCK

HISTORY = 10_000
_HISTORY = text("""
    insert into ended_order (id, instrument_id, party_id, group_id, side, price_minor, quantity, filled, time_in_force,
        market, post_only, self_trade, fee_basis_points, fee_minimum_minor, account_id, version, priority, state,
        reason, created_at, updated_at)
    select cast(:first as bigint) + n, 1, :party, :party, 1 + n % 2, 100 + n % 7, 5, 0, 'gtc', false, false,
        'cancel_newest', 0, 0, 1, 1, n, 'cancelled', 'cancelled', now(), now()
    from generate_series(1, :count) n
""")


@contextmanager
def counted(app: Litestar) -> Iterator[list[str]]:
    """The statements that the application sends to the database meanwhile."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    engine = app.state.venue.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


def rows(browser: Browser) -> list[str]:
    return re.findall(r'data-testid="order-row" data-order="(ord_\d+)"', browser.text)


async def in_an_hour(browser: Browser, minutes: int = 45, **fields: str) -> str:
    """An order that ends within the hour."""
    end = datetime.now(CLOCK) + timedelta(minutes=minutes)
    return await placed(browser, time_in_force="gtd", expires_at=f"{end:%Y-%m-%dT%H:%M}", **fields)


async def test_the_list_is_filtered_by_state_side_and_market(signed_in: Any) -> None:
    browser = await signed_in()
    buying = await placed(browser, side="buy", price="0.03", payment="wallet")
    selling = await placed(browser)

    await browser.get("/orders")
    assert rows(browser) == [selling, buying]
    await browser.get("/orders?side=buy")
    assert rows(browser) == [buying]
    await browser.get("/orders?side=sell&symbol=COIN")
    assert rows(browser) == [selling]
    await browser.get("/orders?symbol=CMCC-CN-3001")
    assert rows(browser) == []
    await browser.get("/orders?side=sell")
    await browser.send(f"/orders/{selling}/cancel")
    assert browser.page.url.query == b"state=open&side=sell"
    await browser.get("/orders?state=cancelled&side=sell")
    assert rows(browser) == [selling]
    assert "You cancelled it" in browser.text


async def test_a_change_to_what_has_changed_since_is_refused_beside_the_order(signed_in: Any) -> None:
    browser = await signed_in()
    order = await placed(browser)
    await browser.get("/orders")
    stale = dict(browser.shown[f"/orders/{order}/amend"])
    await browser.send(f"/orders/{order}/amend", price="9.50", lots="8")

    response = await browser.post(f"/orders/{order}/amend", stale | {"price": "9.20", "key": "aa11"})

    assert response.status_code == 409
    assert "It has changed since you looked" in browser.text or "has changed since you looked" in browser.text
    assert 'value="9.20"' in browser.text
    assert "800 coins × CN¥9.50" in browser.text


async def test_an_order_about_to_end_is_renewed_by_one_button(signed_in: Any) -> None:
    browser = await signed_in()
    order = await in_an_hour(browser)

    await browser.get("/orders")
    assert 'data-testid="ending"' in browser.text
    form = dict(browser.shown[f"/orders/{order}/renew"])
    await browser.send(f"/orders/{order}/renew")
    assert "stands for longer now" in browser.text
    assert 'data-testid="ending"' not in browser.text
    again = await browser.post(f"/orders/{order}/renew", form)

    assert again.status_code == 200
    assert rows(browser) == [order]


async def test_what_has_ended_is_placed_again_once(signed_in: Any) -> None:
    browser = await signed_in()
    order = await placed(browser)
    await browser.get("/orders")
    await browser.send(f"/orders/{order}/cancel")

    await browser.get("/orders?state=cancelled")
    form = dict(browser.shown[f"/orders/{order}/renew"])
    await browser.send(f"/orders/{order}/renew")
    assert "was placed again" in browser.text
    (new,) = rows(browser)
    await browser.post(f"/orders/{order}/renew", form)

    assert new != order
    assert rows(browser) == [new]
    assert "1,000 coins × CN¥9.00" in browser.text


async def test_what_cannot_be_placed_again_says_why(signed_in: Any) -> None:
    browser = await signed_in()
    order = await placed(browser)

    await browser.get("/orders")
    token = {"_csrf_token": browser.shown[f"/orders/{order}/cancel"]["_csrf_token"], "key": "aa22"}
    response = await browser.post(f"/orders/{order}/renew", token)

    assert response.status_code == 422
    assert "stands until its market closes" in browser.text


async def test_the_owner_is_warned_an_hour_before_an_order_ends_and_once(signed_in: Any, page_app: Litestar) -> None:
    browser = await signed_in()
    end = datetime.now(CLOCK) + timedelta(hours=3)
    order = await placed(browser, time_in_force="gtd", expires_at=f"{end:%Y-%m-%dT%H:%M}")
    told = text("select about from notice where party_id = :party and kind = 'order_ending'")

    async def warned(before_minutes: int) -> list[str]:
        async with page_app.state.venue.sessions.begin() as session:
            await renewing.warn(session, end - timedelta(minutes=before_minutes))
            return list(await session.scalars(told, {"party": browser.party_id}))

    assert await warned(90) == []
    assert await warned(50) == [f"/orders#order-{order.removeprefix('ord_')}"]
    assert len(await warned(40)) == 1
    await browser.get("/notices")
    assert f"Your order {order} ends on" in browser.text


async def test_a_mass_cancel_asks_first_and_names_what_will_end(signed_in: Any) -> None:
    browser = await signed_in()
    kept = await placed(browser, side="buy", price="0.03", payment="wallet")
    ended = await placed(browser)

    await browser.get("/orders/cancel-all?side=sell&symbol=COIN")
    assert "This open order will be cancelled." in browser.text
    await browser.get("/orders")
    assert set(rows(browser)) == {kept, ended}
    await browser.get("/orders/cancel-all?side=sell&symbol=COIN")
    await browser.send("/orders/cancel-all")

    assert rows(browser) == [kept]


@pytest.mark.parametrize(
    "path", ["/orders?state=all", "/orders?state=cancelled&side=sell", "/orders?state=all&symbol=COIN"]
)
async def test_ten_thousand_orders_cost_what_a_few_do(signed_in: Any, page_app: Litestar, path: str) -> None:
    browser = await signed_in()
    await browser.get(path)
    with counted(page_app) as few:
        await browser.get(path)
    first = 10**14 + browser.party_id * 10**6
    async with page_app.state.venue.sessions.begin() as session:
        await session.execute(_HISTORY, {"first": first, "party": browser.party_id, "count": HISTORY})

    with counted(page_app) as many:
        began = time.perf_counter()
        await browser.get(path)
        seconds = time.perf_counter() - began

    assert len(rows(browser)) == 20
    assert len(many) == len(few)
    assert seconds < 1
    older = re.search(r'href="(/orders\?[^"]*before=ord_\d+)"', browser.text)
    assert older is not None
    newest = rows(browser)
    await browser.get(older[1].replace("&amp;", "&"))
    assert len(set(rows(browser)) | set(newest)) == 40


async def test_the_queue_says_who_is_ahead(browsers: Any, signed_in: Any) -> None:
    ahead, behind = await signed_in(), await signed_in()
    first = await placed(ahead, price="9.77")
    second = await placed(behind, price="9.78")

    await behind.get("/orders")

    assert second in behind.text
    assert re.search(r"\d+ orders? ahead \([\d,]+ coins\)", behind.text)
    for browser, order in ((ahead, first), (behind, second)):
        await browser.get("/orders")
        await browser.send(f"/orders/{order}/cancel")
