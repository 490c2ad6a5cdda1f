"""Every page there is, who looks at it, and what must hold on all of them. A page that is new has its line here."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from axe_playwright_python.async_playwright import Axe
from litestar.handlers import HTTPRouteHandler
from playwright.async_api import BrowserContext, ConsoleMessage, Page, Request

from web import pages

Role = Literal["nobody", "member", "partner", "officer"]

PAGES: dict[str, tuple[Role, str]] = {
    "/": ("member", "/"),
    "/market": ("nobody", "/market"),
    "/instruments/{symbol}": ("member", "/instruments/{symbol}"),
    "/buy": ("member", "/buy"),
    "/data": ("member", "/data"),
    "/price-index": ("member", "/price-index"),
    "/me": ("member", "/me"),
    "/orders": ("member", "/orders"),
    "/orders/cancel-all": ("member", "/orders/cancel-all"),
    "/trades": ("member", "/trades"),
    "/trades/{name}": ("member", "/trades/{trade}"),
    "/trades/{name}/case": ("member", "/trades/{trade}/case"),
    "/cases": ("member", "/cases"),
    "/cases/{name}": ("member", "/cases/{case}"),
    "/notices": ("member", "/notices"),
    "/alerts": ("member", "/alerts"),
    "/wallet": ("member", "/wallet"),
    "/wallet/statement": ("member", "/wallet/statement"),
    "/wallet/payouts": ("member", "/wallet/payouts"),
    "/wallet/phone-bill": ("member", "/wallet/phone-bill"),
    "/coins": ("member", "/coins"),
    "/autopilot": ("member", "/autopilot"),
    "/gifts": ("member", "/gifts"),
    "/gifts/{code}": ("member", "/gifts/{gift}"),
    "/household": ("member", "/household"),
    "/tank": ("member", "/tank"),
    "/settings": ("member", "/settings"),
    "/settings/sessions": ("member", "/settings/sessions"),
    "/settings/passkeys": ("member", "/settings/passkeys"),
    "/settings/delete": ("member", "/settings/delete"),
    "/step-up": ("member", "/step-up"),
    "/partner": ("partner", "/partner"),
    "/officer": ("officer", "/officer"),
    "/officer/escalations": ("officer", "/officer/escalations"),
    "/officer/cases": ("officer", "/officer/cases"),
    "/officer/cases/{name}": ("officer", "/officer/cases/{case}"),
    "/officer/report": ("officer", "/officer/report?carrier=all&from={today}&to={today}"),
    "/officer/reconciliation": ("officer", "/officer/reconciliation"),
    "/officer/reconciliation/{break_id}": ("officer", "/officer/reconciliation/{different}"),
    "/officer/dead-letters": ("officer", "/officer/dead-letters"),
    "/officer/provider-events": ("officer", "/officer/provider-events"),
    "/officer/sign-in": ("nobody", "/officer/sign-in"),
    "/sign-in": ("nobody", "/sign-in"),
    "/styleguide": ("member", "/styleguide"),
    "/offline/{tag}": ("nobody", "/offline/{tag}"),
}
"""By the route's template: as whom it is visited, and at which address."""

NOT_PAGES = {
    "/price-index.csv",
    "/instruments/{symbol}/quote",
    "/instruments/{symbol}/candles",
    "/trades/{name}/receipt",
    "/autopilot/next",
    "/gifts/{code}/code.svg",
    "/officer/trades/{name}/receipt",
    "/cases/{name}/files/{entry_id}",
    "/officer/cases/{name}/files/{entry_id}",
    "/wallet/statement.csv",
    "/wallet/statement.xlsx",
    "/wallet/statement.pdf",
    "/officer/report.csv",
    "/officer/report.xlsx",
    "/officer/report.pdf",
    "/officer/report.json",
    "/officer/report.camt053.xml",
    "/payments/{payment_id}/returned",
    "/manifest.webmanifest",
    "/service-worker.js",
}
"""Files, parts of pages, and addresses that only lead on."""

WATCH = """
window.sfShift = 0; window.sfViolations = [];
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.sfShift += entry.value;
}).observe({ type: "layout-shift", buffered: true });
document.addEventListener("securitypolicyviolation", (event) => window.sfViolations.push(event.violatedDirective));
"""
AXE = Axe()
EVERY_RULE = {"resultTypes": ["violations"]}


def routes() -> Iterator[str]:
    """The templates of all addresses under which the pages' router answers a GET."""
    for handler in pages.routes:
        if isinstance(handler, HTTPRouteHandler) and "GET" in handler.http_methods:
            yield from (path.replace(":str", "").replace(":int", "") for path in handler.paths)


@dataclass
class Watch:
    """What a browser notices that no reader should have to."""

    address: str
    left_the_host: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def request(self, request: Request) -> None:
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.left_the_host.append(request.url)

    def console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(f"{message.text} {message.location.get('url', '')}")


async def watched(context: BrowserContext, address: str) -> Watch:
    """Watch everything that happens in a context."""
    watch = Watch(address)
    context.on("request", watch.request)
    context.on("console", watch.console)
    await context.add_init_script(WATCH)
    return watch


async def barriers(page: Page) -> list[str]:
    """What axe finds on the page as it stands: each rule with the elements that break it."""
    found = await AXE.run(page, options=EVERY_RULE)
    return [
        f"{violation['id']}: {' '.join(map(str, node['target']))} {node.get('failureSummary', '')[:160]}"
        for violation in found.response["violations"]
        for node in violation["nodes"]
    ]
