"""A top-up given back to the card it came from."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from settlement import accounts
from settlement.funding import asset_of, reference_of
from settlement.instructions import Absent, Contradicted, Done, Lost, Outcome, Refused
from settlement.ledger import Kind, Posting
from settlement.naming import external_id
from settlement.payments.values import Refund as Receipt
from settlement.payments.values import RefundStatus
from settlement.steps import Ended, Loaded, Numbers, Outside, Step
from settlement.tables import PaymentRow


@dataclass(frozen=True, slots=True)
class Refund:
    """What is given back of one payment."""

    payment_id: int
    provider_id: str
    external_id: str
    amount_minor: int
    currency: str

    @property
    def fingerprint(self) -> str:
        return f"{self.external_id} {self.provider_id} {self.amount_minor}"

    @property
    def lines(self) -> tuple[int, ...]:
        return ()


async def load(session: AsyncSession, ids: Sequence[int], mark: str) -> Loaded[Refund]:
    rows = await session.scalars(select(PaymentRow).where(PaymentRow.id.in_(ids)))
    return {
        row.id: Refund(
            payment_id=row.id,
            provider_id=row.provider_id or "",
            external_id=external_id(mark, "refund", row.id),
            amount_minor=row.captured_minor - row.refunded_minor,
            currency=row.currency,
        )
        for row in rows
    }


async def send(outside: Outside, refund: Refund, numbers: Numbers) -> Outcome:  # noqa: ARG001 - one shape for all
    name = refund.external_id
    return _outcome(refund, await outside.payments.refund(refund.provider_id, refund.amount_minor, name, name))


async def ask(outside: Outside, refund: Refund, numbers: Numbers) -> Outcome:  # noqa: ARG001
    receipt = await outside.payments.find_refund(refund.provider_id, refund.external_id)
    return Absent() if receipt is None else _outcome(refund, receipt)


def _outcome(refund: Refund, receipt: Receipt) -> Outcome:
    asked, said = (refund.amount_minor, refund.currency), (receipt.amount_minor, receipt.currency)
    if said != asked:
        return Contradicted(f"The provider refunded {said[0]} {said[1]}, we asked for {asked[0]} {asked[1]}.")
    if receipt.status in {RefundStatus.FAILED, RefundStatus.CANCELED}:
        return Refused(receipt.failure_reason or receipt.status.value)
    if receipt.status is RefundStatus.SUCCEEDED:
        return Done(receipt.id)
    return Lost("the provider has accepted it and is at work", soon=True)


async def book(session: AsyncSession, ended: Sequence[Ended[Refund]]) -> set[int]:
    """The money is on its way to the card, out of the wallet's hold."""
    return await _end(session, ended, refunded=True)


async def undo(session: AsyncSession, ended: Sequence[Ended[Refund]]) -> set[int]:
    """The provider won't refund: the wallet keeps its money."""
    return await _end(session, ended, refunded=False)


async def _end(session: AsyncSession, ended: Sequence[Ended[Refund]], *, refunded: bool) -> set[int]:
    ends = {end.subject_id: end for end in ended}
    query = select(PaymentRow).where(PaymentRow.id.in_(ends)).order_by(PaymentRow.id).with_for_update(key_share=True)
    rows = list(await session.scalars(query.execution_options(populate_existing=True)))
    assets = {row.id: await asset_of(session, row.account_id) for row in rows}
    providers = {row.id: await accounts.house_account(session, "provider", assets[row.id]) for row in rows}
    ledger = await accounts.lock(session, {*providers.values(), *(row.account_id for row in rows)})
    for row in rows:
        amount = row.captured_minor - row.refunded_minor
        if refunded:
            taken = Posting(row.account_id, held=-amount), Posting(providers[row.id], amount)
            ledger.transfer(Kind.TOP_UP_REFUNDED, reference_of(row.id), *taken)
            row.refunded_minor, row.status = row.captured_minor, "refunded"
        else:
            ledger.hold(row.account_id, -amount, kind=Kind.RELEASE, reference=reference_of(row.id))
            row.reason = f"The provider did not refund it: {ends[row.id].reason}"
    await accounts.save(session, ledger)
    return {row.party_id for row in rows}


REFUND = Step("refund", load, send, ask, book, undo, gives_up=True)
