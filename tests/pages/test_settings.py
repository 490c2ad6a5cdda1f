"""The settings: sessions are shown and ended, limits explained, data leaves as a file, an account is deleted."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from tests.pages.conftest import Browser
from web.edge.devices import device_of, network_of

CHROME = "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36"
SAFARI = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Version/17.5 Safari/604.1"
SECRET = ("number_hash", "number_sealed", "key_hash", "public_key", "document_hash", "group_id")


async def _sign_in(browser: Browser, party_id: int) -> None:
    await browser.get("/sign-in")
    await browser.post(f"/tests/sign-in/{party_id}", browser.shown["/preferences"])
    browser.party_id = party_id


async def _value(page_app: Any, statement: str, **values: Any) -> Any:
    async with page_app.state.venue.sessions() as session:
        return await session.scalar(text(statement), values)


async def _do(page_app: Any, statement: str, **values: Any) -> None:
    async with page_app.state.venue.sessions.begin() as session:
        await session.execute(text(statement), values)


@pytest.mark.parametrize(
    ("agent", "device"), [(CHROME, "Chrome · Android"), (SAFARI, "Safari · iPhone"), ("curl/8.5", ""), ("", "")]
)
def test_a_device_is_told_by_browser_and_system(agent: str, device: str) -> None:
    assert device_of(agent) == device


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("203.0.113.7", "203.0.*.*"),
        ("2001:db8:1::9", "2001:0db8:*"),
        ("unknown", ""),
        ("::ffff:1.2.3.4", "0000:0000:*"),
    ],
)
def test_of_a_network_only_its_beginning_is_shown(address: str, shown: str) -> None:
    assert network_of(address) == shown


async def test_the_settings_show_limits_and_a_row_for_each_choice(signed_in: Callable[..., Any]) -> None:
    browser: Browser = await signed_in()

    response = await browser.get("/settings")

    assert response.status_code == 200
    assert 'data-minor="500000"' in browser.text
    assert "25 % of the full limit" in browser.text
    assert {"locale", "theme", "trend"} <= {
        name for name in ("locale", "theme", "trend") if f'name="{name}"' in browser.text
    }


async def test_a_choice_is_kept_and_comes_back_to_the_settings(signed_in: Callable[..., Any]) -> None:
    browser: Browser = await signed_in()
    await browser.get("/settings")

    await browser.send("/preferences", theme="dark", back="/settings")

    assert 'data-theme="dark"' in browser.text
    assert "Language and colours" in browser.text


async def test_a_partner_has_no_limit_of_ours(signed_in: Callable[..., Any]) -> None:
    browser: Browser = await signed_in(kind="partner")

    await browser.get("/settings")

    assert "Your contract says" in browser.text
    assert "check-name" not in browser.text


async def test_sessions_are_listed_and_one_can_be_ended(
    signed_in: Callable[..., Any], browsers: Callable[[], Browser]
) -> None:
    here: Browser = await signed_in()
    there = browsers()
    there.client.headers["User-Agent"] = CHROME
    await _sign_in(there, here.party_id)

    await here.get("/settings/sessions")
    assert here.text.count('data-testid="sitting"') == 2
    assert here.text.count("data-here") == 1
    assert "Chrome · Android" in here.text
    (ending,) = [
        action for action in here.shown if action.startswith("/settings/sessions/") and action.endswith("/end")
    ]
    await here.send(ending)

    assert here.text.count('data-testid="sitting"') == 1
    await there.get("/settings")
    assert "/sign-in" in str(there.page and there.page.url)


async def test_nobody_ends_a_session_of_somebody_else(signed_in: Callable[..., Any]) -> None:
    one: Browser = await signed_in()
    await one.get("/settings/sessions")
    other: Browser = await signed_in()
    await other.get("/settings/sessions")
    name = [part for part in other.text.split('"') if part.startswith("/settings/sessions/") and part.endswith("/end")]
    assert name == []

    keys = [key async for key in _keys(one)]
    for key in keys:
        await other.post(f"/settings/sessions/{key}/end", other.shown["/preferences"])

    await one.get("/settings")
    assert "What you may trade" in one.text


async def _keys(browser: Browser) -> Any:
    venue = browser.client._transport.app.state.venue  # type: ignore[attr-defined]
    for key in await venue.redis.smembers(f"surplusflow:sessions-of:party:{browser.party_id}"):
        yield key.decode().rpartition(":")[2]


@pytest.mark.parametrize(("action", "here_stays"), [("end-others", True), ("sign-out", False)])
async def test_signing_out_everywhere(
    signed_in: Callable[..., Any], browsers: Callable[[], Browser], action: str, *, here_stays: bool
) -> None:
    here: Browser = await signed_in()
    there = browsers()
    await _sign_in(there, here.party_id)
    await here.get("/settings/sessions")

    await here.send(f"/settings/sessions/{action}")

    await there.get("/me")
    assert "/sign-in" in str(there.page and there.page.url)
    await here.get("/settings")
    assert ("What you may trade" in here.text) == here_stays


async def test_everything_about_a_member_leaves_as_one_file_without_secrets(
    signed_in: Callable[..., Any], page_app: Any
) -> None:
    browser: Browser = await signed_in()
    await browser.get("/settings")

    answer = await browser.send("/settings/export")

    told = json.loads(answer.text)
    assert told["member"]["id"] == browser.party_id
    assert {"orders", "notice", "passkey", "payment", "postings", "trades", "lines"} - {"orders"} <= told.keys()
    assert len(told["postings"]) == 2
    assert all(f'"{name}"' not in answer.text for name in SECRET)
    assert "surveillance_event" not in told
    assert "attachment" in answer.headers["content-disposition"]


async def test_an_export_and_a_deletion_ask_for_proof(signed_in: Callable[..., Any]) -> None:
    browser: Browser = await signed_in(money_minor=0, coins=0)
    await browser.get("/settings")
    await browser.post("/tests/proof-runs-out", browser.shown["/preferences"])

    for action, page in (("/settings/export", "/settings"), ("/settings/delete", "/settings/delete")):
        await browser.get(page)
        await browser.send(action, sure="yes")
        assert browser.page is not None
        assert browser.page.url.path == "/step-up"


async def test_an_account_with_something_in_it_says_why_it_stays(signed_in: Callable[..., Any], page_app: Any) -> None:
    browser: Browser = await signed_in()

    await browser.get("/settings/delete")
    assert "still money in your wallet" in browser.text
    assert "still have coins" in browser.text
    answer = await browser.post("/settings/delete", {**browser.shown["/preferences"], "sure": "yes"})

    assert answer.status_code == 422
    assert await _value(page_app, "select erased_at from party where id = :id", id=browser.party_id) is None


async def test_an_empty_account_is_deleted_and_its_session_with_it(
    signed_in: Callable[..., Any], browsers: Callable[[], Browser], page_app: Any
) -> None:
    browser: Browser = await signed_in(money_minor=1, coins=1)
    elsewhere = browsers()
    await _sign_in(elsewhere, browser.party_id)
    empty = "update account set available = 0 where party_id = :id"
    await _do(page_app, "alter table posting disable trigger all")
    await _do(
        page_app,
        "delete from posting where account_id in (select id from account where party_id = :id)",
        id=browser.party_id,
    )
    await _do(page_app, empty, id=browser.party_id)
    await _do(page_app, "alter table posting enable trigger all")
    await browser.get("/settings/delete")

    await browser.send("/settings/delete", sure="yes")

    row = "select name || coalesce(customer_reference, '') from party where id = :id and erased_at is not null"
    assert await _value(page_app, row, id=browser.party_id) == ""
    for each in (browser, elsewhere):
        await each.get("/me")
        assert "/sign-in" in str(each.page and each.page.url)


async def test_without_being_sure_nothing_is_deleted(signed_in: Callable[..., Any], page_app: Any) -> None:
    browser: Browser = await signed_in()
    await browser.get("/settings/delete")

    await browser.post("/settings/delete", browser.shown["/preferences"])

    assert await _value(page_app, "select erased_at from party where id = :id", id=browser.party_id) is None
