"""Where a session sits, told so that its owner knows it again and nobody else learns much: browser, system, network."""

from ipaddress import IPv4Address, ip_address

BROWSERS = (
    ("Edg", "Edge"),
    ("MicroMessenger", "WeChat"),
    ("Firefox", "Firefox"),
    ("Chrome", "Chrome"),
    ("Safari", "Safari"),
)
SYSTEMS = (
    ("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows"), ("Mac OS X", "Mac"),
    ("Linux", "Linux"),
)  # fmt: skip
V4_SHOWN, V6_SHOWN = 2, 2
"""How many parts of an address are shown: about a city's worth of neighbours is left."""


def device_of(user_agent: str) -> str:
    """Browser and system of a User-Agent header; empty when neither is known."""
    found = (next((name for mark, name in kinds if mark in user_agent), "") for kinds in (BROWSERS, SYSTEMS))
    return " · ".join(name for name in found if name)


def network_of(address: str) -> str:
    """An address without its last parts; empty when it is none."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return ""
    if isinstance(parsed, IPv4Address):
        return ".".join([*str(parsed).split(".")[:V4_SHOWN], "*", "*"])
    return ":".join([*parsed.exploded.split(":")[:V6_SHOWN], "*"])
