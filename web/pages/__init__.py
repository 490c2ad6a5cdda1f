"""The pages: what a member, a partner and an officer see, as HTML at the same URLs with and without script."""

from litestar.types import ControllerRouterHandler

from web.pages import (
    coins,
    dead_letters,
    instrument,
    market,
    officer,
    orders,
    partner,
    payments,
    payouts,
    phone_bill,
    price_index,
    provider_events,
    reconciliation,
    sign_in,
    trades,
    wallet,
)

routes: list[ControllerRouterHandler] = [
    *market.routes,
    *price_index.routes,
    *instrument.routes,
    *orders.routes,
    *trades.routes,
    *wallet.routes,
    *payments.routes,
    *phone_bill.routes,
    *payouts.routes,
    *coins.routes,
    *partner.routes,
    *officer.routes,
    *reconciliation.routes,
    *dead_letters.routes,
    *provider_events.routes,
    *sign_in.routes,
]
