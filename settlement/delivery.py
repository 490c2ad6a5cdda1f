"""Delivery versus payment: the data moves at the carrier, then the money moves here. Both, or neither."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, BigInteger, bindparam, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from settlement import accounts, buy_ins
from settlement.accounts import HOUSE, Place
from settlement.carriers.values import Movement, MovementKind, MovementStatus
from settlement.instructions import Absent, Contradicted, Done, Lost, Outcome, Refused
from settlement.lane_tables import BundleMemberRow, BundleRow
from settlement.ledger import Kind, Ledger, Posting
from settlement.ledger_tables import AccountRow
from settlement.line_events import event_since_the_match
from settlement.naming import external_id
from settlement.steps import HOUSE_LANE, Ended, Loaded, Numbers, Outside, Postponed, Step
from settlement.tables import CustodyRow, DeliveryRow

WALLET = "wallet"
"""The payment reference of a trade that was paid out of a wallet."""
BUNDLED = "It moves by one call with other trades of the same two lines."
"""The reason of an instruction that waits for its bundle, for both parties to read."""
GIVEN_UP = "The buyer did not want to wait any longer."

_END = text("""
    update delivery set status = change.status, reason = change.reason,
        carrier_reference = coalesce(change.carrier_reference, delivery.carrier_reference),
        payment_reference = coalesce(change.payment_reference, delivery.payment_reference),
        delivered_at = coalesce(change.delivered_at, delivery.delivered_at), ended_at = change.ended_at
    from unnest(
        cast(:ids as bigint[]), cast(:statuses as text[]), cast(:reasons as text[]), cast(:carrier as text[]),
        cast(:payment as text[]), cast(:delivered as timestamptz[]), cast(:ended as timestamptz[])
    ) as change (id, status, reason, carrier_reference, payment_reference, delivered_at, ended_at)
    where delivery.id = change.id
""")
_HURRY = text("""
    update instruction set not_before = least(not_before, now()) where id in (
        select id from instruction
        where status = 'ready' and (
            kind = 'release' and subject_id = any(cast(:custodies as bigint[]))
            or kind = 'finish_payment' and subject_id = any(cast(:payments as bigint[]))
        )
        order by id for no key update skip locked
    )
""")
_BUNDLE = (
    select(BundleRow.status)
    .join(BundleMemberRow, BundleMemberRow.bundle_id == BundleRow.id)
    .where(BundleMemberRow.delivery_id == DeliveryRow.id)
    .scalar_subquery()
)
_CUSTODY_ACCOUNT, _MONEY_ACCOUNT = AccountRow.__table__.alias(), AccountRow.__table__.alias()
_LOAD = (
    select(
        DeliveryRow,
        CustodyRow.reservation_id,
        _CUSTODY_ACCOUNT.c.asset_id,
        _MONEY_ACCOUNT.c.asset_id,
        event_since_the_match(),
        _BUNDLE,
    )
    .join(_CUSTODY_ACCOUNT, _CUSTODY_ACCOUNT.c.id == DeliveryRow.custody_account_id)
    .join(_MONEY_ACCOUNT, _MONEY_ACCOUNT.c.id == DeliveryRow.money_account_id)
    .outerjoin(CustodyRow, CustodyRow.id == DeliveryRow.custody_id)
    .where(DeliveryRow.id == func.any(bindparam("ids", type_=ARRAY(BigInteger))))
)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One trade to be delivered: how much of whose data to which line, and who is paid what for it."""

    id: int
    external_id: str
    carrier: str | None
    custody_id: int | None
    reservation_id: str | None
    custody_account_id: int
    asset_id: int
    quantity: int
    receiver_line_id: int | None
    coin_account_id: int | None
    money_account_id: int
    money_asset_id: int
    payment_id: int | None
    amount_minor: int
    fee_minor: int
    """All that the seller gives of the amount, ``charge_minor`` to the carrier and the rest to the house."""
    charge_minor: int
    proceeds_account_id: int
    line_event: str | None = None
    """How an event of one of the two lines stands: since the match, whose they are is not sure any more."""
    bundle: str | None = None
    """How the bundle stands that it is or was in."""
    is_given_up: bool = False

    @property
    def fingerprint(self) -> str:
        return f"{self.external_id} {self.reservation_id} {self.receiver_line_id} {self.quantity}"

    @property
    def lines(self) -> tuple[int, ...]:
        return () if self.receiver_line_id is None else (self.receiver_line_id,)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a delivery stands from now on."""

    id: int
    status: str
    reason: str | None = None
    carrier_reference: str | None = None
    payment_reference: str | None = None
    delivered_at: datetime | None = None
    ended_at: datetime | None = None


def reference_of(trade_id: int) -> str:
    """The ledger's reference for the settlement of one trade."""
    return f"trd_{trade_id}"


async def load(session: AsyncSession, ids: Sequence[int], mark: str) -> dict[int, Delivery]:
    rows = await session.execute(_LOAD, {"ids": list(ids)})
    return {found.DeliveryRow.id: _delivery(found, mark) for found in rows}


async def load_to_deliver(session: AsyncSession, ids: Sequence[int], mark: str) -> Loaded[Delivery]:
    """The same, but for what waits until the carrier was asked about one of the lines, or is moved by a bundle."""
    return {id_: _wait(delivery) or delivery for id_, delivery in (await load(session, ids, mark)).items()}


def _wait(delivery: Delivery) -> Postponed | None:
    if delivery.bundle == "open":
        return Postponed(BUNDLED)
    if delivery.line_event == "received":
        return Postponed("The carrier is still to be asked what happened to one of the lines.")
    return None


def _delivery(found: Any, mark: str) -> Delivery:
    row, reservation_id, asset_id, money_asset_id, event, bundle = found
    return Delivery(
        id=row.id,
        external_id=external_id(mark, "deliver", row.id),
        carrier=row.carrier,
        custody_id=row.custody_id,
        reservation_id=reservation_id,
        custody_account_id=row.custody_account_id,
        asset_id=asset_id,
        quantity=row.quantity,
        receiver_line_id=row.receiver_line_id,
        coin_account_id=row.coin_account_id,
        money_account_id=row.money_account_id,
        money_asset_id=money_asset_id,
        payment_id=row.payment_id,
        amount_minor=row.amount_minor,
        fee_minor=row.fee_minor,
        charge_minor=row.charge_minor,
        proceeds_account_id=row.proceeds_account_id,
        line_event=event,
        bundle=bundle,
        is_given_up=row.given_up_at is not None,
    )


async def send(outside: Outside, delivery: Delivery, numbers: Numbers) -> Outcome:
    if delivery.is_given_up:
        return Refused(GIVEN_UP, ours=True)
    if delivery.carrier is None:
        return Done()  # coins move in our own books alone
    if delivery.reservation_id is None:
        return Refused(buy_ins.NEVER_RESERVED, ours=True)
    if delivery.line_event is not None:
        return Refused("Something happened to the seller's or the receiver's line after the trade.", ours=True)
    number = numbers.get(delivery.receiver_line_id or 0)
    if number is None:
        return Refused("The receiver's line no longer has a number.", ours=True)
    carrier = outside.carriers[delivery.carrier]
    movement = await carrier.settle(delivery.reservation_id, number, delivery.quantity, delivery.external_id)
    return _outcome(movement)


async def ask(outside: Outside, delivery: Delivery, numbers: Numbers) -> Outcome:
    if delivery.carrier is None:
        return Absent()
    movement = await outside.carriers[delivery.carrier].find_movement(delivery.external_id)
    if movement is None:
        return Absent()
    asked = (MovementKind.SETTLE, delivery.quantity, delivery.reservation_id)
    said = (movement.kind, movement.amount_mb, movement.reservation_id)
    if asked != said or movement.receiver_msisdn != numbers.get(
        delivery.receiver_line_id or 0, movement.receiver_msisdn
    ):
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


async def book(session: AsyncSession, ended: Sequence[Ended[Delivery]]) -> set[int]:
    """The data has moved. A wallet's trade is settled; a card's waits, delivered, for the capture of its hold."""
    done = [(end, end.request) for end in ended if end.request is not None]
    paid = [(end, delivery) for end, delivery in done if delivery.payment_id is None]
    await hurry(session, [delivery for _, delivery in done])

    ledger = await settle(session, [delivery for _, delivery in paid])

    endings = [
        Ending(
            delivery.id,
            status="settled" if delivery.payment_id is None else "delivered",
            carrier_reference=end.done.reference,
            payment_reference=WALLET if delivery.payment_id is None else None,
            delivered_at=end.done.at or end.at,
            ended_at=end.at if delivery.payment_id is None else None,
        )
        for end, delivery in done
    ]
    await write_endings(session, endings)
    return parties(ledger)


async def settle(session: AsyncSession, deliveries: Sequence[Delivery]) -> Ledger:
    """Let go of both holds at once: the seller's data leaves the books, the buyer's money reaches the seller."""
    house = await accounts.find_or_create(session, house_places(deliveries))
    ledger = await accounts.lock(session, {*house.values(), *accounts_of(deliveries)})
    for delivery in deliveries:
        target = delivery.coin_account_id or house[_world(delivery)]
        postings = [
            Posting(delivery.custody_account_id, held=-delivery.quantity),
            Posting(target, delivery.quantity),
            Posting(delivery.money_account_id, held=-delivery.amount_minor),
            Posting(delivery.proceeds_account_id, delivery.amount_minor - delivery.fee_minor),
            Posting(house[_fees(delivery)], delivery.fee_minor - delivery.charge_minor),
            *([Posting(house[_charges(delivery)], delivery.charge_minor)] if delivery.charge_minor else []),
        ]
        moved = [posting for posting in postings if posting.available or posting.held]
        ledger.transfer(Kind.SETTLED, reference_of(delivery.id), *moved)
    await accounts.save(session, ledger)
    return ledger


async def undo(session: AsyncSession, ended: Sequence[Ended[Delivery]]) -> set[int]:
    """The data will not move: the buyer's money and the seller's data are free again. It may be bought in."""
    refused = [(end, end.request) for end in ended if end.request is not None]
    await hurry(session, [delivery for _, delivery in refused])

    ledger = await accounts.lock(session, accounts_of([delivery for _, delivery in refused]))
    for _, delivery in refused:
        ledger.transfer(
            Kind.REFUNDED,
            reference_of(delivery.id),
            Posting(delivery.money_account_id, delivery.amount_minor, -delivery.amount_minor),
            Posting(delivery.custody_account_id, delivery.quantity, -delivery.quantity),
        )
    await accounts.save(session, ledger)

    await write_endings(
        session, [Ending(delivery.id, "refunded", reason=end.reason, ended_at=end.at) for end, delivery in refused]
    )
    await buy_ins.want(session, {delivery.id: end.reason for end, delivery in refused})
    return parties(ledger)


async def hurry(session: AsyncSession, deliveries: Sequence[Delivery]) -> None:
    """What waits for these deliveries is due now. Comes before accounts are locked; what is being worked on is left."""
    await session.execute(
        _HURRY,
        {
            "custodies": [delivery.custody_id for delivery in deliveries if delivery.custody_id is not None],
            "payments": [delivery.payment_id for delivery in deliveries if delivery.payment_id is not None],
        },
    )


async def write_endings(session: AsyncSession, endings: Sequence[Ending]) -> None:
    await session.execute(
        _END,
        {
            "ids": [ending.id for ending in endings],
            "statuses": [ending.status for ending in endings],
            "reasons": [ending.reason for ending in endings],
            "carrier": [ending.carrier_reference for ending in endings],
            "payment": [ending.payment_reference for ending in endings],
            "delivered": [ending.delivered_at for ending in endings],
            "ended": [ending.ended_at for ending in endings],
        },
    )


def parties(ledger: Ledger) -> set[int]:
    """Everybody whose accounts were touched, but for the house itself."""
    return {account.party_id for account in ledger.accounts.values()} - {HOUSE}


def house_places(deliveries: Sequence[Delivery]) -> list[Place]:
    """The house's own accounts that a settlement of these touches."""
    worlds = [_world(delivery) for delivery in deliveries if delivery.coin_account_id is None]
    charged = [_charges(delivery) for delivery in deliveries if delivery.charge_minor]
    return [*map(_fees, deliveries), *worlds, *charged]


def accounts_of(deliveries: Iterable[Delivery]) -> set[int]:
    """The sellers' and buyers' accounts."""
    ids = {
        account
        for delivery in deliveries
        for account in (
            delivery.custody_account_id,
            delivery.money_account_id,
            delivery.proceeds_account_id,
            delivery.coin_account_id,
        )
    }
    return {account for account in ids if account is not None}


def _fees(delivery: Delivery) -> Place:
    """Fees are kept by carrier, so that the carriers' settlements do not queue for one row."""
    return Place(HOUSE, delivery.money_asset_id, "fees", delivery.carrier or HOUSE_LANE)


def _charges(delivery: Delivery) -> Place:
    """What the house owes the carrier for deliveries, taken from the sellers."""
    return Place(HOUSE, delivery.money_asset_id, "carrier_charges", delivery.carrier or HOUSE_LANE)


def _world(delivery: Delivery) -> Place:
    return Place(HOUSE, delivery.asset_id, "carrier")


DELIVER = Step("deliver", load_to_deliver, send, ask, book, undo, gives_up=True)
