"""What a stream must not hold (G6)."""

from typing import Any

from litestar import Litestar
from litestar.routes import HTTPRoute

from tests.web.making import settings_of
from web.app import create_app


def handlers(app: Litestar) -> list[Any]:
    return [handler for route in app.routes if isinstance(route, HTTPRoute) for handler in route.route_handlers]


def test_g6_no_handler_is_given_a_session_that_a_stream_could_outlive() -> None:
    app = create_app(settings_of())

    given = {name for handler in handlers(app) for name in handler.resolve_dependencies()}

    assert given == {"venue"}
