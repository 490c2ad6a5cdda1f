"""Data that reaches a line without a trade: coins redeemed by a top-up, and a partner's data handed out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from settlement import accounts
from settlement.carriers.values import Movement, MovementKind, MovementStatus
from settlement.funding import asset_of
from settlement.instructions import Absent, Contradicted, Done, Lost, Outcome, Refused
from settlement.ledger import Kind, Posting
from settlement.naming import external_id
from settlement.steps import Ended, Loaded, Numbers, Outside, Step
from settlement.tables import HandoutRow, RedemptionRow

NATIONAL = "CN"
"""Where redeemed data may be used."""


@dataclass(frozen=True, slots=True)
class Redemption:
    """Coins that become data: 1 coin is 1 MB."""

    id: int
    external_id: str
    carrier: str
    line_id: int
    amount_mb: int
    expires_at: datetime

    @property
    def fingerprint(self) -> str:
        return f"{self.external_id} {self.line_id} {self.amount_mb} {self.expires_at.isoformat()}"

    @property
    def lines(self) -> tuple[int, ...]:
        return (self.line_id,)


@dataclass(frozen=True, slots=True)
class Handout:
    """Data of a partner's line for one of its users."""

    id: int
    external_id: str
    carrier: str
    line_id: int
    receiver_line_id: int
    bucket_id: str
    amount_mb: int

    @property
    def fingerprint(self) -> str:
        return f"{self.external_id} {self.bucket_id} {self.line_id} {self.receiver_line_id} {self.amount_mb}"

    @property
    def lines(self) -> tuple[int, ...]:
        return (self.line_id, self.receiver_line_id)


def reference_of(redemption_id: int) -> str:
    """The ledger's reference for one redemption, also of the hold it begins with."""
    return f"red_{redemption_id}"


async def load_redemption(session: AsyncSession, ids: Sequence[int], mark: str) -> Loaded[Redemption]:
    rows = await session.scalars(select(RedemptionRow).where(RedemptionRow.id.in_(ids)))
    return {
        row.id: Redemption(
            row.id, external_id(mark, "redeem", row.id), row.carrier, row.line_id, row.coins, row.expires_at
        )
        for row in rows
    }


async def send_redemption(outside: Outside, one: Redemption, numbers: Numbers) -> Outcome:
    number = numbers.get(one.line_id)
    if number is None:
        return Refused("The line no longer has a number.", ours=True)
    carrier = outside.carriers[one.carrier]
    return _outcome(await carrier.top_up(number, one.amount_mb, NATIONAL, one.expires_at, one.external_id))


async def ask_redemption(outside: Outside, one: Redemption, numbers: Numbers) -> Outcome:
    movement = await outside.carriers[one.carrier].find_movement(one.external_id)
    return _found(movement, MovementKind.TOP_UP, one.amount_mb, numbers.get(one.line_id))


async def book_redemption(session: AsyncSession, ended: Sequence[Ended[Redemption]]) -> set[int]:
    """The data is on the line: the coins are gone from the wallet, and no longer in circulation."""
    return await _end_redemptions(session, ended, "done")


async def undo_redemption(session: AsyncSession, ended: Sequence[Ended[Redemption]]) -> set[int]:
    return await _end_redemptions(session, ended, "refused")


async def _end_redemptions(session: AsyncSession, ended: Sequence[Ended[Redemption]], status: str) -> set[int]:
    ends = {end.subject_id: end for end in ended}
    query = select(RedemptionRow).where(RedemptionRow.id.in_(ends)).order_by(RedemptionRow.id)
    rows = list(await session.scalars(query.with_for_update(key_share=True)))
    assets = {row.id: await asset_of(session, row.account_id) for row in rows}
    issuers = {row.id: await accounts.house_account(session, "coin_issue", assets[row.id]) for row in rows}
    ledger = await accounts.lock(session, {*issuers.values(), *(row.account_id for row in rows)})
    for row in rows:
        if status == "done":
            taken = Posting(row.account_id, held=-row.coins), Posting(issuers[row.id], row.coins)
            ledger.transfer(Kind.COIN_REDEEMED, reference_of(row.id), *taken)
        else:
            ledger.hold(row.account_id, -row.coins, kind=Kind.COIN_RETURNED, reference=reference_of(row.id))
        _end(row, status, ends[row.id])
    await accounts.save(session, ledger)
    return {row.party_id for row in rows}


async def load_handout(session: AsyncSession, ids: Sequence[int], mark: str) -> Loaded[Handout]:
    rows = await session.scalars(select(HandoutRow).where(HandoutRow.id.in_(ids)))
    return {
        row.id: Handout(
            id=row.id,
            external_id=external_id(mark, "handout", row.id),
            carrier=row.carrier,
            line_id=row.line_id,
            receiver_line_id=row.receiver_line_id,
            bucket_id=row.bucket_id,
            amount_mb=row.amount_mb,
        )
        for row in rows
    }


async def send_handout(outside: Outside, one: Handout, numbers: Numbers) -> Outcome:
    sender, receiver = numbers.get(one.line_id), numbers.get(one.receiver_line_id)
    if sender is None or receiver is None:
        return Refused("One of the lines no longer has a number.", ours=True)
    carrier = outside.carriers[one.carrier]
    return _outcome(await carrier.transfer(one.bucket_id, sender, receiver, one.amount_mb, one.external_id))


async def ask_handout(outside: Outside, one: Handout, numbers: Numbers) -> Outcome:
    movement = await outside.carriers[one.carrier].find_movement(one.external_id)
    return _found(movement, MovementKind.TRANSFER, one.amount_mb, numbers.get(one.receiver_line_id))


async def book_handout(session: AsyncSession, ended: Sequence[Ended[Handout]]) -> set[int]:
    return await _end_handouts(session, ended, "done")


async def undo_handout(session: AsyncSession, ended: Sequence[Ended[Handout]]) -> set[int]:
    return await _end_handouts(session, ended, "refused")


async def _end_handouts(session: AsyncSession, ended: Sequence[Ended[Handout]], status: str) -> set[int]:
    ends = {end.subject_id: end for end in ended}
    query = select(HandoutRow).where(HandoutRow.id.in_(ends)).order_by(HandoutRow.id)
    rows = list(await session.scalars(query.with_for_update(key_share=True)))
    for row in rows:
        _end(row, status, ends[row.id])
    return {row.party_id for row in rows}


def _end(row: RedemptionRow | HandoutRow, status: str, end: Ended[Redemption] | Ended[Handout]) -> None:
    row.status, row.ended_at, row.reason = status, end.at, end.reason or None
    row.carrier_reference = end.done.reference


def _outcome(movement: Movement) -> Outcome:
    if movement.status is MovementStatus.DONE:
        return Done(movement.id, movement.at)
    if movement.status is MovementStatus.FAILED:
        return Refused("The carrier took the instruction and then failed to carry it out.")
    if movement.status is MovementStatus.REVERSED:
        return Refused("The carrier moved the data and took it back.")
    return Lost("the carrier has accepted it and is at work", soon=True)


def _found(movement: Movement | None, kind: MovementKind, amount_mb: int, receiver: str | None) -> Outcome:
    if movement is None:
        return Absent()
    if (movement.kind, movement.amount_mb) != (kind, amount_mb) or receiver not in {None, movement.receiver_msisdn}:
        return Contradicted(f"The carrier holds another movement under our id: {movement.id}.")
    return _outcome(movement)


REDEEM = Step(
    "redeem", load_redemption, send_redemption, ask_redemption, book_redemption, undo_redemption, gives_up=True
)
HANDOUT = Step("handout", load_handout, send_handout, ask_handout, book_handout, undo_handout, gives_up=True)
