"""The receipt of a trade: a party downloads it at the trade's page, and the market's published keys fit it."""

import re
from collections.abc import Callable
from typing import Any

from settlement.receipts.verifying import keys_in, verify
from tests.pages.conftest import Browser

COIN = "/instruments/COIN"


async def _a_trade(seller: Browser, buyer: Browser) -> str:
    await seller.get(COIN + "?side=sell&price=1.00")
    await seller.send(COIN, lots="2")
    await buyer.get(COIN + "?side=buy&price=1.00")
    await buyer.send(COIN, lots="2")
    await buyer.get("/trades")
    found = re.search(r'data-trade="(trd_\d+)"', buyer.text)
    assert found is not None
    return found[1]


async def test_a_party_downloads_a_receipt_that_the_published_key_fits(signed_in: Callable[..., Any]) -> None:
    buyer = await signed_in()
    trade = await _a_trade(await signed_in(), buyer)
    await buyer.get(f"/trades/{trade}")
    assert f'href="/trades/{trade}/receipt"' in buyer.text

    receipt = await buyer.get(f"/trades/{trade}/receipt")

    published = await buyer.get("/.well-known/surplusflow-receipts.json")
    assert receipt.headers["content-disposition"] == f'attachment; filename="receipt-{trade}.json"'
    assert verify(receipt.content, keys_in(published.text)).is_sound


async def test_nobody_else_downloads_it(signed_in: Callable[..., Any]) -> None:
    buyer = await signed_in()

    assert (await buyer.get("/trades/trd_999999999/receipt")).status_code == 404
    assert (await buyer.get("/trades/trd_-1/receipt")).status_code == 404
