"""Card holds near the end of their time are captured or let go before it (F22)."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import update

from settlement import funding, hold_watch
from settlement.tables import InstructionRow, PaymentRow
from tests.settlement.making import a_hold, a_payment_row
from tests.settlement.test_card_holds import a_purchase, paid
from tests.settlement.world import World


async def _lapses_in(world: World, payment_id: int, left: timedelta) -> None:
    async with world.sessions.begin() as session:
        lapses = update(PaymentRow).where(PaymentRow.id == payment_id)
        await session.execute(lapses.values(capture_before=datetime.now(UTC) + left))


async def _forgotten(world: World, left: timedelta) -> int:
    """A hold that nobody has asked to finish."""
    async with world.sessions.begin() as session:
        row = await a_payment_row(session, "card_hold")
        await funding.book_authorisation(session, row.id, a_hold())
    await _lapses_in(world, row.id, left)
    return row.id


async def test_a_hold_that_nobody_finishes_is_finished_before_it_lapses(world: World) -> None:
    near = await _forgotten(world, hold_watch.MARGIN - timedelta(minutes=1))
    far = await _forgotten(world, hold_watch.MARGIN + timedelta(minutes=1))

    await hold_watch.watch(world.sessions)

    assert await world.instruction("finish_payment", near) is not None
    assert await world.instruction("finish_payment", far) is None


async def test_a_capture_that_waits_is_not_kept_waiting_when_its_hold_runs_out(world: World) -> None:
    purchase = await a_purchase(world, "0000")
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    async with world.sessions.begin() as session:
        finish = update(InstructionRow).where(
            InstructionRow.kind == "finish_payment", InstructionRow.subject_id == purchase.payment.id
        )
        await session.execute(finish.values(not_before=tomorrow))
    await _lapses_in(world, purchase.payment.id, timedelta(hours=1))

    async with world.working():
        await world.status("capture", purchase.payment.id, "done")

    assert (await paid(world, purchase.payment.id)).captured_minor == 300
