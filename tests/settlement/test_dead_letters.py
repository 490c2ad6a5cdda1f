"""What persons say of a dead instruction ends it through its own step, once."""

import pytest

from settlement import dead_letters
from settlement.tables import DeliveryRow
from settlement.worker import STEPS
from tests.settlement.making import Balance, balance, imbalance, instruct
from tests.settlement.world import World


async def _dead(world: World) -> tuple[DeliveryRow, int]:
    custody = await world.reserved(300)
    trade = await world.traded(custody, quantity=300, amount_minor=900, fee_minor=45)
    instruction = await world.instruction("deliver", trade.id)
    assert instruction is not None
    async with world.sessions.begin() as session:
        (await session.get_one(type(instruction), instruction.id)).status = "dead"
    return trade, instruction.id


@pytest.mark.parametrize(
    ("reference", "status", "buyer", "seller"), [("move-7", "settled", 0, 855), (None, "refunded", 900, 0)]
)
async def test_what_two_persons_say_is_booked_as_if_the_carrier_had_said_it(
    world: World, reference: str | None, status: str, buyer: int, seller: int
) -> None:
    trade, instruction_id = await _dead(world)

    async with world.sessions.begin() as session:
        await dead_letters.end(session, STEPS, world.mark, instruction_id, reference=reference, reason="looked up")
    async with world.sessions.begin() as session:
        with pytest.raises(dead_letters.NotDead):
            await dead_letters.end(session, STEPS, world.mark, instruction_id, reference="again", reason="")

    ended = await world.delivery(trade.id)
    assert (ended.status, ended.carrier_reference) == (status, reference)
    async with world.sessions() as session:
        assert await balance(session, trade.money_account_id) == Balance(buyer, 0)
        assert await balance(session, trade.proceeds_account_id) == Balance(seller, 0)
        assert await imbalance(session) == {}


async def test_what_cannot_be_undone_cannot_be_said_never_to_have_happened(world: World) -> None:
    custody = await world.reserved(300)
    async with world.sessions.begin() as session:
        await instruct(session, "release", custody.id, "CMCC")
    row = await world.instruction("release", custody.id)
    assert row is not None
    async with world.sessions.begin() as session:
        (await session.get_one(type(row), row.id)).status = "dead"

    async with world.sessions.begin() as session:
        with pytest.raises(dead_letters.CannotEnd):
            await dead_letters.end(session, STEPS, world.mark, row.id, reference=None, reason="no")
