"""The end of a card hold: what was delivered is captured and settled, the rest goes back to the card."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from settlement import accounts, delivery
from settlement.accounts import HOUSE, Place
from settlement.delivery import Delivery, Ending
from settlement.funding import asset_of, instruct, reference_of, void_unspent
from settlement.instructions import Absent, Contradicted, Done, Outcome
from settlement.ledger import InsufficientFunds, Kind
from settlement.naming import external_id
from settlement.payments.errors import PaymentRefused
from settlement.payments.values import Payment, PaymentStatus
from settlement.steps import PROVIDER_LANE, Ended, Loaded, Numbers, Outside, Postponed, Step
from settlement.tables import DeliveryRow, PaymentRow

LAPSED = frozenset({"capture_charge_authorization_expired", "charge_expired_for_capture"})
"""The hold is over, even if the payment does not say so yet."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A card hold that comes to its end: how much of it is captured, none when it is let go."""

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


@dataclass(frozen=True, slots=True)
class Finish:
    """An order has ended; its card hold waits for the last delivery."""

    payment_id: int
    delivered_minor: int

    @property
    def fingerprint(self) -> str:
        return f"finish {self.payment_id}"

    @property
    def lines(self) -> tuple[int, ...]:
        return ()


async def load_finish(session: AsyncSession, ids: Sequence[int], mark: str) -> Loaded[Finish]:  # noqa: ARG001
    pending = func.count().filter(DeliveryRow.status == "pending")
    delivered = func.coalesce(func.sum(DeliveryRow.amount_minor).filter(DeliveryRow.status == "delivered"), 0)
    key = func.coalesce(DeliveryRow.payment_id, 0)
    query = select(key, pending, delivered).where(DeliveryRow.payment_id.in_(ids))
    rows = await session.execute(query.group_by(key))
    loaded: dict[int, Finish | Postponed | Done] = {payment_id: Finish(payment_id, 0) for payment_id in ids}
    for payment_id, waiting, amount_minor in rows:
        late = Postponed(f"{waiting} deliveries are on their way.")
        loaded[payment_id] = late if waiting else Finish(payment_id, int(amount_minor))
    return loaded


async def send_finish(outside: Outside, finish: Finish, numbers: Numbers) -> Outcome:  # noqa: ARG001
    return Done()


async def ask_finish(outside: Outside, finish: Finish, numbers: Numbers) -> Outcome:  # noqa: ARG001
    return Absent()


async def book_finish(session: AsyncSession, ended: Sequence[Ended[Finish]]) -> set[int]:
    for end in ended:
        kind = "capture" if end.request and end.request.delivered_minor else "void"
        await instruct(session, kind, end.subject_id, PROVIDER_LANE)
    return set()


async def load_capture(session: AsyncSession, ids: Sequence[int], mark: str) -> Loaded[Hold]:
    rows = await session.execute(
        select(PaymentRow, func.sum(DeliveryRow.amount_minor))
        .join(DeliveryRow, DeliveryRow.payment_id == PaymentRow.id)
        .where(PaymentRow.id.in_(ids), DeliveryRow.status.in_(("delivered", "settled")))
        .group_by(PaymentRow.id)
    )
    return {
        row.id: Hold(
            row.id, row.provider_id or "", external_id(mark, "capture", row.id), int(amount_minor), row.currency
        )
        for row, amount_minor in rows
    }


async def send_capture(outside: Outside, hold: Hold, numbers: Numbers) -> Outcome:  # noqa: ARG001
    """Capture what was delivered.

    The house pays for a delivery only when the hold is gone; a refusal while the
    money is still held, for whatever reason, is for a person.
    """
    try:
        payment = await outside.payments.capture(hold.provider_id, hold.amount_minor, _fresh_key(hold))
    except PaymentRefused as refused:
        standing = await outside.payments.payment(hold.provider_id)
        if standing.status is PaymentStatus.HELD and refused.code not in LAPSED:
            return Contradicted(f"The provider holds the money and refuses to capture it: {refused.code}.")
        raise
    return _captured(hold, payment)


async def ask_capture(outside: Outside, hold: Hold, numbers: Numbers) -> Outcome:  # noqa: ARG001
    payment = await outside.payments.payment(hold.provider_id)
    if payment.status is not PaymentStatus.SUCCEEDED:
        return Absent()
    return _captured(hold, payment)


def _captured(hold: Hold, payment: Payment) -> Outcome:
    asked, said = (hold.amount_minor, hold.currency), (payment.captured_minor, payment.currency)
    if said != asked:
        return Contradicted(f"The provider captured {said[0]} {said[1]}, we asked for {asked[0]} {asked[1]}.")
    return Done(payment.id)


async def book_capture(session: AsyncSession, ended: Sequence[Ended[Hold]]) -> set[int]:
    """The money has come: each delivered trade is settled, and the rest of the hold leaves the books."""
    rows, deliveries = await _open(session, [end.subject_id for end in ended])
    for end in ended:
        assert end.request is not None
        rows[end.subject_id].status, rows[end.subject_id].captured_minor = "succeeded", end.request.amount_minor
    return await _settle(session, ended, rows, deliveries)


async def undo_capture(session: AsyncSession, ended: Sequence[Ended[Hold]]) -> set[int]:
    """The money won't come although the data has moved: the house covers it, and the seller is paid."""
    rows, deliveries = await _open(session, [end.subject_id for end in ended])
    for end in ended:
        assert end.request is not None
        row = rows[end.subject_id]
        await _cover(session, row, end.request.amount_minor)
        row.status, row.reason = "voided", f"The house covered it: {end.reason}"
    return await _settle(session, ended, rows, deliveries)


async def _open(session: AsyncSession, payment_ids: Sequence[int]) -> tuple[dict[int, PaymentRow], list[Delivery]]:
    """The payments and what was delivered on them, with every account that their end touches locked in one go."""
    rows = {payment_id: await _payment(session, payment_id) for payment_id in sorted(payment_ids)}
    query = select(DeliveryRow.id).where(DeliveryRow.payment_id.in_(payment_ids), DeliveryRow.status == "delivered")
    ids = list(await session.scalars(query))
    deliveries = list((await delivery.load(session, ids, "")).values())
    await delivery.hurry(session, deliveries)
    places = [*delivery.house_places(deliveries)]
    for row in rows.values():
        money = await asset_of(session, row.account_id)
        places += [Place(HOUSE, money, "provider"), Place(HOUSE, money, "uncaptured")]
    house = await accounts.find_or_create(session, places)
    cards = {row.account_id for row in rows.values()}
    await accounts.lock(session, {*house.values(), *cards, *delivery.accounts_of(deliveries)})
    return rows, deliveries


async def _settle(
    session: AsyncSession, ended: Sequence[Ended[Hold]], rows: dict[int, PaymentRow], deliveries: Sequence[Delivery]
) -> set[int]:
    ledger = await delivery.settle(session, deliveries)
    for row in rows.values():
        await void_unspent(session, row)
    ends = {end.subject_id: end for end in ended}
    await delivery.write_endings(
        session,
        [
            Ending(
                one.id,
                "settled",
                reason=ends[one.payment_id].reason or None,
                payment_reference=rows[one.payment_id].provider_id,
                ended_at=ends[one.payment_id].at,
            )
            for one in deliveries
            if one.payment_id is not None
        ],
    )
    return delivery.parties(ledger)


async def _cover(session: AsyncSession, row: PaymentRow, amount_minor: int) -> None:
    money = await asset_of(session, row.account_id)
    source = await accounts.house_account(session, "uncaptured", money)
    target = await accounts.house_account(session, "provider", money)
    ledger = await accounts.lock(session, [source, target])
    ledger.move(Kind.UNCAPTURED, reference_of(row.id), source=source, target=target, amount=amount_minor)
    await accounts.save(session, ledger)


async def load_void(session: AsyncSession, ids: Sequence[int], mark: str) -> Loaded[Hold]:
    """Take the hold out of the books before the card is told, so that an order that comes late finds no money."""
    rows, _ = await _open(session, ids)
    return {row.id: await _void(session, row, external_id(mark, "void", row.id)) for row in rows.values()}


async def _void(session: AsyncSession, row: PaymentRow, name: str) -> Hold | Postponed | Done:
    if row.status in {"declined", "voided", "succeeded", "refunded"}:
        return Done(row.provider_id)
    if row.provider_id is None:
        return Postponed("The provider has not said whether it holds the money.")
    try:
        await void_unspent(session, row)
    except InsufficientFunds:
        return Postponed("An order or a delivery still holds some of it.")
    return Hold(row.id, row.provider_id, name, 0, row.currency)


async def send_void(outside: Outside, hold: Hold, numbers: Numbers) -> Outcome:  # noqa: ARG001
    payment = await outside.payments.cancel(hold.provider_id, _fresh_key(hold))
    return Done(payment.id)


async def ask_void(outside: Outside, hold: Hold, numbers: Numbers) -> Outcome:  # noqa: ARG001
    payment = await outside.payments.payment(hold.provider_id)
    return Done(payment.id) if payment.status is PaymentStatus.CANCELED else Absent()


def _fresh_key(hold: Hold) -> str:
    """A key of its own for each attempt: a hold can be captured or let go only once, whatever the key.

    Under an old key the provider would repeat an error of its own for a day.
    """
    return f"{hold.external_id}-{secrets.token_hex(4)}"


async def book_void(session: AsyncSession, ended: Sequence[Ended[Hold]]) -> set[int]:
    told = set()
    for end in ended:
        row = await _payment(session, end.subject_id)
        if row.status not in {"declined", "succeeded", "refunded"}:
            row.status = "voided"
        told.add(row.party_id)
    return told


async def _payment(session: AsyncSession, payment_id: int) -> PaymentRow:
    query = select(PaymentRow).where(PaymentRow.id == payment_id).with_for_update(key_share=True)
    return (await session.scalars(query.execution_options(populate_existing=True))).one()


FINISH = Step("finish_payment", load_finish, send_finish, ask_finish, book_finish)
CAPTURE = Step("capture", load_capture, send_capture, ask_capture, book_capture, undo_capture)
VOID = Step("void", load_void, send_void, ask_void, book_void)
