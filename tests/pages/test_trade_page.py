"""The delivery tracker: each step with its time, what is waited for and when it is tried again; and the list."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from litestar import Litestar
from sqlalchemy import text

from market.tracking import Facts, Step, track
from market.views import TradeView
from settlement.reopening_tables import ReopeningRow
from tests.pages.conftest import Browser
from tests.pages.test_order_types import placed
from tests.pages.test_orders import counted

NOW = datetime(2026, 11, 5, 10, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
HISTORY = text("""
    insert into trade (id, instrument_id, price_minor, quantity, buy_order_id, sell_order_id, buyer_id, seller_id,
        taker_side, fee_minor, at)
    select cast(:first as bigint) + n, 1, 100, 1, 1, 2, case when n % 2 = 0 then :party else 1 end,
        case when n % 2 = 0 then 1 else :party end, 1, 0, now()
    from generate_series(1, 10000) n
""")


def a_trade(status: str = "pending", **more: Any) -> TradeView:
    values = {
        "id": 1, "instrument_id": 2, "symbol": "CMCC-CN-2611", "kind": "data", "carrier": "CMCC", "lot_units": 100,
        "currency": "CNY", "side": "buy", "order_id": 3, "price_minor": 100, "lots": 1, "amount_minor": 100,
        "fee_minor": 0, "net_minor": 100, "at": NOW, "status": status, "delivered_at": None, "ended_at": None,
        "receiver_line_id": 1, "reference": None, "payment_reference": None, "attempt": 0, "waiting": None,
        "reason": None,
    }  # fmt: skip
    return TradeView(**{**values, **more})


def told(steps: list[Step]) -> list[str]:
    return [f"{step.name} {step.how}{f' {step.waits_for}' if step.waits_for else ''}" for step in steps[2:]]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (Facts("ready"), ["sent waiting turn", "delivered ahead", "paid ahead"]),
        (Facts("claimed", 1, NOW), ["sent reached", "delivered waiting answer", "paid ahead"]),
        (Facts("unknown", 2, NOW, LATER), ["sent reached", "delivered waiting asking", "paid ahead"]),
        (Facts("ready", 3, NOW, LATER), ["sent reached", "delivered waiting trying", "paid ahead"]),
        (Facts("dead", 9, NOW), ["sent reached", "delivered waiting person", "paid ahead"]),
        (
            Facts("ready", by_card=True, card_status="ready", card_attempts=0),
            ["sent waiting turn", "delivered ahead", "captured ahead", "paid ahead"],
        ),
    ],
)
def test_what_is_on_its_way_says_what_it_waits_for(facts: Facts, expected: list[str]) -> None:
    assert told(track(a_trade(), facts, [], NOW)) == expected


def test_a_move_is_not_tried_before_its_carrier_is() -> None:
    lane = NOW + timedelta(minutes=30)

    (step,) = [
        each for each in track(a_trade(), Facts("ready", 2, NOW, LATER, lane_next_at=lane), [], NOW) if each.again_at
    ]

    assert (step.name, step.again_at) == ("delivered", lane)
    past = Facts("ready", 2, NOW, NOW - timedelta(minutes=1))
    assert [each.again_at for each in track(a_trade(), past, [], NOW) if each.again_at] == []


@pytest.mark.parametrize(
    ("side", "facts", "expected"),
    [
        ("buy", Facts("done", 1, NOW, by_card=True, card_status="unknown", card_attempts=1),
         ["sent reached", "delivered reached", "captured waiting card_asking", "paid ahead"]),
        ("sell", Facts("done", 1, NOW, by_card=True, card_status="ready", card_attempts=2),
         ["sent reached", "delivered reached", "paid waiting card_trying"]),
    ],
)  # fmt: skip
def test_after_the_delivery_the_card_is_waited_for(side: str, facts: Facts, expected: list[str]) -> None:
    assert told(track(a_trade("delivered", side=side, delivered_at=NOW), facts, [], NOW)) == expected


def test_what_has_ended_shows_every_time() -> None:
    trade = a_trade("settled", delivered_at=NOW, ended_at=LATER)
    facts = Facts("done", 1, NOW, None, True, "done", 1, None, LATER)

    steps = track(trade, facts, [], LATER)

    assert [(step.name, step.at) for step in steps] == [
        ("matched", NOW), ("held", NOW), ("sent", NOW), ("delivered", NOW), ("captured", LATER), ("paid", LATER),
    ]  # fmt: skip
    assert {step.how for step in steps} == {"reached"}


def test_a_refund_and_what_came_after_all_are_steps_too() -> None:
    refunded = track(a_trade("refunded", ended_at=LATER), Facts("refused", 1, NOW), [], LATER)
    assert told(refunded) == ["sent reached", "delivered failed", "refunded reached"]

    rows = [
        ReopeningRow(cause="carrier_reversed", status="settled", opened_at=NOW, ended_at=LATER),
        ReopeningRow(cause="disputed", status="for_a_person", opened_at=NOW, ended_at=None),
        ReopeningRow(cause="refunded_outside", status="withdrawn", opened_at=NOW, ended_at=LATER),
    ]
    again = track(a_trade("settled", delivered_at=NOW, ended_at=NOW), Facts("done", 1, NOW), rows, LATER)
    assert told(again)[-3:] == [
        "carrier_reversed reached",
        "disputed waiting person",
        "refunded_outside_withdrawn reached",
    ]


async def traded(signed_in: Any) -> tuple[Browser, Browser, str]:
    """A sale of coins: seller, buyer, and the trade."""
    seller, buyer = await signed_in(), await signed_in()
    await placed(seller, price="8.00", lots="2")
    await placed(buyer, side="buy", price="8.00", lots="2", payment="wallet")
    await buyer.get("/trades")
    return seller, buyer, buyer.text.split('data-trade="')[1].split('"')[0]


async def test_both_sides_follow_the_trade_and_can_say_that_something_is_wrong(signed_in: Any) -> None:
    seller, buyer, trade = await traded(signed_in)

    for side, words in ((seller, "Your coins are set aside"), (buyer, "Your money is set aside")):
        await side.get(f"/trades/{trade}")
        assert words in side.text
        assert 'data-testid="step-matched" data-step="reached"' in side.text
        assert 'data-testid="step-moved" data-step="waiting"' in side.text
        assert "Waiting for its turn" in side.text
        assert f'href="/trades/{trade}/case"' in side.text
        assert f'href="/trades/{trade}/receipt"' in side.text


async def test_the_page_tells_when_it_is_tried_again(signed_in: Any, page_app: Litestar) -> None:
    seller, _, trade = await traded(signed_in)
    again = text("""
        update instruction set status = 'ready', attempt = 2, last_sent_at = now(),
            not_before = now() + interval '2 hours' where kind = 'deliver' and subject_id = :trade
    """)
    async with page_app.state.venue.sessions.begin() as session:
        await session.execute(again, {"trade": int(trade.removeprefix("trd_"))})

    await seller.get(f"/trades/{trade}")

    assert "It did not get through; we try again" in seller.text
    assert "2 attempts" in seller.text
    assert 'data-testid="again"' in seller.text


async def test_trades_are_filtered_by_state_side_and_market(signed_in: Any) -> None:
    seller, buyer, trade = await traded(signed_in)

    for path, found in {
        "/trades?state=open": True,
        "/trades?state=settled": False,
        "/trades?side=sell&symbol=COIN": True,
        "/trades?side=buy": False,
        "/trades?symbol=CMCC-CN-3001": False,
    }.items():
        await seller.get(path)
        assert (f'data-trade="{trade}"' in seller.text) == found, path
    await buyer.get("/trades?side=buy")
    assert trade in buyer.text


@pytest.mark.parametrize("query", ["", "?side=sell", "?state=open&symbol=COIN"])
async def test_ten_thousand_trades_cost_what_a_few_do(signed_in: Any, page_app: Litestar, query: str) -> None:
    browser: Browser = await signed_in()
    await browser.get(f"/trades{query}")
    with counted(page_app) as few:
        await browser.get(f"/trades{query}")
    async with page_app.state.venue.sessions.begin() as session:
        await session.execute(HISTORY, {"first": 10**15 + browser.party_id * 10**6, "party": browser.party_id})

    with counted(page_app) as many:
        await browser.get(f"/trades{query}")

    assert browser.text.count('data-testid="trade-row"') == 25
    assert len(many) == len(few)
    assert 'rel="next"' in browser.text


async def late_trade(app: Litestar, signed_in: Any) -> tuple[Browser, Browser, int]:
    """A buyer and a seller of a trade that takes too long."""
    seller, buyer = await signed_in(), await signed_in()
    await seller.get("/instruments/COIN?side=sell&price=1.00")
    await seller.send("/instruments/COIN", lots="2")
    await buyer.get("/instruments/COIN?side=buy&price=1.00")
    await buyer.send("/instruments/COIN", lots="2")
    await buyer.get("/trades")
    trade = int(re.search(r'data-trade="trd_(\d+)"', buyer.text)[1])  # type: ignore[index]
    async with app.state.venue.sessions.begin() as session:
        await session.execute(
            text(
                "insert into escalation (subject, subject_id, cause, since)"
                " values ('delivery', :id, 'waiting', now() - interval '16 minutes')"
            ),
            {"id": trade},
        )
    return buyer, seller, trade


async def test_a_late_purchase_is_given_up_once(page_app: Litestar, signed_in: Any) -> None:
    buyer, seller, trade = await late_trade(page_app, signed_in)
    page = f"/trades/trd_{trade}"
    await seller.get(page)
    assert 'data-testid="give-up"' not in seller.text
    assert (await seller.post(f"{page}/give-up", seller.shown["/sign-out"])).status_code == 422
    await buyer.get(page)
    assert 'data-testid="give-up"' in buyer.text

    for _ in range(2):
        await buyer.send(f"{page}/give-up")
        assert 'data-testid="give-up"' not in buyer.text
        assert "You get your money back" in buyer.text
    await seller.get(page)
    assert "The buyer does not want to wait any longer." in seller.text
    async with page_app.state.venue.sessions() as session:
        told = await session.scalar(
            text("select count(*) from audit_link where position(cast(:what as bytea) in payload) > 0"),
            {"what": f'"trade:{trade}"'.encode()},
        )
    assert told == 1


async def test_what_is_not_late_or_has_ended_is_not_given_up(page_app: Litestar, signed_in: Any) -> None:
    buyer, _, trade = await late_trade(page_app, signed_in)
    page = f"/trades/trd_{trade}"
    await buyer.get(page)
    async with page_app.state.venue.sessions.begin() as session:
        await session.execute(
            text("update escalation set ended_at = now() where subject = 'delivery' and subject_id = :id"),
            {"id": trade},
        )
    answer = await buyer.send(f"{page}/give-up")
    assert answer.status_code == 422
    assert "not late yet" in answer.text

    async with page_app.state.venue.sessions.begin() as session:
        await session.execute(text("update delivery set status = 'settled' where id = :id"), {"id": trade})
    assert (await buyer.send(f"{page}/give-up")).status_code == 409
    assert (await buyer.post("/trades/trd_1/give-up", buyer.shown["/sign-out"])).status_code == 404
