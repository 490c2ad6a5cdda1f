"""Counts the bytes that a page brings over the wire, headers included."""

from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import Page


@dataclass
class Scale:
    """What came over the network since it was put under a page, with an empty cache and no service worker."""

    by_address: dict[str, int] = field(default_factory=dict)
    _addresses: dict[str, str] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        return sum(self.by_address.values())

    @classmethod
    async def under(cls, page: Page) -> "Scale":
        scale = cls()
        devtools = await page.context.new_cdp_session(page)
        devtools.on("Network.requestWillBeSent", scale._asked)
        devtools.on("Network.loadingFinished", scale._arrived)
        await devtools.send("Network.enable")
        await devtools.send("Network.setCacheDisabled", {"cacheDisabled": True})
        await devtools.send("Network.setBypassServiceWorker", {"bypass": True})
        return scale

    def _asked(self, event: dict[str, Any]) -> None:
        self._addresses[event["requestId"]] = event["request"]["url"]

    def _arrived(self, event: dict[str, Any]) -> None:
        address = self._addresses.get(event["requestId"], event["requestId"])
        self.by_address[address] = self.by_address.get(address, 0) + int(event["encodedDataLength"])
