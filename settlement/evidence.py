"""What we hold against a dispute: the record of what its payment brought, given to the provider once."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from settlement.card_tables import ClawbackRow
from settlement.instructions import Absent, Done, Outcome
from settlement.naming import external_id
from settlement.steps import Ended, Loaded, Numbers, Outside, Step
from settlement.tables import DeliveryRow, PaymentRow

LONGEST = 20_000
"""What the provider takes of one text."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The record for one dispute, as JSON without a phone number in it."""

    dispute_id: str
    external_id: str
    description: str
    record: str

    @property
    def fingerprint(self) -> str:
        return f"{self.external_id} {self.dispute_id} {self.record}"

    @property
    def lines(self) -> tuple[int, ...]:
        return ()


async def load(session: AsyncSession, ids: Sequence[int], mark: str) -> Loaded[Evidence]:
    rows = await session.execute(
        select(ClawbackRow, PaymentRow)
        .join(PaymentRow, PaymentRow.id == ClawbackRow.payment_id)
        .where(ClawbackRow.id.in_(ids))
    )
    found = [(clawback, payment) for clawback, payment in rows]
    trades: dict[int, list[DeliveryRow]] = {}
    for trade in await session.scalars(
        select(DeliveryRow)
        .where(DeliveryRow.payment_id.in_({payment.id for _, payment in found}), DeliveryRow.delivered_at.is_not(None))
        .order_by(DeliveryRow.id)
    ):
        trades.setdefault(trade.payment_id or 0, []).append(trade)
    return {
        clawback.id: Evidence(
            clawback.provider_id,
            external_id(mark, "evidence", clawback.id),
            _description(payment),
            _record(payment, trades.get(payment.id, ())),
        )
        for clawback, payment in found
    }


async def send(outside: Outside, evidence: Evidence, numbers: Numbers) -> Outcome:  # noqa: ARG001 - one shape for all
    await outside.payments.submit_evidence(
        evidence.dispute_id, description=evidence.description, record=evidence.record, key=evidence.external_id
    )
    return Done(evidence.dispute_id)


async def ask(outside: Outside, evidence: Evidence, numbers: Numbers) -> Outcome:  # noqa: ARG001
    dispute = await outside.payments.dispute(evidence.dispute_id)
    return Done(dispute.id) if dispute.has_evidence else Absent()


async def book(session: AsyncSession, ended: Sequence[Ended[Evidence]]) -> set[int]:  # noqa: ARG001
    """Nothing moves: the bank decides, and its word comes as an event."""
    return set()


def _description(payment: PaymentRow) -> str:
    if payment.kind == "top_up":
        return "Money for the buyer's own wallet, credited when it arrived."
    return "Mobile data, moved to the buyer's line by the carrier at once."


def _record(payment: PaymentRow, trades: Iterable[DeliveryRow]) -> str:
    moved: list[dict[str, Any]] = [
        {
            "trade": trade.id,
            "carrier": trade.carrier,
            "carrier_reference": trade.carrier_reference,
            "quantity_mb": trade.quantity,
            "amount_minor": trade.amount_minor,
            "delivered_at": trade.delivered_at and trade.delivered_at.isoformat(),
        }
        for trade in trades
    ]
    said = {
        "payment": payment.id,
        "kind": payment.kind,
        "paid_at": payment.created_at.isoformat(),
        "captured_minor": payment.captured_minor,
        "currency": payment.currency,
        "delivered": moved,
    }
    return json.dumps(said)[:LONGEST]


EVIDENCE = Step("evidence", load, send, ask, book, book, gives_up=True)
"""Refused, as when the dispute has been decided already, it changes nothing either."""
