"""Everything that is the member's own, in one list."""

from litestar import Response, get
from litestar.types import ControllerRouterHandler

from web.edge.sessions import requires_member
from web.pages.rendering import Page, page


@get("/me", guards=[requires_member], sync_to_thread=False)
def index(request: Page) -> Response[str]:
    return page(request, "me.html")


routes: list[ControllerRouterHandler] = [index]
