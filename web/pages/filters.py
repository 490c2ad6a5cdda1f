"""Which rows of a member's lists are looked at, as the address says it."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from market import views
from web.pages.forms import Form


@dataclass(frozen=True, kw_only=True)
class Filter:
    """A choice of rows of the list at ``path``; empty texts leave nothing out."""

    path: str
    state: str = ""
    side: str = ""
    symbol: str = ""
    before: str = ""

    @classmethod
    def of(cls, form: Form, path: str, states: Collection[str], usual: str = "") -> "Filter":
        """What a form or an address chooses; a state that is none of ``states`` is the ``usual`` one."""
        return cls(
            path=path,
            state=form.text("state") if form.text("state") in states else usual,
            side=form.text("side") if form.text("side") in views.SIDES else "",
            symbol=form.text("symbol"),
            before=form.text("before"),
        )

    def url(self, **changes: str) -> str:
        """The address of the list with another choice; a new choice begins with the newest."""
        chosen = replace(self, **{"before": "", **changes})
        query = {"state": chosen.state, "side": chosen.side, "symbol": chosen.symbol, "before": chosen.before}
        return f"{self.path}?{urlencode({name: value for name, value in query.items() if value})}"
