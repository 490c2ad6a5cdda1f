"""Lists, newest first, a page at a time, and the expanding of ids into objects."""

from typing import Any

from settlement.simulators.payment.answers import Document, malformed, missing
from settlement.simulators.payment.desk import Call
from settlement.simulators.payment.form import Form

MOST = 100
EXPAND_DEPTH = 4
COMPARISONS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}

EXPANDABLE = {
    "payment_intent": {"customer", "latest_charge", "payment_method"},
    "charge": {"balance_transaction", "customer", "payment_intent", "refunds", "transfer", "source_transfer"},
    "refund": {"balance_transaction", "charge", "payment_intent", "failure_balance_transaction"},
    "transfer": {"balance_transaction", "destination", "destination_payment", "source_transaction", "reversals"},
    "transfer_reversal": {"balance_transaction", "destination_payment_refund", "transfer"},
    "payout": {"balance_transaction", "failure_balance_transaction"},
    "balance_transaction": {"source"},
    "dispute": {"charge", "payment_intent"},
    "payment_method": {"customer"},
    "checkout.session": {"customer", "payment_intent"},
}


class Query:
    """A list's conditions, collected with the values they need."""

    def __init__(self, account: str, kind: str) -> None:
        self.values: list[Any] = [account, kind]
        self.conditions = ["account = $1", "kind = $2"]

    def where(self, condition: str, value: Any) -> None:
        self.values.append(value)
        self.conditions.append(condition.replace("?", f"${len(self.values)}"))


async def listing(
    call: Call,
    kind: str,
    url: str,
    filters: tuple[str, ...] = (),
    *,
    fixed: dict[str, str] | None = None,
    any_of: dict[str, str] | None = None,
) -> Document:
    """One page of the account's objects of a kind.

    `filters` are fields of the object that one may select by; `any_of` maps a field to the
    parameter that lists the values it may have.
    """
    query = Query(call.account, kind)
    for name, value in (fixed or {}).items():
        query.where(f"data->>'{name}' = ?", value)
    for name in filters:
        if (wanted := call.form.text(name)) is not None:
            query.where(f"data->>'{name}' = ?", wanted)
    for name, parameter in (any_of or {}).items():
        if (values := call.form.words(parameter)) is not None:
            query.where(f"data->>'{name}' = ANY(?)", values)
    _select_created(query, call.form)
    return await _page(call, query, kind, url)


async def whole(call: Call, kind: str, url: str, **fixed: str) -> Document:
    """A list inside another object: its newest ten, as the provider shows it."""
    query = Query(call.account, kind)
    for name, value in fixed.items():
        query.where(f"data->>'{name}' = ?", value)
    rows = await _rows(call, query, 11)
    return _list(rows[:10], len(rows) > 10, url)  # noqa: PLR2004  # the ten of the page


async def expand(call: Call, document: Document, paths: list[str]) -> None:
    """Replace ids by their objects, in place, along dotted paths such as `data.latest_charge.refunds`."""
    for path in paths:
        steps = path.split(".")
        if len(steps) > EXPAND_DEPTH + 1:
            raise malformed("You cannot expand more than 4 levels of a property.", "expand")
        await _expand(call, document, steps, path)


async def freshen(call: Call, document: Document) -> None:
    """Fill in what depends on the moment of asking."""
    if document["object"] == "list":
        for item in document["data"]:
            await freshen(call, item)
    elif document["object"] == "balance_transaction":
        document["status"] = "pending" if document["available_on"] > call.now else "available"
    elif document["object"] == "event":
        document["pending_webhooks"] = await call.connection.fetchval(
            "SELECT count(*) FROM deliveries WHERE event = $1 AND status = 'pending'", document["id"]
        )


def _select_created(query: Query, form: Form) -> None:
    for name in ("created", "arrival_date"):
        field = "created" if name == "created" else f"(data->>'{name}')::bigint"
        if form.is_plain(name):
            query.where(f"{field} = ?", form.integer(name))
            continue
        range_ = form.nested(name)
        for word, sign in COMPARISONS.items():
            if (bound := range_.integer(word)) is not None:
                query.where(f"{field} {sign} ?", bound)
        range_.end()


async def _page(call: Call, query: Query, kind: str, url: str) -> Document:
    limit = call.form.integer("limit")
    limit = 10 if limit is None else limit
    if not 1 <= limit <= MOST:
        raise malformed(f"Invalid limit: it must be between 1 and {MOST}.", "limit", "parameter_invalid_integer")
    after, before = call.form.text("starting_after"), call.form.text("ending_before")
    if after and before:
        raise malformed("You may only specify one of these parameters: ending_before, starting_after.")
    if after:
        query.where("position < ?", await _position(call, kind, after, "starting_after"))
    if before:
        query.where("position > ?", await _position(call, kind, before, "ending_before"))
    rows = await _rows(call, query, limit + 1, "ASC" if before else "DESC")
    shown = rows[:limit]
    return _list(shown[::-1] if before else shown, len(rows) > limit, url)


async def _rows(call: Call, query: Query, limit: int, order: str = "DESC") -> list[Document]:
    rows = await call.connection.fetch(
        f"SELECT data FROM objects WHERE {' AND '.join(query.conditions)} ORDER BY position {order} LIMIT {limit}",  # noqa: S608  # our own words; the values travel apart
        *query.values,
    )
    return [row["data"] for row in rows]


async def _position(call: Call, kind: str, object_id: str, param: str) -> int:
    position = await call.connection.fetchval(
        "SELECT position FROM objects WHERE id = $1 AND kind = $2 AND account = $3", object_id, kind, call.account
    )
    if position is None:
        raise missing(kind, object_id, param, status=400)
    return int(position)


def _list(items: list[Document], has_more: bool, url: str) -> Document:
    return {"object": "list", "data": items, "has_more": has_more, "url": url}


async def _expand(call: Call, document: Document, steps: list[str], path: str) -> None:
    if document["object"] == "list":
        if steps[0] != "data":
            raise _not_expandable(path)
        for item in document["data"]:
            if steps[1:]:
                await _expand(call, item, steps[1:], path)
        return
    name = steps[0]
    if name not in EXPANDABLE.get(document["object"], set()):
        raise _not_expandable(path)
    await _fill(call, document, name)
    if steps[1:] and isinstance(document.get(name), dict):
        await _expand(call, document[name], steps[1:], path)


async def _fill(call: Call, document: Document, name: str) -> None:
    if document["object"] == "charge" and name == "refunds":
        document["refunds"] = await whole(
            call, "refund", f"/v1/charges/{document['id']}/refunds", charge=document["id"]
        )
        return
    if isinstance(document.get(name), str):
        found = await call.connection.fetchval("SELECT data FROM objects WHERE id = $1", document[name])
        if found is not None:
            await freshen(call, found)
            document[name] = found


def _not_expandable(path: str) -> Exception:
    return malformed(f"This property cannot be expanded ({path}).", "expand")
