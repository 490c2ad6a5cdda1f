"""The rows of a settlement report, read from our own books in one snapshot."""

from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from settlement.ledger import Kind
from settlement.naming import external_id
from settlement.report import ALL, Report, Row, Span

AT_A_TIME = 1000

_TRADES = text("""
    select delivery.*, asset.code as asset, money.code as currency, seller.party_id as seller_id,
        buyer.party_id as buyer_id, custody.line_id as seller_line_id,
        case when delivery.payment_id is null then (
            select provider_id from payment
            where payment.party_id = buyer.party_id and payment.kind = 'top_up'
                and payment.status in ('succeeded', 'refunded') and payment.created_at <= delivery.created_at
            order by payment.created_at desc limit 1
        ) else (select provider_id from payment where payment.id = delivery.payment_id) end as paid_by
    from delivery
    join account seller on seller.id = delivery.custody_account_id
    join account buyer on buyer.id = delivery.money_account_id
    join asset on asset.id = seller.asset_id
    join asset money on money.id = buyer.asset_id
    left join custody on custody.id = delivery.custody_id
    where delivery.created_at >= :since and delivery.created_at < :until
        and (cast(:carrier as text) is null or delivery.carrier = :carrier)
    order by delivery.created_at, delivery.id
""")
_PARTIES = """
    (cast(:carrier as text) is null or {table}.party_id in (
        select account.party_id from delivery
        join account on account.id in (delivery.custody_account_id, delivery.money_account_id)
        where delivery.carrier = :carrier and delivery.created_at >= :since and delivery.created_at < :until
    ))
"""
_PAYMENTS = text(f"""
    select payment.*, coalesce((
        select sum(clawback.amount_minor) from clawback
        where payment_id = payment.id and clawback.kind = 'refund' and clawback.status in ('gone', 'lost')
    ), 0)::bigint as outside_minor
    from payment
    where created_at >= :since and created_at < :until and {_PARTIES.format(table="payment")}
    order by id
""")  # noqa: S608 - the text is our own
_PAYOUTS = text(f"""
    select * from payout
    where created_at >= :since and created_at < :until and {_PARTIES.format(table="payout")}
    order by id
""")  # noqa: S608 - the text is our own
_RELEASES = text("""
    select custody.id, custody.party_id, custody.line_id, custody.carrier, custody.status, custody.reservation_id,
        asset.code as asset, instruction.external_reference, instruction.ended_at, instruction.reason,
        posting.at, -posting.available_change as quantity_mb
    from posting
    join custody on posting.reference = 'cus_' || custody.id and posting.account_id = custody.account_id
    join account on account.id = custody.account_id
    join asset on asset.id = account.asset_id
    left join instruction on instruction.kind = 'release' and instruction.subject_id = custody.id
    where posting.kind = :unreserved and posting.at >= :since and posting.at < :until
        and (cast(:carrier as text) is null or custody.carrier = :carrier)
    order by posting.at, custody.id
""")


async def collect(session: AsyncSession, report: Report, mark: str) -> None:
    """Fill a report from our books. The session should be in a snapshot of its own."""
    span, carrier = report.span, None if report.carrier == ALL else report.carrier
    values = {"since": span.since, "until": span.until, "carrier": carrier}
    async for row in _stream(session, _TRADES, values):
        report.add(_trade(row, span, mark))
    payments = [row async for row in _stream(session, _PAYMENTS, values)]
    for kind in ("top_up", "card_hold"):
        for row in payments:
            if row.kind == kind:
                report.add(_payment(row, span, mark))
    for row in payments:
        if row.refunded_minor:
            report.add(_refund(row, span, mark))
    async for row in _stream(session, _PAYOUTS, values):
        report.add(_payout(row, span, mark))
    async for row in _stream(session, _RELEASES, {**values, "unreserved": int(Kind.UNRESERVED)}):
        report.add(_release(row, span))


async def _stream(session: AsyncSession, query: Any, values: dict[str, Any]) -> AsyncIterator[Any]:
    """Rows by a cursor on the server, so that their number does not matter here."""
    result = await session.stream(query, values, execution_options={"yield_per": AT_A_TIME})
    async for row in result:
        yield row


def _trade(row: Any, span: Span, mark: str) -> Row:
    return Row(
        record="trade",
        id=f"trd_{row.id}",
        at=span.moment(row.created_at) or "",
        carrier=row.carrier,
        asset=row.asset,
        quantity_mb=row.quantity,
        price_minor=row.amount_minor * 100 // row.quantity,
        amount_minor=row.amount_minor,
        fee_minor=row.fee_minor,
        charge_minor=row.charge_minor,
        net_minor=row.amount_minor - row.fee_minor,
        currency=row.currency,
        status=row.status,
        reason=row.reason,
        seller=f"party_{row.seller_id}",
        buyer=f"party_{row.buyer_id}",
        seller_line=_line(row.seller_line_id),
        receiver_line=_line(row.receiver_line_id),
        carrier_reference=row.carrier_reference,
        payment_reference=_paid_by(row),
        our_reference=external_id(mark, "deliver", row.id),
        delivered_at=span.moment(row.delivered_at),
        settled_at=span.moment(row.ended_at) if row.status == "settled" else None,
    )


def _paid_by(row: Any) -> str | None:
    """The card payment of a trade, or the wallet with the newest top-up that it held."""
    if row.payment_id is not None:
        return row.paid_by  # type: ignore[no-any-return]
    return f"wallet {row.paid_by}" if row.paid_by else "wallet"


def _payment(row: Any, span: Span, mark: str) -> Row:
    return Row(
        record=row.kind,
        id=f"pay_{row.id}",
        at=span.moment(row.created_at) or "",
        amount_minor=row.captured_minor if row.kind == "card_hold" else row.amount_minor,
        net_minor=(row.captured_minor if row.kind == "card_hold" else row.amount_minor) - _given_back(row),
        currency=row.currency,
        status=row.status,
        reason=row.reason,
        buyer=f"party_{row.party_id}",
        payment_reference=row.provider_id,
        our_reference=external_id(mark, row.kind, row.id),
    )


def _given_back(row: Any) -> int:
    """What the card has again of a payment: asked for by its owner, or refunded at the provider behind our back."""
    given_back: int = row.refunded_minor + row.outside_minor
    return given_back


def _refund(row: Any, span: Span, mark: str) -> Row:
    return Row(
        record="refund",
        id=f"pay_{row.id}",
        at=span.moment(row.created_at) or "",
        amount_minor=row.refunded_minor,
        currency=row.currency,
        status=row.status,
        buyer=f"party_{row.party_id}",
        payment_reference=row.provider_id,
        our_reference=external_id(mark, "refund", row.id),
    )


def _payout(row: Any, span: Span, mark: str) -> Row:
    references = [reference for reference in (row.transfer_reference, row.payout_reference) if reference]
    return Row(
        record="payout",
        id=f"wdr_{row.id}",
        at=span.moment(row.created_at) or "",
        amount_minor=row.amount_minor,
        currency=row.currency,
        status=row.status,
        reason=row.reason,
        seller=f"party_{row.party_id}",
        payment_reference=" ".join(references) or None,
        our_reference=external_id(mark, "transfer", row.id),
        settled_at=span.moment(row.ended_at) if row.status == "paid" else None,
    )


def _release(row: Any, span: Span) -> Row:
    return Row(
        record="release",
        id=f"cus_{row.id}",
        at=span.moment(row.at) or "",
        carrier=row.carrier,
        asset=row.asset,
        quantity_mb=row.quantity_mb,
        status=row.status,
        reason=row.reason,
        seller=f"party_{row.party_id}",
        seller_line=_line(row.line_id),
        carrier_reference=row.reservation_id,
        settled_at=span.moment(row.ended_at),
    )


def _line(line_id: int | None) -> str | None:
    return None if line_id is None else f"line_{line_id}"
