"""The pages: what a member, a partner and an officer see, as HTML at the same URLs with and without script."""

from litestar.types import ControllerRouterHandler

routes: list[ControllerRouterHandler] = []
