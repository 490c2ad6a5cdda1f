"""Paying on the phone bill: reserved, confirmed or let go, and taken off the bill again, whatever the carrier does."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from itertools import count

import pytest
from sqlalchemy import select, text

from settlement import accounts, phone_bill
from settlement.carriers.billing import Billing, BillStatus
from settlement.instructions import seconds
from settlement.ledger import InsufficientFunds
from settlement.ledger_tables import AccountRow
from settlement.naming import external_id
from settlement.phone_bill import CANCEL, CONFIRM, NotDecidable, NotRefundable
from settlement.phone_bill_tables import BillPaymentRow
from settlement.steps import Outside
from settlement.worker import STEPS
from tests.carrier.simulator import CarrierProcess
from tests.settlement.making import a_wallet, money
from tests.settlement.world import World, until

STEPS_QUICK = {kind: replace(step, delays=seconds(0.1, 0.1)) for kind, step in STEPS.items()}
KEYS = count(1)


@dataclass
class Billed(World):
    """The world, with a carrier that takes payments on the phone bill."""

    billing: Billing | None = None

    @property
    def outside(self) -> Outside:
        assert self.billing is not None
        return replace(super().outside, billing={"CMCC": self.billing})

    async def asked(self, amount_minor: int = 2000, suffix: str = "0000", payment: str = "postpaid") -> BillPaymentRow:
        """A top-up that was just asked for, on the bill of a fresh line."""
        line_id = next(KEYS) + 10_000
        self.numbers[line_id] = self.sim.a_line(suffix, remaining_mb=None, payment=payment)
        async with self.sessions.begin() as session:
            wallet = await a_wallet(session)
            party = await session.scalar(select(AccountRow.party_id).where(AccountRow.id == wallet))
            row = BillPaymentRow(
                party_id=party, key=f"key-{line_id}", line_id=line_id, carrier="CMCC", account_id=wallet,
                amount_minor=amount_minor, currency="CNY",
            )  # fmt: skip
            await phone_bill.request(session, row)
        return row

    async def row(self, payment_id: int) -> BillPaymentRow:
        async with self.sessions() as session:
            return await session.get_one(BillPaymentRow, payment_id)

    async def stands(self, payment_id: int, status: str) -> BillPaymentRow:
        async def there() -> bool:
            return (await self.row(payment_id)).status == status

        await until(there)
        return await self.row(payment_id)

    async def decided(self, payment_id: int, decision: str) -> None:
        async with self.sessions.begin() as session:
            await phone_bill.decide(session, payment_id, decision)

    async def charged(self, amount_minor: int = 2000) -> BillPaymentRow:
        """A top-up that has been paid on the bill. Workers have to be at work."""
        row = await self.asked(amount_minor)
        await self.stands(row.id, "reserved")
        await self.decided(row.id, CONFIRM)
        return await self.stands(row.id, "charged")

    async def wallet(self, row: BillPaymentRow) -> tuple[int, int]:
        async with self.sessions() as session:
            found = await session.get_one(AccountRow, row.account_id)
        return found.available, found.held

    async def on_bill(self, row: BillPaymentRow) -> list[BillStatus]:
        """What the carrier has under our id, asked the way a reconciliation would."""
        assert self.billing is not None
        found = await self.billing.find(external_id(self.mark, "bill_prepare", row.id), row.created_at)
        return [] if found is None else [found.status]


@pytest.fixture
async def billed(world: World, carrier_simulator: CarrierProcess) -> AsyncIterator[Billed]:
    profile = carrier_simulator.profile(timeout_seconds=0.6, max_in_flight_seconds=1.2, phone_bill=True)
    async with Billing(profile) as billing:
        yield Billed(world.sessions, world.sim, world.carrier, world.payments, mark=world.mark, billing=billing)


async def test_nothing_is_charged_before_its_owner_confirms(billed: Billed) -> None:
    async with billed.working(steps=STEPS_QUICK):
        row = await billed.asked(2000)

        reserved = await billed.stands(row.id, "reserved")

    assert await billed.on_bill(reserved) == [BillStatus.RESERVED]
    assert await billed.wallet(reserved) == (0, 0)


async def test_a_confirmed_payment_is_charged_once_and_fills_the_wallet(billed: Billed) -> None:
    async with billed.working(steps=STEPS_QUICK):
        row = await billed.charged(2000)
        await billed.decided(row.id, CONFIRM)

    assert await billed.on_bill(row) == [BillStatus.SUCCEEDED]
    assert await billed.wallet(row) == (2000, 0)
    async with billed.sessions() as session:
        bills = await accounts.house_account(session, "phone_bill", await money(session), "CMCC")
        total = text("select sum(available_change) from posting where account_id = :bills and reference = :reference")
        posted = await session.scalar(total, {"bills": bills, "reference": phone_bill.reference_of(row.id)})
    assert posted == -2000


async def test_a_cancelled_payment_leaves_the_bill_and_the_wallet_alone(billed: Billed) -> None:
    async with billed.working(steps=STEPS_QUICK):
        row = await billed.asked()
        await billed.stands(row.id, "reserved")
        await billed.decided(row.id, CANCEL)
        await billed.stands(row.id, "cancelled")

    assert await billed.on_bill(row) == [BillStatus.CANCELLED]
    assert await billed.wallet(row) == (0, 0)
    with pytest.raises(NotDecidable):
        await billed.decided(row.id, CONFIRM)


async def test_what_nobody_confirms_in_time_is_let_go(billed: Billed) -> None:
    async with billed.working(steps=STEPS_QUICK):
        row = await billed.asked()
        await billed.stands(row.id, "reserved")
        async with billed.sessions.begin() as session:
            sooner = "update instruction set not_before = now() where kind = 'bill_cancel' and subject_id = :id"
            await session.execute(text(sooner), {"id": row.id})
        await billed.stands(row.id, "cancelled")

    assert await billed.on_bill(row) == [BillStatus.CANCELLED]


async def test_a_confirmed_payment_is_not_let_go_when_the_time_is_up(billed: Billed) -> None:
    async with billed.working(steps=STEPS_QUICK):
        row = await billed.charged()
        async with billed.sessions.begin() as session:
            sooner = "update instruction set not_before = now() where kind = 'bill_cancel' and subject_id = :id"
            await session.execute(text(sooner), {"id": row.id})
        await billed.status("bill_cancel", row.id, "done")

    assert (await billed.row(row.id)).status == "charged"
    assert await billed.on_bill(row) == [BillStatus.SUCCEEDED]


@pytest.mark.parametrize("suffix", ["9002", "9003", "9004", "9006"])
async def test_whatever_the_answer_the_bill_is_charged_once(billed: Billed, suffix: str) -> None:
    async with billed.working(steps=STEPS_QUICK):
        row = await billed.asked(1500, suffix)
        await until(lambda: _is(billed, row.id, "reserved"), 30)
        await billed.decided(row.id, CONFIRM)
        await until(lambda: _is(billed, row.id, "charged"), 30)

    assert await billed.wallet(row) == (1500, 0)
    assert await billed.on_bill(row) == [BillStatus.SUCCEEDED]


async def _is(billed: Billed, payment_id: int, status: str) -> bool:
    return (await billed.row(payment_id)).status == status


async def test_a_line_above_its_months_limit_is_refused_with_the_reason(billed: Billed) -> None:
    async with billed.working(steps=STEPS_QUICK):
        row = await billed.asked(100_001)
        refused = await billed.stands(row.id, "refused")

    assert "USER_AMOUNT_THRESHOLD_OVERPASSED" in (refused.reason or "")
    assert await billed.on_bill(row) == []


async def test_a_prepaid_line_has_no_bill(billed: Billed) -> None:
    async with billed.working(steps=STEPS_QUICK):
        row = await billed.asked(payment="prepaid")
        refused = await billed.stands(row.id, "refused")

    assert "SERVICE_NOT_APPLICABLE" in (refused.reason or "")


async def test_a_refund_comes_out_of_the_wallet_and_off_the_bill(billed: Billed) -> None:
    async with billed.working(steps=STEPS_QUICK):
        row = await billed.charged(2000)
        async with billed.sessions.begin() as session:
            await phone_bill.request_refund(session, row.id)
        await billed.stands(row.id, "refunded")

    assert await billed.wallet(row) == (0, 0)
    with pytest.raises(NotRefundable):
        async with billed.sessions.begin() as session:
            await phone_bill.request_refund(session, row.id)


async def test_money_that_is_spent_is_not_refunded(billed: Billed) -> None:
    async with billed.working(steps=STEPS_QUICK):
        row = await billed.charged(2000)
        async with billed.sessions.begin() as session:
            ledger = await accounts.lock(session, [row.account_id])
            ledger.hold(row.account_id, 1)
            await accounts.save(session, ledger)

        with pytest.raises(InsufficientFunds):
            async with billed.sessions.begin() as session:
                await phone_bill.request_refund(session, row.id)

    assert (await billed.row(row.id)).status == "charged"
