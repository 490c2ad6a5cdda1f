"""Which Host headers are ours. Nothing that a visitor sends decides the address of a link or of a redirect."""

from collections.abc import Iterable
from urllib.parse import urlsplit

from market.settings import Settings

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

# Probes ask by address, before any name leads here; their answers repeat nothing of the request.
PROBED = ("/health/", "/metrics")


class Hosts:
    """Compares a request's Host headers with the public address and, in a demonstration, this machine's own names."""

    def __init__(self, settings: Settings) -> None:
        public = urlsplit(settings.public_url)
        default = {"http": ":80", "https": ":443"}[public.scheme]
        host = public.netloc.lower().removesuffix(default)
        self._exact = {host} if ":" in host else {host, host + default}
        self._any_port = () if settings.is_production else LOOPBACK

    def accept(self, path: str, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """One Host header, and a known one; a second makes two readers disagree, so it is refused even when equal."""
        if path.startswith(PROBED):
            return True
        given = [value.decode("latin-1").lower() for name, value in headers if name == b"host"]
        return len(given) == 1 and self._is_known(given[0])

    def is_own_origin(self, origin: str) -> bool:
        """Whether an Origin header names this site."""
        scheme, _, host = origin.lower().partition("://")
        return scheme in {"http", "https"} and self._is_known(host)

    def _is_known(self, host: str) -> bool:
        if host in self._exact:
            return True
        name, colon, port = host.rpartition(":")
        if not colon or host.endswith("]"):
            return host in self._any_port
        return name in self._any_port and port.isascii() and port.isdigit()
