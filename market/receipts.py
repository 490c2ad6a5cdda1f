"""Receipts of trades for their parties and officers: read from the books, continued from what was issued, signed."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from market import audit
from market.installation import mark
from market.parties import Officer
from market.receipt_tables import ReceiptKeyRow, ReceiptRow, ReceiptStepRow
from market.refusals import NotFound
from market.venue import Venue
from settlement.naming import external_id
from settlement.receipts.chain import Fact, Facts, Step, extended
from settlement.receipts.document import Signer, drawn_up, in_writing

Side = Literal["buy", "sell"]
CODE = re.compile(r"[A-Z][A-Z0-9_]{2,40}")
"""A refusal's code. The words behind it are a carrier's, and might name a line."""

# The batch of a trade is the one of its very moment; two shards that share it are told apart by who was served.
_TRADE = text("""
select trade.id, trade.at, trade.price_minor, trade.quantity as lots, trade.fee_minor, trade.buyer_id, trade.seller_id,
    trade.price_minor * trade.quantity as amount_minor, instrument.symbol, instrument.lot_units, instrument.currency,
    asset.kind as asset_kind, asset.carrier, own.id as order_id, own.time_in_force, own.created_at as ordered_at,
    delivery.status, delivery.quantity, delivery.carrier_reference, delivery.payment_reference, delivery.delivered_at,
    delivery.ended_at, delivery.reason, delivery.proceeds_account_id, delivery.custody_id, delivery.charge_minor,
    custody.reservation_id,
    payment.provider_id, link.chain, link.number, link.first_seq, link.last_seq, link.hash, link.state_hash
from trade
join instrument on instrument.id = trade.instrument_id
join asset on asset.id = instrument.asset_id
join orders own on own.id = case :side when 'buy' then trade.buy_order_id else trade.sell_order_id end
join delivery on delivery.id = trade.id
left join custody on custody.id = delivery.custody_id
left join payment on payment.id = delivery.payment_id
left join lateral (
    select chain, number, first_seq, last_seq, hash, state_hash from audit_link
    where at = trade.at and chain <> 'house'
    order by exists (
        select from journal where seq between first_seq and last_seq and shard = split_part(chain, '-', 2)::int
            and party_id in (trade.buyer_id, trade.seller_id)
    ) desc, chain, number limit 1
) link on true
where trade.id = :trade_id
""")
_REOPENINGS = text("""
select id, cause, amount_minor, status, opened_at, ended_at from reopening where trade_id = :trade_id order by id
""")
_PAYOUTS = text("""
select id, amount_minor, currency, transfer_reference, payout_reference, ended_at from payout
where party_id = :seller_id and account_id = :account_id and status = 'paid' and created_at >= :since
order by ended_at, id limit 1
""")


class PublicKey(NamedTuple):
    """A key that receipts are or were signed with."""

    id: str
    public_key: str
    """In hexadecimal."""
    first_used_at: datetime | None
    """None as long as nothing was signed with it."""


async def of_party(venue: Venue, party_id: int, trade_id: int) -> bytes:
    """The receipt of the party's own side of a trade, as far as the trade has come.

    Raises:
        NotFound: there is no such trade, or it is other people's.
    """
    sides = text("""
        select case when buyer_id = :party_id then 'buy' else 'sell' end from trade
        where id = :trade_id and :party_id in (buyer_id, seller_id)
    """)
    async with venue.sessions.begin() as session:
        side = await session.scalar(sides, {"trade_id": trade_id, "party_id": party_id})
        if side is None:
            raise NotFound("You have no such trade.")
        return await _issue(session, venue, trade_id, side)


async def of_officer(venue: Venue, officer: Officer, trade_id: int, side: Side) -> bytes:
    """The receipt of one side of a trade that the officer watches over; that it was taken is on the record.

    Raises:
        NotFound: there is no such trade, or it is another carrier's.
    """
    carriers = text("select coalesce(carrier, '') from delivery where id = :trade_id")
    async with venue.sessions.begin() as session:
        carrier = await session.scalar(carriers, {"trade_id": trade_id})
        if carrier is None or officer.carrier not in {None, carrier}:
            raise NotFound("There is no such trade.")
        issued = await _issue(session, venue, trade_id, side)
        detail = {"side": side}
        await audit.append(session, audit.officer(officer.id), "download", f"receipt:trd_{trade_id}", detail)
        return issued


async def public_keys(session: AsyncSession, signer: Signer) -> list[PublicKey]:
    """Every key that receipts were signed with, oldest first, and the present one."""
    rows = list(await session.scalars(select(ReceiptKeyRow).order_by(ReceiptKeyRow.first_used_at, ReceiptKeyRow.id)))
    used = [PublicKey(row.id, row.public_key.hex(), row.first_used_at) for row in rows]
    if signer.key_id in {key.id for key in used}:
        return used
    return [*used, PublicKey(signer.key_id, signer.public_key.hex(), None)]


async def _issue(session: AsyncSession, venue: Venue, trade_id: int, side: Side) -> bytes:
    """Go on from what was issued, one caller at a time; the caller commits."""
    await session.execute(insert(ReceiptRow).values(trade_id=trade_id, side=side).on_conflict_do_nothing())
    own = select(ReceiptRow).where(ReceiptRow.trade_id == trade_id, ReceiptRow.side == side).with_for_update()
    receipt = (await session.scalars(own)).one()
    issued = await _issued(session, trade_id, side)
    installation = await mark(session)
    facts = await _facts(session, installation, trade_id, side)

    steps = extended(issued, facts)
    signer = Signer(venue.settings.secret_key)
    document = signer.sign(
        drawn_up(
            issuer=installation,
            trade=f"trd_{trade_id}",
            side=side,
            issued_at=_moment(datetime.now(UTC)),
            steps=steps,
        )
    )

    session.add_all(_row(trade_id, side, step) for step in steps[len(issued) :])
    receipt.steps, receipt.head_hash = len(steps), steps[-1].hash
    key = insert(ReceiptKeyRow).values(id=signer.key_id, public_key=signer.public_key)
    await session.execute(key.on_conflict_do_nothing())
    await session.flush()
    return in_writing(document)


async def _issued(session: AsyncSession, trade_id: int, side: Side) -> list[Step]:
    query = select(ReceiptStepRow).where(ReceiptStepRow.trade_id == trade_id, ReceiptStepRow.side == side)
    rows = await session.scalars(query.order_by(ReceiptStepRow.number))
    return [Step(row.number, row.kind, row.reference, row.body, row.former_hash, row.hash) for row in rows]


def _row(trade_id: int, side: Side, step: Step) -> ReceiptStepRow:
    return ReceiptStepRow(
        trade_id=trade_id,
        side=side,
        number=step.number,
        kind=step.kind,
        reference=step.reference,
        body=step.body,
        former_hash=step.former,
        hash=step.hash,
    )


async def _facts(session: AsyncSession, installation: str, trade_id: int, side: Side) -> list[Fact]:
    """What has happened to the trade, as this side may know it; of the other side nothing but that it is there."""
    trade = (await session.execute(_TRADE, {"trade_id": trade_id, "side": side})).one()
    later = [_reopening(row) for row in await session.execute(_REOPENINGS, {"trade_id": trade_id})]
    ended = [fact for pair in later for fact in pair]
    if side == "sell" and trade.status == "settled":
        values = {"seller_id": trade.seller_id, "account_id": trade.proceeds_account_id, "since": trade.ended_at}
        ended += [_payout(row) for row in await session.execute(_PAYOUTS, values)]
    return [
        *_opening(trade, side),
        *_outcome(trade, side, installation),
        *sorted(ended, key=lambda fact: str(fact.says["at"])),
    ]


def _opening(trade: Any, side: Side) -> list[Fact]:
    party, other = (trade.buyer_id, "seller") if side == "buy" else (trade.seller_id, "buyer")
    order: Facts = {
        "at": _moment(trade.ordered_at),
        "party": f"party_{party}",
        "side": side,
        "symbol": trade.symbol,
        "time_in_force": trade.time_in_force,
    }
    match: Facts = {
        "at": _moment(trade.at),
        "other_side": f"the {other} of trd_{trade.id}",
        "price_minor": trade.price_minor,
        "lots": trade.lots,
        "lot_units": trade.lot_units,
        "amount_minor": trade.amount_minor,
        "fee_minor": trade.fee_minor if side == "sell" else 0,
        **_charge(trade, side),
        "currency": trade.currency,
        **_anchor(trade),
    }
    if side == "buy":
        paid_from = "wallet" if trade.provider_id is None else trade.provider_id
        hold: Facts = {"held_minor": trade.amount_minor, "currency": trade.currency, "held_at": paid_from}
    else:
        hold = {"held_units": trade.quantity, "unit": _unit(trade), "held_at": trade.reservation_id or "wallet"}
    return [
        Fact("order", f"ord_{trade.order_id}", order),
        Fact("match", f"trd_{trade.id}", match),
        Fact("hold", f"ord_{trade.order_id}", {"at": _moment(trade.at), **hold}),
    ]


def _anchor(trade: Any) -> Facts:
    """The link of the engine's audit chain that covers the journal of the trade's batch."""
    if trade.hash is None:
        return {}
    return {
        "audit_chain": trade.chain,
        "audit_link": str(trade.number),
        "audit_hash": trade.hash.hex(),
        "journal_from": str(trade.first_seq),
        "journal_to": str(trade.last_seq),
        "state_hash": None if trade.state_hash is None else str(trade.state_hash),
    }


def _outcome(trade: Any, side: Side, installation: str) -> list[Fact]:
    facts = []
    if trade.delivered_at is not None:
        moved: Facts = {
            "at": _moment(trade.delivered_at),
            "carrier": trade.carrier,
            "carrier_reference": trade.carrier_reference,
            "moved_units": trade.quantity,
            "unit": _unit(trade),
        }
        facts.append(Fact("delivery", external_id(installation, "deliver", trade.id), moved))
    if trade.status == "settled":
        facts.append(Fact("payment", f"trd_{trade.id}", _payment(trade, side)))
    if trade.status == "refunded":
        code = (trade.reason or "").partition(":")[0]
        returned: Facts = {"at": _moment(trade.ended_at), "code": code if CODE.fullmatch(code) else None}
        facts.append(Fact("refund", f"trd_{trade.id}", returned))
    return facts


def _payment(trade: Any, side: Side) -> Facts:
    at, currency = _moment(trade.ended_at), trade.currency
    if side == "buy":
        captured = trade.payment_reference or "wallet"
        return {"at": at, "paid_minor": trade.amount_minor, "currency": currency, "captured_from": captured}
    return {
        "at": at,
        "received_minor": trade.amount_minor - trade.fee_minor,
        "fee_minor": trade.fee_minor,
        **_charge(trade, side),
        "currency": currency,
    }


def _charge(trade: Any, side: str) -> Facts:
    """What of a seller's fee the carrier gets; a receipt without any says nothing of it."""
    return {"carrier_charge_minor": trade.charge_minor} if side == "sell" and trade.charge_minor else {}


def _reopening(row: Any) -> Sequence[Fact]:
    reference = f"rop_{row.id}"
    opened: Facts = {"at": _moment(row.opened_at), "cause": row.cause, "amount_minor": row.amount_minor}
    if row.ended_at is None:
        return [Fact("reopened", reference, opened)]
    closed: Facts = {"at": _moment(row.ended_at), "status": row.status}
    # A reopening can be settled and withdrawn later: each is a step of its own.
    return [Fact("reopened", reference, opened), Fact("reopening_ended", f"{reference} {row.status}", closed)]


def _payout(row: Any) -> Fact:
    says: Facts = {
        "at": _moment(row.ended_at),
        "amount_minor": row.amount_minor,
        "currency": row.currency,
        "transfer_reference": row.transfer_reference,
        "payout_reference": row.payout_reference,
    }
    return Fact("payout", f"wdr_{row.id}", says)


def _unit(trade: Any) -> str:
    return "MB" if trade.asset_kind == "data" else "coins"


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")
