"""Reserved data that is given away: the carrier moves it out of the reservation, or it is its giver's again.

The same saga as a trade's, without money: held, moved at the carrier under our id, booked. Whoever gives
keeps what a refusal leaves; what came out of the tank stays in the tank.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from settlement import accounts, custody
from settlement.accounts import HOUSE, Place
from settlement.carriers.values import Movement, MovementKind, MovementStatus
from settlement.data_gift_tables import DataGiftRow
from settlement.instructions import Absent, Contradicted, Done, Lost, Outcome, Refused
from settlement.ledger import Kind, Ledger, Posting
from settlement.ledger_tables import AccountRow
from settlement.naming import external_id
from settlement.notices import tell
from settlement.steps import Ended, Loaded, Numbers, Outside, Step
from settlement.tables import CustodyRow, InstructionRow

Purpose = Literal["friend", "charity", "tank"]
ABOUT = "/tank"
"""The page that shows a party what it gave and got."""

_HURRY = text("""
    update instruction set not_before = least(not_before, now()) where id in (
        select id from instruction
        where status = 'ready' and kind = 'release' and subject_id = any(cast(:custodies as bigint[]))
        order by id for no key update skip locked
    )
""")
_END = text("""
    update data_gift set status = change.status, reason = change.reason, carrier_reference = change.reference,
        ended_at = change.at
    from unnest(
        cast(:ids as bigint[]), cast(:statuses as text[]), cast(:reasons as text[]), cast(:references as text[]),
        cast(:moments as timestamptz[])
    ) as change (id, status, reason, reference, at)
    where data_gift.id = change.id
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewGift:
    """What is to be given: so much of one custody, held on ``account_id``, to one line."""

    purpose: Purpose
    custody_id: int
    account_id: int
    giver_id: int
    receiver_id: int
    receiver_line_id: int
    carrier: str
    amount_mb: int
    withdrawal_id: int | None = None


@dataclass(frozen=True, slots=True)
class DataGift:
    """One gift as it is sent to the carrier and booked."""

    id: int
    external_id: str
    purpose: str
    carrier: str
    custody_id: int
    reservation_id: str | None
    account_id: int
    asset_id: int
    giver_id: int
    receiver_id: int
    receiver_line_id: int
    amount_mb: int

    @property
    def fingerprint(self) -> str:
        return f"{self.external_id} {self.reservation_id} {self.receiver_line_id} {self.amount_mb}"

    @property
    def lines(self) -> tuple[int, ...]:
        return (self.receiver_line_id,)


def reference_of(gift_id: int) -> str:
    """The ledger's reference for all that one gift moves."""
    return f"giv_{gift_id}"


async def begin(session: AsyncSession, ledger: Ledger, gifts: Sequence[NewGift]) -> list[int]:
    """Set the data aside and instruct the carrier; gives the gifts' ids. The caller has locked, saves and commits.

    Raises:
        InsufficientFunds: an account has less than is given of it.
    """
    if not gifts:
        return []
    made = insert(DataGiftRow).returning(DataGiftRow.id, sort_by_parameter_order=True)
    ids = list(await session.scalars(made, [asdict(gift) for gift in gifts]))
    for gift_id, gift in zip(ids, gifts, strict=True):
        ledger.hold(gift.account_id, gift.amount_mb, kind=Kind.DATA_GIFT_HELD, reference=reference_of(gift_id))
    wanted = [
        {"kind": "give", "subject_id": gift_id, "lane": gift.carrier} for gift_id, gift in zip(ids, gifts, strict=True)
    ]
    await session.execute(insert(InstructionRow), wanted)
    return ids


async def load(session: AsyncSession, ids: Sequence[int], mark: str) -> Loaded[DataGift]:
    rows = await session.execute(
        select(DataGiftRow, CustodyRow.reservation_id, AccountRow.asset_id)
        .join(CustodyRow, CustodyRow.id == DataGiftRow.custody_id)
        .join(AccountRow, AccountRow.id == DataGiftRow.account_id)
        .where(DataGiftRow.id.in_(ids))
    )
    return {
        row.id: DataGift(
            row.id, external_id(mark, "give", row.id), row.purpose, row.carrier, row.custody_id, reservation_id,
            row.account_id, asset_id, row.giver_id, row.receiver_id, row.receiver_line_id, row.amount_mb,
        )
        for row, reservation_id, asset_id in rows
    }  # fmt: skip


async def send(outside: Outside, gift: DataGift, numbers: Numbers) -> Outcome:
    number = numbers.get(gift.receiver_line_id)
    if number is None:
        return Refused("The receiver's line no longer has a number.", ours=True)
    if gift.reservation_id is None:
        return Refused("The carrier never reserved this data.", ours=True)
    carrier = outside.carriers[gift.carrier]
    return _outcome(await carrier.settle(gift.reservation_id, number, gift.amount_mb, gift.external_id))


async def ask(outside: Outside, gift: DataGift, numbers: Numbers) -> Outcome:
    movement = await outside.carriers[gift.carrier].find_movement(gift.external_id)
    if movement is None:
        return Absent()
    asked = (MovementKind.SETTLE, gift.amount_mb, gift.reservation_id)
    said = (movement.kind, movement.amount_mb, movement.reservation_id)
    if asked != said or movement.receiver_msisdn != numbers.get(gift.receiver_line_id, movement.receiver_msisdn):
        return Contradicted(f"The carrier holds another movement under our id: {movement.id}.")
    return _outcome(movement)


def _outcome(movement: Movement) -> Outcome:
    if movement.status is MovementStatus.DONE:
        return Done(movement.id, movement.at)
    if movement.status is MovementStatus.FAILED:
        return Refused("The carrier took the instruction and then failed to carry it out.")
    if movement.status is MovementStatus.REVERSED:
        return Refused("The carrier moved the data and took it back.")
    return Lost("the carrier has accepted it and is at work", soon=True)


async def book(session: AsyncSession, ended: Sequence[Ended[DataGift]]) -> set[int]:
    """The data has moved: it leaves the books, and both hear of it."""
    given = [end.request for end in ended if end.request is not None]
    await _hurry(session, given)
    worlds = await accounts.find_or_create(session, {_world(gift) for gift in given})
    ledger = await accounts.lock(session, {*worlds.values(), *(gift.account_id for gift in given)})
    for gift in given:
        moved = Posting(gift.account_id, held=-gift.amount_mb), Posting(worlds[_world(gift)], gift.amount_mb)
        ledger.transfer(Kind.DATA_GIVEN, reference_of(gift.id), *moved)
    await accounts.save(session, ledger)
    await _end(session, ended, "done")
    for gift in given:
        once = reference_of(gift.id)
        if gift.purpose != "tank":
            kind = f"given_to_{gift.purpose}"
            await tell(session, gift.giver_id, kind, ABOUT, once=once, quantity_mb=gift.amount_mb)
        kind = f"received_from_{gift.purpose}"
        if gift.purpose != "charity":
            await tell(session, gift.receiver_id, kind, ABOUT, once=f"{once}_in", quantity_mb=gift.amount_mb)
    return _parties(given)


async def undo(session: AsyncSession, ended: Sequence[Ended[DataGift]]) -> set[int]:
    """The data will not move. A giver gets it back by the ordinary release; what is the tank's stays there."""
    refused = [end.request for end in ended if end.request is not None]
    await _hurry(session, refused)
    ledger = await accounts.lock(session, {gift.account_id for gift in refused})
    for gift in refused:
        reference = reference_of(gift.id)
        ledger.hold(gift.account_id, -gift.amount_mb, kind=Kind.DATA_GIFT_RETURNED, reference=reference)
    await accounts.save(session, ledger)
    await _end(session, ended, "refused")
    for gift in refused:
        asked_by, kind = (gift.receiver_id, "tank_refused") if gift.purpose == "tank" else (gift.giver_id, "not_given")
        once = reference_of(gift.id)
        await tell(session, asked_by, kind, ABOUT, once=once, quantity_mb=gift.amount_mb)
        if gift.purpose != "tank":
            values = {"kind": "release", "subject_id": gift.custody_id, "lane": gift.carrier}
            await session.execute(insert(InstructionRow).values(values).on_conflict_do_nothing())
    return _parties(refused)


async def _hurry(session: AsyncSession, gifts: Iterable[DataGift]) -> None:
    """The releases that waited for these are due now; what is being worked on is left."""
    await session.execute(_HURRY, {"custodies": [gift.custody_id for gift in gifts]})


async def _end(session: AsyncSession, ended: Sequence[Ended[DataGift]], status: str) -> None:
    await session.execute(
        _END,
        {
            "ids": [end.subject_id for end in ended],
            "statuses": [status] * len(ended),
            "reasons": [end.reason or None for end in ended],
            "references": [end.done.reference for end in ended],
            "moments": [end.at for end in ended],
        },
    )


def _world(gift: DataGift) -> Place:
    return Place(HOUSE, gift.asset_id, "carrier")


def _parties(gifts: Iterable[DataGift]) -> set[int]:
    return {party for gift in gifts for party in (gift.giver_id, gift.receiver_id)}


GIVE = Step("give", load, send, ask, book, undo, gives_up=True)
TANK_RELEASE = Step("tank_release", custody.load, custody.send, custody.ask, custody.book)
"""Gives the custody of the tank's deposit back: not by the instruction of its order, which may long be done."""
