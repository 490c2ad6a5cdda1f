"""A command that cannot be written is refused and stops nobody else, now or after a restart."""

import asyncio
import random
import string
from typing import Any

from market.engine.commands import stream_of
from tests.engine.factories import Floor
from tests.faults.crowd import ask_until_told
from tests.faults.engines import Nursery
from tests.faults.judging import broken_invariants
from tests.faults.waiting import until

BEYOND = 2**70
POISONS: dict[str, dict[str, Any]] = {
    "a key that no text column takes": {"key": "nul\0byte"},
    "a key that no index takes": {"key": "".join(random.Random(1).choices(string.printable, k=20_000))},
    "a party beyond the largest number": {"party_id": BEYOND},
    "an account beyond the largest number": {"account_id": BEYOND},
    "a group beyond the largest number": {"group_id": BEYOND},
}
UNREADABLE = (
    b"\x80\x04nonsense",
    b'{"command":{"type":"place"}}',
    b'{"command":' + b"[" * 100_000,
    b'{"unknown":' + b"[" * 100_000,
)


async def test_poisonous_commands_are_refused_and_the_others_of_their_batch_are_done(
    floor: Floor, nursery: Nursery
) -> None:
    member = await floor.member()
    pile = [floor.order(member, "sell", 100, 1)]
    for poison in POISONS.values():
        pile += [floor.order(member, "sell", 100, 1, **poison), floor.order(member, "sell", 100, 1)]
    asking = [asyncio.create_task(ask_until_told(floor.gateway, command)) for command in pile]
    await until(lambda: _all_queued(floor, len(pile)))

    engine = await nursery.start()
    answers = await asyncio.gather(*asking)
    poisonous, wholesome = answers[1::2], answers[::2]
    assert {answer.code for answer in poisonous} == {"internal_error"}
    assert all(answer.accepted for answer in wholesome)
    assert await floor.connection.fetchval("select count(*) from orders") == len(wholesome)

    await engine.kill()
    await nursery.start()
    assert [await ask_until_told(floor.gateway, command) for command in pile] == answers
    assert await broken_invariants(floor.dsn) == {}


async def _all_queued(floor: Floor, commands: int) -> bool:
    return int(await floor.redis.xlen(stream_of(0))) >= commands


async def test_what_cannot_be_read_is_passed_over(floor: Floor, nursery: Nursery) -> None:
    member = await floor.member()
    for raw in UNREADABLE:
        await floor.redis.xadd(stream_of(0), {"c": raw})
    await floor.redis.xadd(stream_of(0), {"another field": b"{}"})

    await nursery.start()
    answer = await ask_until_told(floor.gateway, floor.order(member, "sell", 100, 1))

    assert answer.accepted
