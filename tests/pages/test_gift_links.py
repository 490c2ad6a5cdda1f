"""Gifts by link: made once, shown to whoever has the link, claimed by one; a code to scan of our own making."""

from collections.abc import Callable
from typing import Any

from tests.pages.conftest import Browser

PAGE = "/gifts"


async def a_link(giver: Browser, coins: str = "20") -> str:
    """The path of a new gift."""
    await giver.get(PAGE)
    await giver.send(PAGE, coins=coins)
    assert giver.page is not None
    return giver.page.url.path


async def test_a_gift_is_made_shown_with_its_code_and_listed(signed_in: Callable[..., Any]) -> None:
    giver: Browser = await signed_in()

    path = await a_link(giver)

    assert 'data-testid="gift-code"' in giver.text
    assert f'src="{path}/code.svg"' in giver.text
    await giver.get(PAGE)
    assert f'href="{path}"' in giver.text
    assert 'data-testid="gift-link" data-state="open"' in giver.text


async def test_the_code_to_scan_is_a_picture_of_our_own(signed_in: Callable[..., Any]) -> None:
    giver: Browser = await signed_in()
    path = await a_link(giver)

    picture = await giver.get(f"{path}/code.svg")

    assert picture.headers["content-type"].startswith("image/svg+xml")
    assert picture.content.lstrip().startswith(b"<?xml")
    assert b"#fff" in picture.content
    assert b"style=" not in picture.content


async def test_a_form_that_is_sent_twice_makes_one_gift(signed_in: Callable[..., Any]) -> None:
    giver: Browser = await signed_in()
    await giver.get(PAGE)
    fields = {**giver.shown[PAGE], "coins": "20"}

    pages = [await giver.post(PAGE, fields) for _ in range(2)]

    assert len({page.url.path for page in pages}) == 1


async def test_a_stranger_sees_it_and_is_asked_to_sign_in(
    signed_in: Callable[..., Any], anybody: Callable[[], Browser]
) -> None:
    path, stranger = await a_link(await signed_in()), anybody()

    page = await stranger.get(path)

    assert page.status_code == 200
    assert f'href="/sign-in?next={path}"' in stranger.text
    assert page.headers["cache-control"] == "no-store"


async def test_the_first_one_takes_it_and_the_second_is_told(signed_in: Callable[..., Any]) -> None:
    giver, first, second = [await signed_in() for _ in range(3)]
    path = await a_link(giver)
    for each in (first, second):
        await each.get(path)

    taken = await first.send(path)
    late = await second.send(path)

    assert taken.status_code == 200
    assert "These coins are yours." in first.text
    assert late.status_code == 409
    assert "Somebody else has claimed this gift already." in second.text
    assert 'data-testid="claim-gift"' not in second.text


async def test_a_wrong_number_is_refused_beside_its_field_and_stays(signed_in: Callable[..., Any]) -> None:
    giver: Browser = await signed_in()
    await giver.get(PAGE)

    page = await giver.send(PAGE, coins="a lot")

    assert page.status_code == 400
    assert 'id="gift-link-coins-error"' in giver.text
    assert giver.shown[PAGE]["coins"] == "a lot"


async def test_no_other_code_shows_a_gift(signed_in: Callable[..., Any]) -> None:
    giver: Browser = await signed_in()

    for path in ("/gifts/nothing", "/gifts/nothing/code.svg"):
        assert (await giver.get(path)).status_code == 404
