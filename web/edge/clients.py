"""From which address a request comes, as far as that can be known."""

from ipaddress import ip_address, ip_network
from typing import Any

from litestar.connection import ASGIConnection

from market.settings import Settings

UNKNOWN = "unknown"


def client_address(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """The address of the client: the nearest one that is not a proxy of our own.

    Anybody can write X-Forwarded-For, so it is read from the end, where our proxies
    write, and only as long as the one who wrote is one of them.
    """
    settings: Settings = connection.app.state.settings
    peer = connection.client.host if connection.client else UNKNOWN
    if not settings.trusted_proxies:
        return peer
    said = ",".join(connection.headers.getall("x-forwarded-for", [])).split(",")
    while said and _is_one_of(peer, settings.trusted_proxies):
        nearest = said.pop().strip()
        if not _is_address(nearest):
            break
        peer = nearest
    return peer


def _is_one_of(address: str, networks: tuple[str, ...]) -> bool:
    return _is_address(address) and any(ip_address(address) in ip_network(network) for network in networks)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
