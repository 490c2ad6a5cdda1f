"""Who may ask for what: every route of the application has a line here, and is tried by everybody (S1, A25)."""

from collections.abc import Iterator
from enum import Enum

import pytest
from httpx import Response
from litestar import Litestar
from litestar.routes import ASGIRoute, HTTPRoute
from litestar.utils.sync import AsyncCallable

from market.tables import OfficerRow
from tests.web.making import Market, Visitor, a_key, a_visitor, settings_of
from web.app import create_app


class For(Enum):
    """Whom a route serves."""

    ANYONE = "anyone"
    MEMBERS = "a signed-in member"
    OFFICERS = "a signed-in officer"
    KEYS = "whoever holds a key"
    PROVIDER = "the payment provider or a carrier, by its signature"
    CARRIER = "a carrier, by the bearer of its subscription"
    OPERATORS = "this machine or whoever holds the token"


ACCESS = {
    ("GET", "/"): For.ANYONE,
    ("GET", "/market"): For.ANYONE,
    ("GET", "/market/stream"): For.ANYONE,
    ("GET", "/data"): For.MEMBERS,
    ("POST", "/sell-spare"): For.MEMBERS,
    ("POST", "/sell-spare/undo"): For.MEMBERS,
    ("GET", "/buy"): For.MEMBERS,
    ("POST", "/buy"): For.MEMBERS,
    ("POST", "/buy/top-up"): For.MEMBERS,
    ("GET", "/autopilot"): For.MEMBERS,
    ("POST", "/autopilot"): For.MEMBERS,
    ("GET", "/autopilot/next"): For.MEMBERS,
    ("POST", "/autopilot/switch"): For.MEMBERS,
    ("GET", "/me"): For.MEMBERS,
    ("GET", "/instruments/{symbol}"): For.ANYONE,
    ("POST", "/instruments/{symbol}"): For.MEMBERS,
    ("GET", "/instruments/{symbol}/quote"): For.ANYONE,
    ("GET", "/instruments/{symbol}/candles"): For.ANYONE,
    ("GET", "/instruments/{symbol}/stream"): For.ANYONE,
    ("GET", "/stream"): For.MEMBERS,
    ("GET", "/orders"): For.MEMBERS,
    ("GET", "/orders/cancel-all"): For.MEMBERS,
    ("POST", "/orders/cancel-all"): For.MEMBERS,
    ("POST", "/orders/{name}/cancel"): For.MEMBERS,
    ("POST", "/orders/{name}/renew"): For.MEMBERS,
    ("POST", "/orders/{name}/amend"): For.MEMBERS,
    ("GET", "/trades"): For.MEMBERS,
    ("GET", "/trades/{name}"): For.MEMBERS,
    ("POST", "/trades/{name}/give-up"): For.MEMBERS,
    ("GET", "/trades/{name}/receipt"): For.MEMBERS,
    ("GET", "/trades/{name}/case"): For.MEMBERS,
    ("POST", "/trades/{name}/case"): For.MEMBERS,
    ("GET", "/cases"): For.MEMBERS,
    ("GET", "/cases/{name}"): For.MEMBERS,
    ("POST", "/cases/{name}"): For.MEMBERS,
    ("POST", "/cases/{name}/withdraw"): For.MEMBERS,
    ("GET", "/cases/{name}/files/{entry_id}"): For.MEMBERS,
    ("POST", "/officer/freezes/{freeze_id}/end"): For.OFFICERS,
    ("GET", "/officer/cases"): For.OFFICERS,
    ("GET", "/officer/cases/{name}"): For.OFFICERS,
    ("GET", "/officer/cases/{name}/files/{entry_id}"): For.OFFICERS,
    ("POST", "/officer/cases/{name}/ask"): For.OFFICERS,
    ("POST", "/officer/cases/{name}/decide"): For.OFFICERS,
    ("POST", "/officer/cases/{name}/confirm"): For.OFFICERS,
    ("GET", "/tank"): For.MEMBERS,
    ("POST", "/tank/deposits"): For.MEMBERS,
    ("POST", "/tank/withdrawals"): For.MEMBERS,
    ("GET", "/gifts"): For.MEMBERS,
    ("POST", "/gifts"): For.MEMBERS,
    ("GET", "/gifts/{code}"): For.ANYONE,
    ("POST", "/gifts/{code}"): For.MEMBERS,
    ("GET", "/gifts/{code}/code.svg"): For.ANYONE,
    ("GET", "/household"): For.MEMBERS,
    ("POST", "/household/invitations"): For.MEMBERS,
    ("POST", "/household/invitations/{invitation_id}/{answer}"): For.MEMBERS,
    ("POST", "/household/leave"): For.MEMBERS,
    ("POST", "/household/members/{party_id}/remove"): For.MEMBERS,
    ("POST", "/household/lines/{line_id}/limit"): For.MEMBERS,
    ("POST", "/household/lines/{line_id}/purchases"): For.MEMBERS,
    ("GET", "/notices"): For.MEMBERS,
    ("POST", "/notices"): For.MEMBERS,
    ("GET", "/alerts"): For.MEMBERS,
    ("POST", "/alerts"): For.MEMBERS,
    ("POST", "/alerts/{alert_id}/remove"): For.MEMBERS,
    ("POST", "/alerts/setting"): For.MEMBERS,
    ("GET", "/wallet"): For.MEMBERS,
    ("POST", "/wallet/top-up"): For.MEMBERS,
    ("POST", "/wallet/cards/forget"): For.MEMBERS,
    ("POST", "/wallet/payouts/account"): For.MEMBERS,
    ("POST", "/wallet/payouts/disown"): For.MEMBERS,
    ("POST", "/wallet/withdraw"): For.MEMBERS,
    ("POST", "/wallet/refunds"): For.MEMBERS,
    ("GET", "/wallet/statement"): For.MEMBERS,
    ("GET", "/wallet/statement.csv"): For.MEMBERS,
    ("GET", "/wallet/statement.xlsx"): For.MEMBERS,
    ("GET", "/wallet/statement.pdf"): For.MEMBERS,
    ("GET", "/wallet/payouts"): For.MEMBERS,
    ("POST", "/wallet/payouts"): For.MEMBERS,
    ("GET", "/wallet/phone-bill"): For.MEMBERS,
    ("POST", "/wallet/phone-bill"): For.MEMBERS,
    ("POST", "/wallet/phone-bill/{payment_id}/confirm"): For.MEMBERS,
    ("POST", "/wallet/phone-bill/{payment_id}/cancel"): For.MEMBERS,
    ("POST", "/wallet/phone-bill/{payment_id}/refund"): For.MEMBERS,
    ("GET", "/payments/{payment_id}/returned"): For.MEMBERS,
    ("GET", "/coins"): For.MEMBERS,
    ("POST", "/coins/reward"): For.MEMBERS,
    ("POST", "/coins/gifts"): For.MEMBERS,
    ("POST", "/coins/redemptions"): For.MEMBERS,
    ("GET", "/partner"): For.MEMBERS,
    ("POST", "/partner/keys"): For.MEMBERS,
    ("POST", "/partner/keys/{key_id}/revoke"): For.MEMBERS,
    ("POST", "/partner/handouts"): For.MEMBERS,
    ("GET", "/officer"): For.OFFICERS,
    ("GET", "/officer/reconciliation"): For.OFFICERS,
    ("POST", "/officer/reconciliation"): For.OFFICERS,
    ("GET", "/officer/reconciliation/{break_id}"): For.OFFICERS,
    ("POST", "/officer/reconciliation/{break_id}/explain"): For.OFFICERS,
    ("POST", "/officer/reconciliation/{break_id}/adjust"): For.OFFICERS,
    ("POST", "/officer/adjustments/{adjustment_id}"): For.OFFICERS,
    ("GET", "/officer/trades/{name}/receipt"): For.OFFICERS,
    ("GET", "/officer/report"): For.OFFICERS,
    ("GET", "/officer/report.csv"): For.OFFICERS,
    ("GET", "/officer/report.pdf"): For.OFFICERS,
    ("GET", "/officer/report.json"): For.OFFICERS,
    ("GET", "/officer/report.camt053.xml"): For.OFFICERS,
    ("GET", "/officer/report.xlsx"): For.OFFICERS,
    ("GET", "/officer/dead-letters"): For.OFFICERS,
    ("POST", "/officer/dead-letters/{instruction_id}/ask"): For.OFFICERS,
    ("POST", "/officer/dead-letters/{instruction_id}/say"): For.OFFICERS,
    ("POST", "/officer/dead-letters/words/{word_id}/confirm"): For.OFFICERS,
    ("POST", "/officer/dead-letters/words/{word_id}/withdraw"): For.OFFICERS,
    ("GET", "/officer/escalations"): For.OFFICERS,
    ("POST", "/officer/escalations/{what}/{subject_id}"): For.OFFICERS,
    ("POST", "/officer/carriers/{code}/thaw"): For.OFFICERS,
    ("GET", "/officer/provider-events"): For.OFFICERS,
    ("POST", "/officer/provider-events/{event_id}/again"): For.OFFICERS,
    ("POST", "/officer/markets"): For.OFFICERS,
    ("POST", "/officer/markets/halt"): For.OFFICERS,
    ("POST", "/officer/markets/open"): For.OFFICERS,
    ("GET", "/sign-in"): For.ANYONE,
    ("POST", "/sign-in"): For.ANYONE,
    ("POST", "/sign-out"): For.ANYONE,
    ("GET", "/step-up"): For.MEMBERS,
    ("POST", "/step-up"): For.MEMBERS,
    ("POST", "/step-up/passkey"): For.MEMBERS,
    ("POST", "/step-up/passkey/options"): For.MEMBERS,
    ("POST", "/sign-in/passkey"): For.ANYONE,
    ("POST", "/sign-in/passkey/options"): For.ANYONE,
    ("GET", "/settings"): For.MEMBERS,
    ("POST", "/settings/name"): For.MEMBERS,
    ("GET", "/settings/sessions"): For.MEMBERS,
    ("POST", "/settings/sessions/{name}/end"): For.MEMBERS,
    ("POST", "/settings/sessions/end-others"): For.MEMBERS,
    ("POST", "/settings/sessions/sign-out"): For.MEMBERS,
    ("POST", "/settings/export"): For.MEMBERS,
    ("GET", "/settings/delete"): For.MEMBERS,
    ("POST", "/settings/delete"): For.MEMBERS,
    ("GET", "/settings/passkeys"): For.MEMBERS,
    ("POST", "/settings/passkeys"): For.MEMBERS,
    ("POST", "/settings/passkeys/options"): For.MEMBERS,
    ("POST", "/settings/passkeys/{passkey_id}/name"): For.MEMBERS,
    ("POST", "/settings/passkeys/{passkey_id}/remove"): For.MEMBERS,
    ("GET", "/officer/sign-in"): For.ANYONE,
    ("POST", "/officer/sign-in"): For.ANYONE,
    ("POST", "/officer/sign-out"): For.ANYONE,
    ("POST", "/preferences"): For.ANYONE,
    ("GET", "/price-index"): For.ANYONE,
    ("GET", "/styleguide"): For.ANYONE,
    ("GET", "/manifest.webmanifest"): For.ANYONE,
    ("GET", "/service-worker.js"): For.ANYONE,
    ("GET", "/offline/{tag}"): For.ANYONE,
    ("GET", "/price-index.csv"): For.ANYONE,
    ("GET", "/api/v1/instruments"): For.KEYS,
    ("GET", "/api/v1/instruments/{symbol}"): For.KEYS,
    ("GET", "/api/v1/instruments/{symbol}/book"): For.KEYS,
    ("GET", "/api/v1/instruments/{symbol}/trades"): For.KEYS,
    ("GET", "/api/v1/instruments/{symbol}/candles"): For.KEYS,
    ("GET", "/api/v1/instruments/{symbol}/feed"): For.KEYS,
    ("GET", "/api/v1/tickers"): For.KEYS,
    ("GET", "/api/v1/index"): For.KEYS,
    ("GET", "/api/v1/orders"): For.KEYS,
    ("POST", "/api/v1/orders"): For.KEYS,
    ("DELETE", "/api/v1/orders"): For.KEYS,
    ("POST", "/api/v1/orders/batch"): For.KEYS,
    ("POST", "/api/v1/orders/pair"): For.KEYS,
    ("GET", "/api/v1/orders/{order_id}"): For.KEYS,
    ("DELETE", "/api/v1/orders/{order_id}"): For.KEYS,
    ("PATCH", "/api/v1/orders/{order_id}"): For.KEYS,
    ("POST", "/api/v1/orders/cancel-all"): For.KEYS,
    ("POST", "/api/v1/baskets"): For.KEYS,
    ("POST", "/api/v1/swaps"): For.KEYS,
    ("GET", "/api/v1/baskets/{basket_id}"): For.KEYS,
    ("GET", "/api/v1/outcomes/{key}"): For.KEYS,
    ("GET", "/api/v1/trades"): For.KEYS,
    ("GET", "/api/v1/trades/{trade_id}"): For.KEYS,
    ("PUT", "/api/v1/trades/{trade_id}/give-up"): For.KEYS,
    ("GET", "/api/v1/trades/{trade_id}/receipt"): For.KEYS,
    ("GET", "/api/v1/wallet"): For.KEYS,
    ("GET", "/api/v1/lines"): For.KEYS,
    ("POST", "/api/v1/checkout-sessions"): For.KEYS,
    ("GET", "/api/v1/checkout-sessions/{checkout_id}"): For.KEYS,
    ("POST", "/api/v1/top-ups"): For.KEYS,
    ("POST", "/api/v1/top-ups/{checkout_id}/refunds"): For.KEYS,
    ("GET", "/api/v1/cards"): For.KEYS,
    ("DELETE", "/api/v1/cards/{card_id}"): For.KEYS,
    ("POST", "/api/v1/phone-bill-payments"): For.KEYS,
    ("GET", "/api/v1/phone-bill-payments/{bill_id}"): For.KEYS,
    ("POST", "/api/v1/phone-bill-payments/{bill_id}/confirm"): For.KEYS,
    ("POST", "/api/v1/phone-bill-payments/{bill_id}/cancel"): For.KEYS,
    ("GET", "/api/v1/payout-schedule"): For.KEYS,
    ("PUT", "/api/v1/payout-schedule"): For.KEYS,
    ("POST", "/api/v1/bulk-orders"): For.KEYS,
    ("POST", "/api/v1/handouts"): For.KEYS,
    ("POST", "/webhooks/payments"): For.PROVIDER,
    ("POST", "/webhooks/carriers/{code}"): For.PROVIDER,
    ("POST", "/webhooks/lines/{code}"): For.CARRIER,
    ("GET", "/.well-known/surplusflow-receipts.json"): For.ANYONE,
    ("GET", "/health/live"): For.ANYONE,
    ("GET", "/health/ready"): For.ANYONE,
    ("GET", "/metrics"): For.OPERATORS,
    ("GET", "/static/{name}"): For.ANYONE,
    ("GET", "/schema"): For.ANYONE,
    ("GET", "/schema/openapi.json"): For.ANYONE,
    ("GET", "/schema/{path}"): For.ANYONE,
}

EXAMPLES = {
    "symbol": "COIN",
    "tag": "en",
    "code": "CMCC",
    "name": "ord_1",
    "payment_id": "1",
    "invitation_id": "1",
    "entry_id": "1",
    "freeze_id": "1",
    "alert_id": "1",
    "subject_id": "1",
    "what": "1",
    "answer": "accept",
    "line_id": "1",
    "party_id": "1",
    "passkey_id": "1",
    "key_id": "1",
    "order_id": "ord_1",
    "trade_id": "trd_1",
    "basket_id": "bsk_1",
    "checkout_id": "pay_1",
    "bill_id": "bil_1",
    "card_id": "pm_1",
    "break_id": "1",
    "instruction_id": "1",
    "word_id": "1",
    "event_id": "evt_1",
    "adjustment_id": "1",
    "key": "key-of-nobody",
    "path": "nothing",
}
OWN_REPORT = "?carrier=CMCC&from=2026-11-01&to=2026-11-02"
"""An officer is tried as one who watches CMCC."""
ROLES = {
    "nobody": {For.ANYONE},
    "member": {For.ANYONE, For.MEMBERS},
    "officer": {For.ANYONE, For.OFFICERS},
    "partner": {For.ANYONE, For.KEYS},
}


def routes(app: Litestar) -> Iterator[tuple[str, str]]:
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            yield from ((method, route.path_format) for method in route.methods if method != "OPTIONS")
        else:
            assert isinstance(route, ASGIRoute)
            yield "ANY", route.path_format


def test_every_route_has_its_line_and_every_line_its_route() -> None:
    assert set(routes(create_app(settings_of()))) == ACCESS.keys()


def test_what_stands_before_a_route_never_goes_through_a_thread() -> None:
    routes = [route for route in create_app(settings_of()).routes if isinstance(route, HTTPRoute)]
    handlers = [handler for route in routes for handler in route.route_handlers]
    before = [one for handler in handlers for one in (*handler.resolve_guards(), handler.resolve_before_request())]
    assert len(before) > len(handlers)
    assert [one for one in before if isinstance(one, AsyncCallable)] == []


@pytest.fixture
async def asking(market: Market, role: str) -> Visitor:
    """A browser that is signed in as the role, or holds a partner's key."""
    visitor = await a_visitor(market)
    if role == "member":
        await visitor.sign_in((await market.partner()).party_id)
    if role == "officer":
        async with market.venue.sessions() as session:
            officer = OfficerRow(login=a_key(), password_hash="", role="compliance", carrier="CMCC")
            session.add(officer)
            await session.commit()
        await visitor.post(f"/tests/officers/{officer.id}")
    if role == "partner":
        visitor.client.headers["Authorization"] = f"Bearer {(await market.partner()).api_key}"
    visitor.client.headers["X-Forwarded-For"] = "203.0.113.9"
    return visitor


def is_turned_away(template: str, response: Response) -> bool:
    """Sent to sign in, or refused; but a password that is wrong was at least read."""
    if response.status_code == 303:
        return response.headers["location"].startswith(("/sign-in", "/officer/sign-in"))
    return response.status_code in {401, 403} and template != "/officer/sign-in"


@pytest.mark.parametrize("role", ROLES)
async def test_everybody_gets_in_where_they_may_and_nowhere_else(asking: Visitor, role: str, opened: Litestar) -> None:
    opened.state.drain.set()  # so that a stream that is let in ends at once
    wrong = []
    for (method, template), audience in ACCESS.items():
        path = template.format(**EXAMPLES) if template != "/static/{name}" else "/static/nothing.css"
        signed_out = template.endswith("/sign-out")
        if signed_out:
            continue
        path += OWN_REPORT if "/report" in path else ""
        headers = {"Accept": "text/html", "Origin": asking.origin, "X-CSRFToken": asking.token}
        response = await asking.client.request(method, path, headers=headers, follow_redirects=False)
        let_in = not is_turned_away(template, response) and not _hides(audience, response)
        if let_in != (audience in ROLES[role]) or response.status_code == 500:
            wrong.append(f"{method} {template}: {response.status_code} for {role}")
    opened.state.drain.clear()

    assert wrong == []


def _hides(audience: For, response: Response) -> bool:
    """Routes that tell a stranger neither that they are there nor what they want."""
    return (audience is For.OPERATORS and response.status_code == 404) or (
        audience is For.PROVIDER and response.status_code == 400
    )


@pytest.mark.parametrize("role", ["officer"])
@pytest.mark.parametrize("form", ["", ".csv", ".xlsx", ".pdf", ".json", ".camt053.xml"])
async def test_a26_an_officer_sees_nothing_of_another_carrier(asking: Visitor, role: str, form: str) -> None:
    path = f"/officer/report{form}"
    others = OWN_REPORT.replace("CMCC", "CUCC")
    of_all = OWN_REPORT.replace("carrier=CMCC&", "")

    refused = [(await asking.get(path + query)).status_code == 403 for query in (OWN_REPORT, others, of_all)]

    assert refused == [False, True, True]


async def test_a25_what_is_anothers_is_not_there_on_pages_either(market: Market, visitor: Visitor) -> None:
    seller, buyer, stranger = await market.partner(), await market.partner(), await market.partner()
    order_id = (await seller.order("sell", 90)).json()["order_id"]
    [fill] = (await buyer.order("buy", 90, time_in_force="ioc")).json()["fills"]
    await visitor.sign_in(stranger.party_id)

    answers = [
        await visitor.get(f"/trades/{fill['trade_id']}"),
        await visitor.post(f"/trades/{fill['trade_id']}/give-up"),
        await visitor.post(f"/orders/{order_id}/cancel", key="0a1b"),
        await visitor.post(f"/orders/{order_id}/amend", key="0a1b", price="1.00", lots="1"),
        await visitor.post(f"/orders/{order_id}/renew", key="0a1b"),
    ]

    assert [answer.status_code for answer in answers] == [404] * 5


@pytest.mark.parametrize(
    "number", ["0", "-1", str(2**63), str(2**64), "9" * 5000, "１", "²", "1.5", "x", "%00", "1%0a"]
)
async def test_a10_a_strange_number_in_a_pages_path_leads_nowhere(
    market: Market, visitor: Visitor, number: str
) -> None:
    await visitor.sign_in((await market.partner()).party_id)

    answers = [
        await visitor.get(f"/payments/{number}/returned"),
        await visitor.get(f"/trades/trd_{number}"),
        await visitor.post(f"/partner/keys/{number}/revoke"),
        await visitor.post(f"/orders/ord_{number}/cancel", key="0a1b"),
    ]

    assert [answer.status_code for answer in answers] == [404, 404, 404, 404]
