"""The REST API on a real engine: orders, their owners, their keys, and the pages of long lists."""

import asyncio
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from market.partners import revoke_key
from market.tables import ApiKeyRow
from settlement.escalation_tables import EscalationRow
from tests.web.making import Market, Partner, a_key
from web.api import door


async def rest(market: Market, side: str, price_minor: int, lots: int = 1) -> tuple[Partner, str]:
    """Somebody's order that rests in the book."""
    partner = await market.partner()
    placed = await partner.order(side, price_minor, lots)
    assert placed.status_code == 201, placed.text
    return partner, placed.json()["order_id"]


async def test_an_order_is_placed_seen_and_cancelled(market: Market) -> None:
    partner, order_id = await rest(market, "buy", 2, lots=3)

    seen = await partner.get(f"/orders/{order_id}")
    ended = await partner.send("DELETE", f"/orders/{order_id}", headers={"If-Match": seen.headers["etag"]})

    assert (seen.json()["state"], seen.json()["open_lots"], seen.json()["symbol"]) == ("open", 3, "COIN")
    assert (ended.status_code, ended.json()["state"]) == (200, "cancelled")
    assert (await partner.get("/orders?status=open")).json()["items"] == []


async def test_a_fill_is_told_at_once_and_both_see_their_own_side(market: Market) -> None:
    seller, sold = await rest(market, "sell", 60, lots=2)
    buyer = await market.partner()

    bought = (await buyer.order("buy", 60, 2, time_in_force="ioc")).json()

    [fill] = bought["fills"]
    assert (bought["state"], fill["price_minor"], fill["lots"]) == ("filled", 60, 2)
    theirs = (await seller.get(f"/trades/{fill['trade_id']}")).json()
    ours = (await buyer.get("/trades")).json()["items"][0]
    assert (theirs["side"], theirs["order_id"], ours["side"]) == ("sell", sold, "buy")
    assert (
        theirs["amount_minor"] - theirs["fee_minor"]
        == theirs["net_minor"]
        == ours["amount_minor"] - theirs["fee_minor"]
    )
    assert not {"party_id", "seller_id", "buyer_id", "counterparty"} & ours.keys()


async def test_a_late_purchase_is_given_up_by_its_buyer_alone(market: Market) -> None:
    seller, _ = await rest(market, "sell", 61)
    buyer = await market.partner()
    [fill] = (await buyer.order("buy", 61, time_in_force="ioc")).json()["fills"]
    path = f"/trades/{fill['trade_id']}/give-up"

    early = await buyer.send("PUT", path)
    async with market.venue.sessions.begin() as session:
        number = int(fill["trade_id"].removeprefix("trd_"))
        session.add(EscalationRow(subject="delivery", subject_id=number, cause="waiting", since=datetime.now(UTC)))
    late = [await buyer.send("PUT", path) for _ in range(2)]

    assert (early.status_code, early.json()["code"]) == (422, "not_late")
    assert [(answer.status_code, answer.json()["status"]) for answer in late] == [(200, "pending")] * 2
    assert (await seller.send("PUT", path)).json()["code"] == "not_the_buyer"


async def test_the_same_key_gives_the_same_answer_and_happens_once(market: Market) -> None:
    partner, key = await market.partner(), a_key()

    answers = await asyncio.gather(*(partner.order("buy", 3, key=key) for _ in range(5)))
    quoted = await partner.send(
        "POST", "/orders", json={"symbol": "COIN", "side": "buy", "lots": 1, "price_minor": 3},
        headers={"Idempotency-Key": f'"{key}"'},
    )  # fmt: skip

    assert {answer.status_code for answer in [*answers, quoted]} == {201}
    assert len({answer.text for answer in [*answers, quoted]}) == 1
    assert len((await partner.get("/orders")).json()["items"]) == 1


async def test_the_same_key_with_another_body_is_refused(market: Market) -> None:
    partner, key = await market.partner(), a_key()
    await partner.order("buy", 3, key=key)

    refused = await partner.order("buy", 4, key=key)

    assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")


async def test_a_key_is_its_partys_own(market: Market) -> None:
    key, first, second = a_key(), await market.partner(), await market.partner()

    one, other = await first.order("buy", 3, key=key), await second.order("buy", 4, key=key)

    assert one.json()["order_id"] != other.json()["order_id"]


async def test_what_became_of_a_key_can_be_asked(market: Market) -> None:
    partner, key = await market.partner(), a_key()
    placed = await partner.order("buy", 3, key=key)

    assert (await partner.get(f"/outcomes/{key}")).json() == placed.json()
    assert (await partner.get(f"/outcomes/{a_key()}")).status_code == 404
    assert (await (await market.partner()).get(f"/outcomes/{key}")).status_code == 404


async def test_an_amendment_needs_the_version_that_is_current(market: Market) -> None:
    partner, order_id = await rest(market, "buy", 5, lots=3)
    path, body = f"/orders/{order_id}", {"price_minor": 5, "lots": 2, "version": 1}

    fresh = await partner.send("PATCH", path, json=body, headers={"Idempotency-Key": a_key()})
    stale = await partner.send("PATCH", path, json=body, headers={"Idempotency-Key": a_key()})

    assert (fresh.status_code, fresh.json()["open_lots"], fresh.json()["version"]) == (200, 2, 2)
    assert (stale.status_code, stale.json()["code"]) == (409, "stale_version")


async def test_versions_that_contradict_each_other_are_refused(market: Market) -> None:
    partner, order_id = await rest(market, "buy", 5)

    response = await partner.send("DELETE", f"/orders/{order_id}?version=1", headers={"If-Match": '"2"'})

    assert (response.status_code, response.json()["errors"][0]["field"]) == (400, "If-Match")


async def test_a_cancelled_order_cannot_be_cancelled_again(market: Market) -> None:
    partner, order_id = await rest(market, "buy", 5)
    await partner.send("DELETE", f"/orders/{order_id}")

    assert (await partner.send("DELETE", f"/orders/{order_id}")).status_code == 409


async def test_all_open_orders_end_together(market: Market) -> None:
    partner = await market.partner()
    for price in (5, 6, 7):
        await partner.order("buy", price)

    assert (await partner.post("/orders/cancel-all", None)).json() == {"orders": 3}
    assert (await partner.get("/orders?status=open")).json()["items"] == []


@pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH"])
async def test_a25_anothers_order_is_not_there(market: Market, method: str) -> None:
    _, order_id = await rest(market, "buy", 8)
    stranger = await market.partner()
    body = {"json": {"price_minor": 9, "lots": 1}} if method == "PATCH" else {}

    theirs = await stranger.send(method, f"/orders/{order_id}", headers={"Idempotency-Key": a_key()}, **body)
    nobodys = await stranger.send(method, "/orders/ord_999999999", headers={"Idempotency-Key": a_key()}, **body)

    assert theirs.status_code == nobodys.status_code == 404
    assert theirs.json()["detail"] == nobodys.json()["detail"]


async def test_a25_anothers_trade_is_not_there(market: Market) -> None:
    await rest(market, "sell", 70)
    buyer, stranger = await market.partner(), await market.partner()
    [fill] = (await buyer.order("buy", 70, time_in_force="ioc")).json()["fills"]

    assert (await stranger.get(f"/trades/{fill['trade_id']}")).status_code == 404
    assert (await buyer.get(f"/trades/{fill['trade_id']}")).status_code == 200


@pytest.mark.parametrize(
    "name",
    ["12", "ord_", "ord_0", "ord_-1", "ord_01", "ord_1.5", "trd_1", "ord_9223372036854775808", "ord_" + "9" * 400,
     "ord_１", "ord_²", "..%2f..%2fetc", "%00", "ord_1%0a", "ord_1;drop", "550e8400-e29b-41d4-a716-446655440000"],
)  # fmt: skip
async def test_a10_what_is_no_id_of_ours_is_not_there(market: Market, name: str) -> None:
    partner = await market.partner()

    assert (await partner.get(f"/orders/{name}")).status_code == 404


async def test_a_long_list_comes_in_pages_that_miss_nothing(market: Market) -> None:
    partner = await market.partner()
    placed = [(await partner.order("buy", 5)).json()["order_id"] for _ in range(5)]

    seen: list[str] = []
    cursor = None
    for _ in range(3):
        page = (await partner.get("/orders", params={"limit": 2, **({"cursor": cursor} if cursor else {})})).json()
        seen += [order["id"] for order in page["items"]]
        cursor = page["next_cursor"]

    assert seen == placed[::-1]
    assert cursor is None


async def test_a11_a_cursor_of_another_party_is_refused(market: Market) -> None:
    partner, stranger = await market.partner(), await market.partner()
    for _ in range(2):
        await partner.order("buy", 5)
    cursor = (await partner.get("/orders?limit=1")).json()["next_cursor"]

    assert (await stranger.get("/orders", params={"cursor": cursor})).status_code == 400
    assert (await partner.get("/trades", params={"cursor": cursor})).status_code == 400


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=201", "limit=1000000000", "limit=-1", "limit=1.5", "limit=1_0", "limit=１２", "limit=²",
     "limit=", "limit=x", "limit=" + "9" * 5000, "limit=1&limit=1",
     "status=open&status=open", "status=OPEN", "status=%00", "cursor=x",
     "cursor=" + "A" * 100],
)  # fmt: skip
async def test_a_query_is_read_strictly(market: Market, query: str) -> None:
    partner = await market.partner()

    response = await partner.get(f"/orders?{query}")

    assert (response.status_code, response.json()["code"]) == (400, "bad_input")


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=gbk", "", "*/*"]
)
async def test_a6_a_body_of_another_type_is_refused(market: Market, content_type: str) -> None:
    partner = await market.partner()
    headers = {"Idempotency-Key": a_key(), "Content-Type": content_type}
    body = b'{"symbol": "COIN", "side": "buy", "lots": 1, "price_minor": 5}'

    response = await partner.send("POST", "/orders", content=body, headers=headers)

    assert (response.status_code, response.json()["code"]) == (415, "wrong_media_type")


async def test_a5_a_compressed_body_is_refused(market: Market) -> None:
    partner = await market.partner()
    headers = {"Idempotency-Key": a_key(), "Content-Type": "application/json", "Content-Encoding": "gzip"}

    assert (await partner.send("POST", "/orders", content=b"\x1f\x8b", headers=headers)).status_code == 415


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"lots": 0}, "lots"),
        ({"lots": "5"}, "lots"),
        ({"lots": 5.0}, "lots"),
        ({"lots": True}, "lots"),
        ({"lots": 2**64}, "lots"),
        ({"price_minor": -1}, "price_minor"),
        ({"price_minor": 2**63}, "price_minor"),
        ({"side": "BUY"}, "side"),
        ({"symbol": "COIN\u0000"}, "symbol"),
        ({"symbol": "COIN\n"}, "symbol"),
        ({"party_id": 1}, "party_id"),
        ({"fee": 0}, "fee"),
        ({"expires_at": "2026-02-30T00:00:00Z"}, "expires_at"),
        ({"payment_method": "pm_\u202e"}, "payment_method"),
    ],
)
async def test_a1_to_a7_a_wrong_field_is_named(market: Market, body: dict[str, object], field: str) -> None:
    partner = await market.partner()

    response = await partner.post("/orders", {"symbol": "COIN", "side": "buy", "lots": 1, "price_minor": 5, **body})

    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] == field


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"{", b"[" * 9_000, b'{"lots":' * 2_000, b"\xef\xbb\xbf{}", b"\xff\xfe", b'"\\ud800"']
)
async def test_a5_no_body_is_too_strange_to_be_refused(market: Market, body: bytes) -> None:
    partner = await market.partner()
    headers = {"Idempotency-Key": a_key(), "Content-Type": "application/json"}

    assert (await partner.send("POST", "/orders", content=body, headers=headers)).status_code == 400


@pytest.mark.parametrize("key", [None, "", "x" * 256, "a b", "a/b"])
async def test_a44_an_order_needs_a_fitting_key(market: Market, key: str | None) -> None:
    partner = await market.partner()
    body = {"symbol": "COIN", "side": "buy", "lots": 1, "price_minor": 5}

    response = await partner.send("POST", "/orders", json=body, headers={} if key is None else {"Idempotency-Key": key})

    assert response.status_code == 400
    assert "Idempotency-Key" in response.text


async def test_two_keys_on_one_request_are_refused(market: Market) -> None:
    partner = await market.partner()
    headers = [
        ("Authorization", f"Bearer {partner.api_key}"),
        ("Idempotency-Key", a_key()),
        ("Idempotency-Key", a_key()),
    ]

    response = await market.client.post("/api/v1/orders/cancel-all", headers=headers)

    assert response.status_code == 400


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Basic YWxhZGRpbjpvcGVuc2VzYW1l", "Bearer short", "Bearer " + "x" * 500,
     "Bearer sf_live_" + "é" * 30,
     "Bearer sf_live_" + "x" * 30],
)  # fmt: skip
async def test_only_a_known_key_lets_in(market: Market, authorization: str) -> None:
    headers = {"Authorization": authorization.encode()}

    response = await market.client.get("/api/v1/wallet", headers=headers)  # type: ignore[arg-type]

    assert response.status_code == 401
    assert response.json()["code"] in {"not_signed_in", "bad_key"}
    assert response.headers["www-authenticate"] == "Bearer"


async def test_a_refusal_of_the_market_keeps_its_code_and_its_field(market: Market) -> None:
    partner = await market.partner(money_minor=1)

    poor = await partner.order("buy", 500)
    above = await partner.order("buy", 5_000)

    assert (poor.status_code, poor.json()["code"]) == (422, "insufficient_money")
    assert (above.status_code, above.json()["code"]) == (422, "outside_band")


async def test_the_market_is_shown_as_it_stands(market: Market) -> None:
    maker = await market.partner()
    await maker.order("buy", 2, lots=4)

    [coin] = [each for each in (await maker.get("/instruments")).json() if each["symbol"] == "COIN"]
    book = (await maker.get("/instruments/COIN/book?levels=50")).json()

    assert coin["currency"] == "CNY"
    assert any(level["price_minor"] == 2 and level["lots"] >= 4 for level in book["bids"])
    assert [level["price_minor"] for level in book["bids"]] == sorted(
        (each["price_minor"] for each in book["bids"]), reverse=True
    )
    for path in ("", "/trades", "/candles?width=15m"):
        assert (await maker.get(f"/instruments/COIN{path}")).status_code == 200
    assert (await maker.get("/instruments/NOTHING-HERE/book")).status_code == 404
    assert (await maker.get("/instruments/COIN/candles?width=2h")).status_code == 400


async def test_the_wallet_shows_what_is_held(market: Market) -> None:
    partner = await market.partner(money_minor=1_000, coins=500)
    await partner.order("buy", 9, lots=10)

    wallet = (await partner.get("/wallet")).json()

    assert wallet == {
        "currency": "CNY",
        "available_minor": 910,
        "held_minor": 90,
        "coins_available": 500,
        "coins_held": 0,
    }


async def test_a41_a_revoked_key_soon_lets_nobody_in(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "KNOWN_SECONDS", 0)
    partner = await market.partner()
    assert (await partner.get("/wallet")).status_code == 200

    async with market.venue.sessions() as session:
        key_id = await session.scalar(select(ApiKeyRow.id).where(ApiKeyRow.party_id == partner.party_id))
        await revoke_key(session, partner.party_id, key_id or 0)
        await session.commit()

    assert (await partner.get("/wallet")).status_code == 401


async def test_each_leg_of_a_bulk_order_tells_its_own_outcome(market: Market) -> None:
    await rest(market, "sell", 40, lots=2)
    partner, key = await market.partner(), a_key()
    legs = [
        {"symbol": "COIN", "lots": 2, "limit_price_minor": 40},
        {"symbol": "NOTHING-HERE", "lots": 1, "limit_price_minor": 40},
    ]

    first = await partner.post("/bulk-orders", {"legs": legs}, key)
    again = await partner.post("/bulk-orders", {"legs": legs}, key)

    bought, unknown = first.json()["legs"]
    assert (bought["accepted"], bought["filled_lots"], bought["fills"][0]["price_minor"]) == (True, 2, 40)
    assert (unknown["accepted"], unknown["order_id"], bool(unknown["code"])) == (False, None, True)
    assert again.json() == first.json()


async def test_data_is_handed_out_by_partners_who_hold_a_line(market: Market) -> None:
    partner = await market.partner()

    refused = await partner.post("/handouts", {"symbol": "CMCC-CN-3001", "phone": "+8613800138000", "amount_mb": 100})

    assert refused.status_code in {404, 422}
    assert "13800138000" not in refused.text
