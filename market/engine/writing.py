"""What a batch writes: all of it by one statement in one round trip, made of the parts that the batch has.

One round trip on purpose: while PostgreSQL works it off, the engine decides the next
batch. Rows go in as an array for each column; those of numbers and of our own words as text, because the driver
takes seven times as long to make a binary array of them, and PostgreSQL reads both as fast.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

from market.engine import lines
from market.engine.commands import Command
from market.engine.desk import Desk
from market.engine.instruments import Standing
from market.engine.lease import Fenced, Lease
from market.engine.records import Changes, Record
from market.engine.times import moment
from market.engine.traits import stored_traits
from matching.orders import SelfTrade, Side

NEWEST = SelfTrade.CANCEL_NEWEST
_TERMS = (
    "id instrument_id party_id group_id side price_minor quantity {} time_in_force market post_only self_trade "
    "expires_at traits fee_basis_points fee_minimum_minor charges account_id proceeds_account_id line_id custody_id "
    "payment_id version priority"
)
_PARTS = {
    "journal": "seq party_id key body_hash command answer",
    "placed": _TERMS.format("open"),
    "gone": f"{_TERMS.format('filled')} state reason",
    "changed": "id price_minor quantity open expires_at traits version priority",
    "ended": "id price_minor quantity filled expires_at traits version priority state reason",
    "trade": "id instrument_id price_minor quantity buy_order_id sell_order_id buyer_id seller_id taker_side fee_minor",
    "delivery": "id carrier custody_id custody_account_id quantity money_account_id payment_id amount_minor fee_minor "
    "proceeds_account_id receiver_line_id coin_account_id charge_minor",
    "instruction": "kind subject_id lane",
    "balance": "id change",
    "instrument": "id state paused_until call_ends_at stopped_by state_before rule_profile_id",
    "surveillance": "kind party_id instrument_id order_id detail",
    "enacted": "instrument_id rule_profile_id",
    "line": "line_id plan province day sent_today received_today received_today_mb sent_month received_month "
    "received_month_mb",
}
"""What rows of each part have, in the order of the statement's parameters."""
_TYPES = {
    "key": "text", "body_hash": "bytea", "command": "bytea", "answer": "bytea", "side": "smallint",
    "time_in_force": "text", "market": "boolean", "post_only": "boolean", "self_trade": "text",
    "expires_at": "timestamptz", "traits": "text", "charges": "text", "state": "text", "reason": "text",
    "taker_side": "smallint", "carrier": "text", "kind": "text", "lane": "text", "paused_until": "timestamptz",
    "detail": "text",
    "plan": "text", "province": "text", "call_ends_at": "timestamptz", "stopped_by": "text", "state_before": "text",
}  # fmt: skip
"""Types of columns that are not bigint."""
_NUMBERS = {"bigint", "smallint", "boolean"}
_WORDS = {"time_in_force", "self_trade", "state", "kind"}
"""Columns of our own words, in which nothing has to be escaped."""
_json = msgspec.json.Encoder().encode
_RARE = {
    "market": "coalesce(market, false)",
    "post_only": "coalesce(post_only, false)",
    "self_trade": f"coalesce(self_trade, '{SelfTrade.CANCEL_NEWEST}')",
    "traits": "traits::jsonb",
}
"""What nulls stand for in columns that are mostly left empty, and how they are read."""
_LEASE = ("shard", "epoch", "stream_id", "last_seq", "last_trade", "last_link", "last_hash", "former_hash",
          "chain", "first_seq", "link_seq", "state_hash", "at")  # fmt: skip

_AT = f"${_LEASE.index('at') + 1}::timestamptz"
_ORDER = ", ".join(_TERMS.format("filled").split())
_READ = ", ".join(_RARE.get(name, name) for name in _TERMS.format("filled").split())
_RENEWED = {"price_minor", "quantity", "filled", "expires_at", "version", "priority"}
_MOVED = ", ".join(
    "new.traits::jsonb" if name == "traits" else f"{'new' if name in _RENEWED else 'old'}.{name}"
    for name in _TERMS.format("filled").split()
)
_LINE = _PARTS["line"].split()[1:]
_FENCE = f"""
with fence as (
    update engine_lease set stream_id = $3, last_seq = $4, last_trade = $5, last_link = $6, last_hash = $7,
        renewed_at = clock_timestamp() where shard = $1 and epoch = $2 returning shard
), link as (
    insert into audit_link (chain, number, first_seq, last_seq, payload, former_hash, hash, state_hash, at)
    values ($9, $6, $10, $11, null, $8, $7, $12, {_AT})
)"""
_STATEMENTS = {
    "journal": f"""
    insert into journal (seq, shard, epoch, party_id, key, body_hash, command, answer, at)
    select seq, $1, $2, party_id, key, body_hash, command, answer, {_AT} from rows""",
    "placed": f"""
    insert into open_order ({_ORDER.replace("filled", "open")}, created_at, updated_at)
    select {_READ.replace("filled", "open")}, {_AT}, {_AT} from rows""",
    "gone": f"""
    insert into ended_order ({_ORDER}, state, reason, created_at, updated_at)
    select {_READ}, state, reason, {_AT}, {_AT} from rows""",
    "changed": f"""
    update open_order old set price_minor = new.price_minor, quantity = new.quantity, open = new.open,
        expires_at = new.expires_at, traits = new.traits::jsonb, version = new.version, priority = new.priority,
        updated_at = {_AT}
    from rows where old.id = new.id""",
    "ended": f"""
    delete from open_order old using rows where old.id = new.id
    returning {_MOVED}, new.state, new.reason, old.created_at
), filed as (
    insert into ended_order ({_ORDER}, state, reason, created_at, updated_at) select *, {_AT} from ended""",
    "trade": f"""
    insert into trade (id, instrument_id, price_minor, quantity, buy_order_id, sell_order_id, buyer_id, seller_id,
        taker_side, fee_minor, at) select *, {_AT} from rows""",
    "delivery": f"""
    insert into delivery (id, carrier, custody_id, custody_account_id, quantity, money_account_id, payment_id,
        amount_minor, fee_minor, proceeds_account_id, receiver_line_id, coin_account_id, charge_minor, status,
        created_at)
    select *, 'pending', {_AT} from rows""",
    "instruction": """
    insert into instruction (kind, subject_id, lane) select * from rows on conflict (kind, subject_id) do nothing""",
    "balance": """
    update account set available = available - new.change, held = held + new.change
    from rows where account.id = new.id""",
    "instrument": """
    update instrument set state = new.state, paused_until = new.paused_until, call_ends_at = new.call_ends_at,
        stopped_by = new.stopped_by, state_before = new.state_before,
        rule_profile_id = coalesce(new.rule_profile_id, instrument.rule_profile_id)
    from rows where instrument.id = new.id""",
    "surveillance": f"""
    insert into surveillance_event (kind, party_id, instrument_id, order_id, detail, at) select *, {_AT} from rows""",
    "enacted": f"""
    insert into enactment (instrument_id, rule_profile_id, at) select *, {_AT} from rows""",
    "line": f"""
    insert into line_usage as old select * from rows on conflict (line_id) do update set
        ({", ".join(_LINE)}) = ({", ".join(f"excluded.{name}" for name in _LINE)})""",
}  # fmt: skip
"""What is done with the rows of each part."""


@cache
def _statement(present: tuple[str, ...]) -> str:
    """The statement for these parts. What comes first fences: without its row the caller must roll back."""
    number, parts = len(_LEASE), [_FENCE]
    for part in present:
        names = _PARTS[part].split()
        arrays = ", ".join(f"${number + at}{_cast(name)}" for at, name in enumerate(names, start=1))
        number += len(names)
        rows = f"from unnest({arrays}) as new ({', '.join(names)})"
        using = rows.replace("from unnest", "using unnest", 1)
        doing = _STATEMENTS[part].replace("from rows", rows).replace("using rows", using)
        parts.append(f"{part} as ({doing}\n)")
    return f"{', '.join(parts)}\nselect shard from fence"


def _cast(name: str) -> str:
    return f"{'::text' if _is_text(name) else ''}::{_TYPES.get(name, 'bigint')}[]"


@cache
def _as_text(part: str) -> tuple[bool, ...]:
    """Which columns of a part are given as text."""
    return tuple(map(_is_text, _PARTS[part].split()))


def _is_text(name: str) -> bool:
    return _TYPES.get(name, "bigint") in _NUMBERS or name in _WORDS


def _text(column: list[int | str | None]) -> str:
    """An array literal: what JSON writes between its brackets, PostgreSQL reads between its braces."""
    return f"{{{_json(column)[1:-1].decode()}}}"


@dataclass(slots=True)
class Entry:
    """One command with the answer that it got."""

    seq: int
    command: Command
    stored_command: bytes
    answer: bytes


@dataclass(slots=True)
class Written:
    """A batch's statement and its parameters."""

    statement: str
    parameters: list[Any]


def written(lease: Lease, desk: Desk, entries: Sequence[Entry], stream_id: str) -> Written:
    """All that a batch writes, as it is now: the next batch may change the same orders before this one is sent.

    The lease moves on to the batch's numbers and its link of the audit chain.
    """
    changes, at = desk.changes, moment(desk.now_us)
    former = lease.last_hash
    lease.last_hash = chain_hash(former, ((entry.seq, entry.stored_command, entry.answer) for entry in entries))
    lease.last_seq, lease.last_trade, lease.last_link = desk.seq, desk.trade, lease.last_link + 1
    lease.stream_id = stream_id
    head = [
        lease.shard, lease.epoch, stream_id, lease.last_seq, lease.last_trade, lease.last_link, lease.last_hash,
        former, f"engine-{lease.shard}", entries[0].seq, entries[-1].seq, signed(desk.state_hash), at,
    ]  # fmt: skip
    rows = {"journal": _journal(entries), **_orders(changes), **_others(desk)}
    if changes.trades:
        rows |= _trades(changes)
    present = tuple(part for part in _PARTS if rows.get(part, ((),))[0])
    columns = [
        _text(column) if is_text else column
        for part in present
        for is_text, column in zip(_as_text(part), rows[part], strict=True)
    ]
    return Written(_statement(present), head + columns)


def signed(number: int) -> int:
    """A number of 64 bits as PostgreSQL's bigint has it."""
    return number - 2**64 if number >= 2**63 else number


def chain_hash(former: bytes, rows: Iterable[tuple[int, bytes, bytes]]) -> bytes:
    """SHA-256 over the former link's hash and each row's number, command and answer, as they are stored."""
    digest = hashlib.sha256(former)
    for seq, command, answer in rows:
        digest.update(b"%d:%d:%d:" % (seq, len(command), len(answer)))
        digest.update(command)
        digest.update(answer)
    return digest.digest()


def _journal(entries: Sequence[Entry]) -> list[Any]:
    commands = [entry.command for entry in entries]
    return [
        [entry.seq for entry in entries],
        [command.party_id for command in commands],
        [command.key for command in commands],
        [command.body_hash for command in commands],
        [entry.stored_command for entry in entries],
        [entry.answer for entry in entries],
    ]


def _orders(changes: Changes) -> dict[str, list[Any]]:
    placed = [record for record in changes.placed.values() if record.state == "open"]
    gone = [record for record in changes.placed.values() if record.state != "open"]
    changed = [record for record in changes.changed.values() if record.state == "open"]
    ended = [record for record in changes.changed.values() if record.state != "open"]
    return {
        "placed": _terms(placed, [record.open for record in placed]),
        "gone": [*_terms(gone, [record.filled for record in gone]), *_ends(gone)],
        "changed": [*_progress(changed, [record.open for record in changed])],
        "ended": [*_progress(ended, [record.filled for record in ended]), *_ends(ended)],
    }


def _progress(records: Sequence[Record], progress: list[int]) -> list[Any]:
    return [
        [record.id for record in records],
        [record.price for record in records],
        [record.quantity for record in records],
        progress,
        _rare([None if record.expires_at is None else moment(record.expires_at) for record in records]),
        _rare([stored_traits(record) for record in records]),
        [record.version for record in records],
        [record.priority for record in records],
    ]


def _ends(records: Sequence[Record]) -> list[Any]:
    return [[record.state for record in records], [record.reason for record in records]]


def _terms(records: Sequence[Record], progress: list[int]) -> list[Any]:
    return [
        [record.id for record in records],
        [record.instrument_id for record in records],
        [record.party_id for record in records],
        [record.group_id for record in records],
        [1 if record.side is Side.BUY else 2 for record in records],
        [record.price for record in records],
        [record.quantity for record in records],
        progress,
        [record.time_in_force for record in records],
        _rare([record.market for record in records]),
        _rare([record.post_only for record in records]),
        _rare([None if record.self_trade is NEWEST else record.self_trade for record in records]),
        _rare([None if record.expires_at is None else moment(record.expires_at) for record in records]),
        _rare([None if record.traits is None else stored_traits(record) for record in records]),
        [record.fee_basis_points for record in records],
        [record.fee_minimum_minor for record in records],
        _rare([record.charges for record in records]),
        [record.account_id for record in records],
        [record.proceeds_account_id for record in records],
        _rare([record.line_id for record in records]),
        _rare([record.custody_id for record in records]),
        _rare([record.payment_id for record in records]),
        [record.version for record in records],
        [record.priority for record in records],
    ]


def _rare(column: list[Any]) -> list[Any]:
    """A column of which most batches have nothing: left empty it costs nothing, and is filled up with nulls."""
    return column if any(column) else []


def _trades(changes: Changes) -> dict[str, list[Any]]:
    trades = changes.trades
    ids, fees = [trade.id for trade in trades], [trade.fee_minor for trade in trades]
    return {
        "trade": [
            ids,
            [trade.instrument_id for trade in trades],
            [trade.price_minor for trade in trades],
            [trade.quantity for trade in trades],
            [trade.buy.id for trade in trades],
            [trade.sell.id for trade in trades],
            [trade.buy.party_id for trade in trades],
            [trade.sell.party_id for trade in trades],
            [trade.taker_side for trade in trades],
            fees,
        ],
        "delivery": [
            ids,
            [trade.carrier for trade in trades],
            [trade.sell.custody_id for trade in trades],
            [trade.sell.account_id for trade in trades],
            [trade.units for trade in trades],
            [trade.buy.account_id for trade in trades],
            [trade.buy.payment_id for trade in trades],
            [trade.price_minor * trade.quantity for trade in trades],
            fees,
            [trade.sell.proceeds_account_id for trade in trades],
            [trade.buy.line_id if trade.carrier else None for trade in trades],
            [None if trade.carrier else trade.buy.proceeds_account_id for trade in trades],
            [trade.charge_minor for trade in trades],
        ],
    }


def _others(desk: Desk) -> dict[str, list[Any]]:
    changes, enacted = desk.changes, desk.caps.enacted
    stands = {instrument_id: desk.instruments[instrument_id].standing for instrument_id in enacted} | changes.states
    balances = sorted((account_id, amount) for account_id, amount in changes.holds.items() if amount)
    return {
        "instruction": _columns(changes.instructions),
        "balance": _columns(balances),
        "instrument": [
            list(stands),
            *_columns([_standing(standing) for standing in stands.values()]),
            [enacted.get(instrument_id) for instrument_id in stands],
        ],
        "surveillance": _columns([event[:5] for event in changes.surveillance]),
        "enacted": _columns(list(enacted.items())),
        "line": _columns(lines.changed_lines(desk.caps)),
    }


def _standing(standing: Standing) -> tuple[Any, ...]:
    paused_until, call_ends_at = (
        None if at_us is None else moment(at_us) for at_us in (standing.paused_until_us, standing.call_ends_us)
    )
    return standing.state, paused_until, call_ends_at, standing.stopped_by, standing.state_before


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] or [[]]


def check_fence(written: object, lease: Lease) -> None:
    """Refuse to go on when the batch was not written under the lease. Raises Fenced."""
    if written is None:
        raise Fenced(f"Shard {lease.shard} was taken from epoch {lease.epoch}.")
