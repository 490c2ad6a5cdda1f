"""The gateway's own books: accounts of data, orders on them, and the statement that tells every change."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from settlement.simulators.gateway.schema import TABLES

FROZEN, USED_UP, RELEASED, LAPSED = 10, 11, 12, 13
ACCEPTED, AT_WORK, DONE, FAILED, REVERSED = 0, 1, 2, 3, 4

Row = Any
Form = Mapping[str, str]


class Problem(Exception):
    """An answer other than yes: its code of four digits and its words."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass
class Books:
    """One writer at a time, each act in one transaction."""

    url: str
    pool: Any = None
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def open(self) -> None:
        self.pool = await asyncpg.create_pool(self.url.replace("+asyncpg", "", 1), min_size=1, max_size=5)
        await self.pool.execute(TABLES)

    @asynccontextmanager
    async def act(self) -> AsyncIterator[Any]:
        async with self.writing, self.pool.acquire() as connection, connection.transaction():
            yield connection

    async def load(self, account: Mapping[str, Any]) -> str:
        """Give a phone an account; says its number."""
        number = await self.pool.fetchval(
            "insert into account (phone, scope, app_scope, valid_until_ms, transferable, free_mb, frozen_mb)"
            " values ($1, $2, $3, $4, true, $5, 0) returning id",
            *(account[name] for name in ("phone", "scope", "app_scope", "valid_until_ms", "free_mb")),
        )
        return f"ac-{number}"

    async def accounts(self, phone: str) -> list[dict[str, Any]]:
        rows = await self.pool.fetch("select * from account where phone = $1 order by id", phone)
        return [
            {name: row[name] for name in ACCOUNT_FIELDS if row[name] is not None} | {"account_no": f"ac-{row['id']}"}
            for row in rows
        ]

    async def totals(self) -> dict[str, int]:
        row = await self.pool.fetchrow(
            "select (select coalesce(sum(free_mb + frozen_mb), 0) from account)::bigint as held_mb, (select"
            " coalesce(sum(amount_mb), 0) from orders where kind = 'recharge' and status < 2)::bigint as travelling_mb"
        )
        return dict(row)

    async def order(self, serial_no: str) -> Row:
        row = await self.pool.fetchrow("select * from orders where serial_no = $1", serial_no)
        if row is not None and row["kind"] == "freeze":
            async with self.act() as connection:
                row = await _with_lapse(connection, row["id"])
        return row

    async def freeze(self, form: Form) -> Row:
        async with self.act() as connection:
            await _refuse_known(connection, form["serial_no"])
            amount_mb, until = int(form["amount_mb"]), int(form["valid_until_ms"])
            account = await _account(connection, form["account_no"], form["phone"])
            if not account["transferable"]:
                raise Problem("3004", "this data may not be passed on")
            if until > account["valid_until_ms"]:
                raise Problem("3006", "a freeze can't outlive its data")
            order = await _add(
                connection, form, "freeze", FROZEN, form["phone"], account_id=account["id"], left_mb=amount_mb,
                valid_until_ms=until,
            )  # fmt: skip
            await _tell(connection, "freeze", order, await _shift(connection, account["id"], -amount_mb, amount_mb))
            return order

    async def unfreeze(self, freeze_no: str) -> Row:
        async with self.act() as connection:
            freeze = await _held(connection, freeze_no)
            await _let_go(connection, freeze, RELEASED, "unfreeze")
            return freeze

    async def recharge(self, form: Form) -> Row:
        """Take an order into the queue; its data leaves its source at once and travels until it is finished."""
        async with self.act() as connection:
            await _refuse_known(connection, form["serial_no"])
            amount_mb, phone = int(form["amount_mb"]), form["phone"]
            if "freeze_no" in form:
                freeze = await _held(connection, form["freeze_no"])
                if freeze["left_mb"] < amount_mb:
                    raise Problem("3003", "the freeze holds less")
                source = {"freeze_id": freeze["id"], "from_phone": freeze["phone"]}
                await _draw(connection, freeze["id"], amount_mb)
                await _shift(connection, freeze["account_id"], 0, -amount_mb)
            elif "account_no" in form:
                account = await _account(connection, form["account_no"], form["from_phone"])
                if not account["transferable"]:
                    raise Problem("3004", "this data may not be passed on")
                source = {"account_id": account["id"], "from_phone": form["from_phone"]}
                await _shift(connection, account["id"], -amount_mb, 0)
            else:
                source = {"scope": form["scope"], "valid_until_ms": int(form["valid_until_ms"])}
            if source.get("from_phone") == phone:
                raise Problem("3007", "sender and receiver are one")
            return await _add(
                connection, form, "recharge", ACCEPTED, phone, notify_url=form.get("notify_url"), **source
            )

    async def finish(self, order_id: int, status: int) -> Row:
        """End an order that is at work: its data arrives, or goes back to where it came from."""
        async with self.act() as connection:
            order = await connection.fetchrow("select * from orders where id = $1", order_id)
            if order["status"] not in {ACCEPTED, AT_WORK}:
                return order
            if status == DONE:
                target = await _received(connection, order)
                await _tell(connection, "recharge", order, await _shift(connection, target, order["amount_mb"], 0))
            else:
                await _give_back(connection, order)
            return await _set(connection, order_id, status)

    async def reverse(self, serial_no: str) -> Row:
        """Take a finished order back: the data returns to the sender's account."""
        async with self.act() as connection:
            order = await connection.fetchrow("select * from orders where serial_no = $1", serial_no)
            source = order["account_id"] or await connection.fetchval(
                "select account_id from orders where id = $1", order["freeze_id"]
            )
            changes = await _shift(connection, await _received(connection, order), -order["amount_mb"], 0)
            changes += await _shift(connection, source, order["amount_mb"], 0)
            await _tell(connection, "reversal", order, changes)
            return await _set(connection, order["id"], REVERSED)

    async def statement(self, form: Form) -> dict[str, Any]:
        async with self.pool.acquire() as connection, connection.transaction(isolation="repeatable_read"):
            span = int(form["since_ms"]), int(form.get("until_ms", 10**15))
            where = "from entry join orders on orders.id = entry.order_id where entry.at_ms >= $1 and entry.at_ms < $2"
            total = await connection.fetchval(f"select count(*) {where}", *span)
            rows = await connection.fetch(
                f"select entry.*, serial_no, amount_mb, phone, from_phone {where}"
                " order by entry.at_ms, entry.id offset $3 limit $4",
                *span, int(form["offset"]), min(int(form["limit"]), 1000),
            )  # fmt: skip
        return {"total": total, "entries": [_shown_entry(row) for row in rows]}


ACCOUNT_FIELDS = ("phone", "scope", "app_scope", "valid_until_ms", "free_mb", "frozen_mb", "transferable")
ORDER_FIELDS = (
    *("serial_no", "kind", "status", "amount_mb", "left_mb", "phone", "from_phone", "valid_until_ms", "at_ms"),
)


def shown(order: Row) -> dict[str, Any]:
    """An order as it is answered."""
    document = {name: order[name] for name in ORDER_FIELDS if order[name] is not None}
    document["order_no"] = f"or-{order['id']}"
    if order["account_id"] is not None:
        document["account_no"] = f"ac-{order['account_id']}"
    if order["freeze_id"] is not None:
        document["freeze_no"] = f"or-{order['freeze_id']}"
    return document


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def _shown_entry(row: Row) -> dict[str, Any]:
    document = {name: row[name] for name in ("kind", "serial_no", "amount_mb", "phone", "at_ms")}
    if row["from_phone"] is not None:
        document["from_phone"] = row["from_phone"]
    numbers = {"entry_no": f"en-{row['id']}", "order_no": f"or-{row['order_id']}"}
    return document | numbers | {"changes": json.loads(row["changes"])}


def _number(name: str) -> int:
    digits = name[3:]
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 19 else 0  # noqa: PLR2004 - a bigint


async def _refuse_known(connection: Any, serial_no: str) -> None:
    if await connection.fetchval("select 1 from orders where serial_no = $1", serial_no):
        raise Problem("2001", "this serial number is known")


async def _account(connection: Any, account_no: str, phone: str) -> Row:
    query = "select * from account where id = $1 and phone = $2"
    if (row := await connection.fetchrow(query, _number(account_no), phone)) is None:
        raise Problem("3001", "no such account")
    return row


async def _held(connection: Any, freeze_no: str) -> Row:
    freeze = await _with_lapse(connection, _number(freeze_no))
    if freeze is None or freeze["status"] != FROZEN:
        raise Problem("3005", "no such freeze, or it is gone")
    return freeze


async def _with_lapse(connection: Any, freeze_id: int) -> Row:
    """A freeze, let go if its time is over."""
    query = "select * from orders where id = $1 and kind = 'freeze'"
    freeze = await connection.fetchrow(query, freeze_id)
    if freeze is not None and freeze["status"] == FROZEN and freeze["valid_until_ms"] <= now_ms():
        await _let_go(connection, freeze, LAPSED, "lapse")
        freeze = await connection.fetchrow(query, freeze_id)
    return freeze


async def _let_go(connection: Any, freeze: Row, status: int, word: str) -> None:
    changes = await _shift(connection, freeze["account_id"], freeze["left_mb"], -freeze["left_mb"])
    await connection.execute("update orders set status = $2, left_mb = 0 where id = $1", freeze["id"], status)
    await _tell(connection, word, freeze, changes)


async def _draw(connection: Any, freeze_id: int, amount_mb: int) -> None:
    await connection.execute(
        "update orders set left_mb = left_mb - $2, status = case when left_mb = $2 then 11 else 10 end where id = $1",
        freeze_id,
        amount_mb,
    )


async def _give_back(connection: Any, order: Row) -> None:
    """To the freeze if it still stands, else to the account."""
    amount_mb = order["amount_mb"]
    if order["freeze_id"] is None:
        if order["account_id"] is not None:
            await _shift(connection, order["account_id"], amount_mb, 0)
        return
    freeze = await connection.fetchrow("select * from orders where id = $1", order["freeze_id"])
    if freeze["status"] in {FROZEN, USED_UP}:
        await _draw(connection, freeze["id"], -amount_mb)
        await _shift(connection, freeze["account_id"], 0, amount_mb)
    else:
        await _shift(connection, freeze["account_id"], amount_mb, 0)


async def _received(connection: Any, order: Row) -> int:
    """The receiver's account for data of this scope and end; received data is not passed on again."""
    source = await connection.fetchrow(
        "select scope, app_scope, valid_until_ms from account where id = coalesce($1,"
        " (select account_id from orders where id = $2))",
        order["account_id"],
        order["freeze_id"],
    ) or (order["scope"], None, order["valid_until_ms"])
    number: int = await connection.fetchval(
        "insert into account (phone, scope, app_scope, valid_until_ms, transferable, free_mb, frozen_mb)"
        " values ($1, $2, $3, $4, false, 0, 0)"
        " on conflict (phone, scope, coalesce(app_scope, ''), valid_until_ms) where not transferable"
        " do update set phone = excluded.phone returning id",
        order["phone"],
        *source,
    )
    return number


async def _shift(connection: Any, account_id: int, free_mb: int, frozen_mb: int) -> list[dict[str, Any]]:
    """Change an account; what changed, as the statement tells it."""
    row = await connection.fetchrow("select free_mb, frozen_mb from account where id = $1", account_id)
    after = {"free": row["free_mb"] + free_mb, "frozen": row["frozen_mb"] + frozen_mb}
    if min(after.values()) < 0:
        raise Problem("3003", "the account holds less")
    await connection.execute(
        "update account set free_mb = $2, frozen_mb = $3 where id = $1", account_id, after["free"], after["frozen"]
    )
    before = {"free": row["free_mb"], "frozen": row["frozen_mb"]}
    return [
        {"account_no": f"ac-{account_id}", "pot": pot, "before_mb": before[pot], "after_mb": after[pot]}
        for pot in after
        if after[pot] != before[pot]
    ]


async def _add(connection: Any, form: Form, kind: str, status: int, phone: str, **more: Any) -> Row:
    values = {
        "serial_no": form["serial_no"], "kind": kind, "status": status, "amount_mb": int(form["amount_mb"]),
        "phone": phone, "at_ms": now_ms(), **more,
    }  # fmt: skip
    places = ", ".join(f"${number}" for number in range(1, len(values) + 1))
    names = ", ".join(values)
    return await connection.fetchrow(
        f"insert into orders ({names}) values ({places}) returning *",  # noqa: S608 - names of this program
        *values.values(),
    )


async def _set(connection: Any, order_id: int, status: int) -> Row:
    return await connection.fetchrow("update orders set status = $2 where id = $1 returning *", order_id, status)


async def _tell(connection: Any, kind: str, order: Row, changes: list[dict[str, Any]]) -> None:
    await connection.execute(
        "insert into entry (kind, order_id, at_ms, changes) values ($1, $2, $3, $4)",
        kind,
        order["id"],
        now_ms(),
        json.dumps(changes),
    )
