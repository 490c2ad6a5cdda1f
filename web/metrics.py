"""Prometheus figures of the web processes, and the guard of the page that shows them."""

import asyncio
import hashlib
import hmac
import os
from ipaddress import ip_address
from typing import Any

from litestar import Request, Response, get
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector
from sqlalchemy.ext.asyncio import AsyncSession

from market import expiries
from market.refusals import NotFound
from market.settings import Settings
from market.storage import LEVELS, Storage
from settlement import inbox, queues
from settlement.trouble import TROUBLE
from web.edge.venue import Venue

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


class RequestFigures:
    """How many requests each route answered, with what status, and how long they took."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "surplusflow_http_requests_total",
            "Requests answered.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "surplusflow_http_request_duration_seconds",
            "Time to answer, streams until they end.",
            ("method", "route"),
            buckets=SECONDS,
            registry=self.registry,
        )

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        self._requests.labels(method, route, status).inc()
        self._seconds.labels(method, route).observe(seconds)

    def page(self) -> bytes:
        """All workers' figures together where they share a directory, this process's own where they do not."""
        if not os.environ.get(MULTIPROCESS):
            return generate_latest(self.registry)
        gathered = CollectorRegistry()
        MultiProcessCollector(gathered)  # type: ignore[no-untyped-call]
        return generate_latest(gathered)


def metrics_token(settings: Settings) -> str:
    """The bearer token of `/metrics`, made from the installation's secret: one secret less to keep."""
    return hmac.new(settings.secret_key.encode(), b"surplusflow metrics", hashlib.sha256).hexdigest()


async def only_for_operators(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Let this machine itself in, and who holds the token. To anybody else there is no such page.

    A proxy on this machine also comes from the loopback, but it says whom it speaks for.
    """
    given = connection.headers.get("authorization", "")
    if hmac.compare_digest(given.encode(), f"Bearer {metrics_token(connection.app.state.settings)}".encode()):
        return
    if _is_loopback(connection) and not any(name in connection.headers for name in FORWARDED):
        return
    raise NotFound("There is nothing at this address.")


def _is_loopback(connection: ASGIConnection[Any, Any, Any, Any]) -> bool:
    try:
        return connection.client is not None and ip_address(connection.client.host).is_loopback
    except ValueError:
        return False


@get("/metrics", guards=[only_for_operators], include_in_schema=False)
async def metrics(request: Request[Any, Any, Any], venue: Venue) -> Response[bytes]:
    figures = await asyncio.to_thread(request.app.state.figures.page)
    figures += await _waiting(venue) + expiry_figures(venue.settings) + storage_figures(venue.gateway.storage)
    return Response(figures, headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _waiting(venue: Venue) -> bytes:
    """What waits, for a person or on a lane, asked of the database; left out when it does not answer."""
    registry = CollectorRegistry()
    gauge = Gauge("surplusflow_provider_events_parked", "Payment events that wait for a person.", registry=registry)
    try:
        async with venue.reads() as session:
            gauge.set(await inbox.count_parked(session))
            return generate_latest(registry) + await lane_figures(session)
    except TROUBLE:
        return b""


def expiry_figures(settings: Settings) -> bytes:
    """When each secret and certificate whose end is known runs out."""
    registry = CollectorRegistry()
    words = "When a secret or certificate runs out, seconds since the epoch."
    gauge = Gauge("surplusflow_secret_expires_timestamp_seconds", words, ("secret",), registry=registry)
    for each in expiries.known(settings):
        gauge.labels(each.name).set(each.at.timestamp())
    return generate_latest(registry)


def storage_figures(storage: Storage) -> bytes:
    """How much room the database has; left out where nobody watches."""
    if storage.free_percent is None:
        return b""
    registry = CollectorRegistry()
    free = Gauge("surplusflow_storage_free_ratio", "Share of the fullest volume that is free.", registry=registry)
    level = Gauge("surplusflow_storage_level", "0 enough, 1 only cancels, 2 nothing new is taken.", registry=registry)
    free.set(storage.free_percent / 100)
    level.set(LEVELS.index(storage.level))
    return generate_latest(registry)


async def lane_figures(session: AsyncSession) -> bytes:
    """How the lanes of settlement stand and what waits on them."""
    registry = CollectorRegistry()
    stands = Gauge(
        "surplusflow_lane_open", "1 while a lane's other side does not answer.", ("lane",), registry=registry
    )
    waiting = Gauge("surplusflow_lane_waiting", "Instructions that have not ended.", ("lane",), registry=registry)
    oldest = Gauge("surplusflow_lane_oldest_seconds", "Age of the oldest of them.", ("lane",), registry=registry)
    for lane in await queues.of_lanes(session):
        stands.labels(lane.lane).set(lane.state != "closed")
        waiting.labels(lane.lane).set(lane.waiting)
        oldest.labels(lane.lane).set(lane.oldest_seconds)
    return generate_latest(registry)


routes = [metrics]
