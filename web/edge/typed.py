"""What was typed into a form before a sign-in or a proof came between: kept in the session, given back once."""

from collections.abc import Mapping
from typing import Any

from litestar.connection import ASGIConnection, Request
from litestar.utils.scope.state import ScopeState

KEPT_CHARACTERS = 2_000
"""Of all fields together; no form of ours is longer, and nobody fills our memory with it."""
SENT_TO = "sent_to"
"""The field that tells where the form was sent to."""
NEVER = frozenset({"_csrf_token", "key", "password", "code", "ticket", "document", "name", "phone"})
"""Secrets, and what identifies a person, are typed again."""

_NAME = "typed"
_TAKEN = "surplusflow_typed"

Connection = ASGIConnection[Any, Any, Any, Any]


async def read(connection: Connection) -> None:
    """Read the form of a request that is turned away before its handler, so that it can be kept."""
    if isinstance(connection, Request) and connection.method == "POST":
        await connection.form()


def keep(connection: Connection, page: str) -> None:
    """Keep the form of this request for the page that it came from. A request without one leaves nothing."""
    sent = ScopeState.from_scope(connection.scope).form
    if not isinstance(sent, Mapping):
        return
    fields = {name: text for name, text in sent.items() if isinstance(text, str) and name not in NEVER}
    if fields and sum(len(name) + len(text) for name, text in fields.items()) <= KEPT_CHARACTERS:
        connection.session[_NAME] = {"page": page, "fields": {**fields, SENT_TO: connection.scope["path"]}}


def take(connection: Connection) -> Mapping[str, str]:
    """What was typed on this page before its visitor was sent away. Once the page has been shown it is forgotten.

    A part of a page that htmx asks for leaves it to the page.
    """
    state: dict[str, Any] = connection.scope["state"]
    if _TAKEN not in state:
        session = connection.scope.get("session")
        held = session.get(_NAME) if isinstance(session, dict) and "hx-request" not in connection.headers else None
        is_here = held is not None and held["page"] == connection.scope["path"]
        state[_TAKEN] = connection.session.pop(_NAME)["fields"] if is_here else {}
    fields: Mapping[str, str] = state[_TAKEN]
    return fields
