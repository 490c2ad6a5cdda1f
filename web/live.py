"""The event streams of the pages: one a page, fed by one Redis subscription a process."""

from litestar.types import ControllerRouterHandler

routes: list[ControllerRouterHandler] = []
