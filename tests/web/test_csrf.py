"""Unsafe requests need the token of our page and must come from it; the API needs neither and takes no cookie (A24)."""

import pytest

from tests.web.making import Visitor

FOREIGN = "https://evil.example"


async def test_a_form_with_its_token_is_taken(visitor: Visitor) -> None:
    response = await visitor.client.post(
        "/tests/form", data={"_csrf_token": visitor.token}, headers={"Origin": visitor.origin}
    )

    assert (response.status_code, response.text) == (201, "taken")


async def test_the_token_may_come_in_the_header(visitor: Visitor) -> None:
    assert (await visitor.post("/tests/form")).status_code == 201


@pytest.mark.parametrize("token", ["", "x", "x" * 107])
async def test_without_the_token_nothing_is_done(visitor: Visitor, token: str) -> None:
    response = await visitor.post("/tests/form", {"X-CSRFToken": token})

    assert response.status_code == 403
    assert response.headers["content-type"].startswith("text/html")


async def test_a_token_that_somebody_planted_as_a_cookie_is_none(visitor: Visitor) -> None:
    forged = "a" * 107
    visitor.client.cookies.set("csrf", forged, domain="127.0.0.1", path="/")

    assert (await visitor.post("/tests/form")).status_code == 403
    assert (await visitor.get("/tests/form")).headers["set-cookie"].startswith("csrf=")


@pytest.mark.parametrize(
    "headers",
    [{"Origin": FOREIGN}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}],
)
async def test_a_request_from_another_site_is_refused_even_with_the_token(
    visitor: Visitor, headers: dict[str, str]
) -> None:
    assert (await visitor.post("/tests/form", headers)).status_code == 403


async def test_a_simple_request_with_plain_text_is_refused(visitor: Visitor) -> None:
    response = await visitor.client.post("/tests/form", content=b"{}", headers={"Content-Type": "text/plain"})

    assert response.status_code == 403


async def test_signing_in_needs_the_token_too(visitor: Visitor) -> None:
    partner = await visitor.market.partner()

    response = await visitor.client.post(f"/tests/sign-in/{partner.party_id}")

    assert response.status_code == 403
    assert visitor.session_id is None


async def test_the_api_takes_no_cookie(visitor: Visitor) -> None:
    partner = await visitor.market.partner()
    await visitor.sign_in(partner.party_id)

    response = await visitor.client.get("/api/v1/wallet")

    assert (response.status_code, response.json()["code"]) == (401, "not_signed_in")


async def test_the_api_needs_no_token(visitor: Visitor) -> None:
    partner = await visitor.market.partner()

    response = await partner.post("/orders/cancel-all", None)

    assert response.status_code == 200
