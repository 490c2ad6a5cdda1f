"""Withdrawals: a transfer to the seller's account at the provider, then a payout from it; and the way back."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from settlement import accounts
from settlement.funding import asset_of, instruct
from settlement.instructions import Absent, Contradicted, Done, Lost, Outcome, Refused
from settlement.ledger import Kind, Ledger, Posting
from settlement.naming import external_id
from settlement.payments.errors import PaymentMismatch
from settlement.payments.values import Payout, PayoutStatus
from settlement.steps import PROVIDER_LANE, Ended, Loaded, Numbers, Outside, Step
from settlement.tables import PayoutRow

FAILED = frozenset({PayoutStatus.FAILED, PayoutStatus.CANCELED})


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """One step of a withdrawal: what is sent, to which account at the provider, under which name."""

    payout_id: int
    external_id: str
    group: str
    """The name of the transfer: the provider finds it by this."""
    destination: str
    amount_minor: int
    currency: str
    transfer_reference: str | None

    @property
    def fingerprint(self) -> str:
        return f"{self.external_id} {self.destination} {self.amount_minor} {self.currency} {self.transfer_reference}"

    @property
    def lines(self) -> tuple[int, ...]:
        return ()


def reference_of(payout_id: int) -> str:
    """The ledger's reference for one withdrawal, also of the hold it begins with."""
    return f"wdr_{payout_id}"


async def book_payout(session: AsyncSession, payout_id: int, payout: Payout) -> PayoutRow:
    """Take in what the provider says of a payout that it has taken, in whatever order it is said.

    The wallet's money leaves the books when the bank has it. A payout may fail days
    after that: then the money comes back, first from the seller's account at the
    provider, and with that to the wallet.
    """
    (row,) = await _locked(session, [payout_id])
    if (payout.amount_minor, payout.currency) != (row.amount_minor, row.currency):
        raise PaymentMismatch(f"withdrawal {row.id}: {payout.amount_minor} {payout.currency} at the provider")
    if row.status == "refused" or row.payout_reference not in {None, payout.id}:
        return row
    row.payout_reference = payout.id
    if payout.status in FAILED and row.reason is None:
        row.reason = payout.failure_code or payout.status.value
        await instruct(session, "reverse", row.id, PROVIDER_LANE)
    elif payout.status is PayoutStatus.PAID and row.status == "transferred" and row.reason is None:
        await _post(session, [row], Kind.PAID_OUT)
        row.status, row.ended_at = "paid", payout.arrives_at
    return row


async def load_transfer(session: AsyncSession, ids: Sequence[int], mark: str) -> Loaded[Withdrawal]:
    return await _load(session, ids, mark, "transfer")


async def load_payout(session: AsyncSession, ids: Sequence[int], mark: str) -> Loaded[Withdrawal]:
    return await _load(session, ids, mark, "payout")


async def load_reverse(session: AsyncSession, ids: Sequence[int], mark: str) -> Loaded[Withdrawal]:
    return await _load(session, ids, mark, "reverse")


async def send_transfer(outside: Outside, one: Withdrawal, numbers: Numbers) -> Outcome:  # noqa: ARG001
    name = one.external_id
    transfer = await outside.payments.transfer(
        one.destination, one.amount_minor, one.currency, group=one.group, reference=name, key=name
    )
    return Done(transfer.id)


async def ask_transfer(outside: Outside, one: Withdrawal, numbers: Numbers) -> Outcome:  # noqa: ARG001
    transfer = await outside.payments.find_transfer(one.group, one.external_id)
    if transfer is None:
        return Absent()
    if (transfer.destination, transfer.amount_minor, transfer.currency) != (
        one.destination,
        one.amount_minor,
        one.currency,
    ):
        return Contradicted(f"The provider holds another transfer under our id: {transfer.id}.")
    return Done(transfer.id)


async def book_transfer(session: AsyncSession, ended: Sequence[Ended[Withdrawal]]) -> set[int]:
    """The money is in the seller's account at the provider: now it goes on to the bank."""
    ends = {end.subject_id: end for end in ended}
    rows = await _locked(session, list(ends))
    for row in rows:
        row.status, row.transfer_reference = "transferred", ends[row.id].done.reference
        await instruct(session, "payout", row.id, PROVIDER_LANE)
    return {row.party_id for row in rows}


async def send_payout(outside: Outside, one: Withdrawal, numbers: Numbers) -> Outcome:  # noqa: ARG001
    name = one.external_id
    payout = await outside.payments.pay_out(one.destination, one.amount_minor, one.currency, name, name)
    return Done(payout.id)


async def ask_payout(outside: Outside, one: Withdrawal, numbers: Numbers) -> Outcome:  # noqa: ARG001
    payout = await outside.payments.find_payout(one.destination, one.external_id)
    if payout is None:
        return Absent()
    if (payout.amount_minor, payout.currency) != (one.amount_minor, one.currency):
        return Contradicted(f"The provider holds another payout under our id: {payout.id}.")
    return Done(payout.id)


async def book_payout_sent(session: AsyncSession, ended: Sequence[Ended[Withdrawal]]) -> set[int]:
    """The provider has taken the payout; whether the bank gets it is asked until it is known."""
    ends = {end.subject_id: end for end in ended}
    rows = await _locked(session, list(ends))
    for row in rows:
        row.payout_reference = row.payout_reference or ends[row.id].done.reference
    return {row.party_id for row in rows}


async def undo_payout(session: AsyncSession, ended: Sequence[Ended[Withdrawal]]) -> set[int]:
    """The provider won't pay out: the money is called back before the wallet sees it again."""
    ends = {end.subject_id: end for end in ended}
    rows = await _locked(session, list(ends))
    for row in rows:
        row.reason = ends[row.id].reason
        await instruct(session, "reverse", row.id, PROVIDER_LANE)
    return {row.party_id for row in rows}


async def send_reverse(outside: Outside, one: Withdrawal, numbers: Numbers) -> Outcome:  # noqa: ARG001
    if one.transfer_reference is None:
        return Refused("There is no transfer to call back.")
    name = one.external_id
    reversal = await outside.payments.reverse_transfer(one.transfer_reference, one.amount_minor, name, name)
    return Done(reversal.id)


async def ask_reverse(outside: Outside, one: Withdrawal, numbers: Numbers) -> Outcome:  # noqa: ARG001
    transfer = await outside.payments.find_transfer(one.group, one.group)
    if transfer is None:
        return Lost("the provider does not show the transfer")
    return Done(transfer.id) if transfer.reversed_minor >= one.amount_minor else Absent()


async def book_reverse(session: AsyncSession, ended: Sequence[Ended[Withdrawal]]) -> set[int]:
    """The money is back with us, so it is the wallet's again."""
    return await _return(session, ended)


async def undo_transfer(session: AsyncSession, ended: Sequence[Ended[Withdrawal]]) -> set[int]:
    """Nothing was sent: the wallet gets its money back."""
    return await _return(session, ended)


async def _return(session: AsyncSession, ended: Sequence[Ended[Withdrawal]]) -> set[int]:
    ends = {end.subject_id: end for end in ended}
    rows = await _locked(session, list(ends))
    await _post(session, rows, Kind.PAYOUT_RETURNED)
    for row in rows:
        row.status, row.ended_at = "refused", ends[row.id].at
        row.reason = row.reason or ends[row.id].reason
    return {row.party_id for row in rows}


async def _load(session: AsyncSession, ids: Sequence[int], mark: str, kind: str) -> Loaded[Withdrawal]:
    rows = await session.scalars(select(PayoutRow).where(PayoutRow.id.in_(ids)))
    return {
        row.id: Withdrawal(
            payout_id=row.id,
            external_id=external_id(mark, kind, row.id),
            group=external_id(mark, "transfer", row.id),
            destination=row.destination,
            amount_minor=row.amount_minor,
            currency=row.currency,
            transfer_reference=row.transfer_reference,
        )
        for row in rows
    }


async def _locked(session: AsyncSession, ids: Sequence[int]) -> list[PayoutRow]:
    query = select(PayoutRow).where(PayoutRow.id.in_(ids)).order_by(PayoutRow.id).with_for_update(key_share=True)
    return list(await session.scalars(query.execution_options(populate_existing=True)))


async def _post(session: AsyncSession, rows: Sequence[PayoutRow], kind: Kind) -> None:
    providers = {
        row.id: await accounts.house_account(session, "provider", await asset_of(session, row.account_id))
        for row in rows
    }
    ledger = await accounts.lock(session, {*providers.values(), *(row.account_id for row in rows)})
    for row in rows:
        _transfer(ledger, kind, row, providers[row.id])
    await accounts.save(session, ledger)


def _transfer(ledger: Ledger, kind: Kind, row: PayoutRow, provider: int) -> None:
    amount = row.amount_minor
    if kind is Kind.PAID_OUT:
        postings = [Posting(row.account_id, held=-amount), Posting(provider, amount)]
    elif row.status == "paid":
        postings = [Posting(provider, -amount), Posting(row.account_id, amount)]
    else:
        postings = [Posting(row.account_id, amount, -amount)]
    ledger.transfer(kind, reference_of(row.id), *postings)


TRANSFER = Step("transfer", load_transfer, send_transfer, ask_transfer, book_transfer, undo_transfer, gives_up=True)
PAYOUT = Step("payout", load_payout, send_payout, ask_payout, book_payout_sent, undo_payout, gives_up=True)
REVERSE = Step("reverse", load_reverse, send_reverse, ask_reverse, book_reverse)
