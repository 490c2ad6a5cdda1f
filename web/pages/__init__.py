"""The pages: what a member, a partner and an officer see, as HTML at the same URLs with and without script."""

from litestar.types import ControllerRouterHandler

from web.pages import (
    coins,
    instrument,
    market,
    officer,
    orders,
    partner,
    payments,
    price_index,
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
    *coins.routes,
    *partner.routes,
    *officer.routes,
    *sign_in.routes,
]
