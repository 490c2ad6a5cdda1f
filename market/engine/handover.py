"""A unit of instruments goes to another shard: what the old engine decides, and what it lets go of. No I/O."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from market.engine.commands import Answer, HandOver
from market.engine.refusing import NotTaken
from market.sharding import unit_of

if TYPE_CHECKING:
    from market.engine.desk import Desk
    from market.engine.intake import Entry


class Handed(NamedTuple):
    """A unit that goes to another shard."""

    unit: str
    shard: int


def batch_length(entries: Sequence["Entry"]) -> int:
    """How many of the entries may be one batch: a handover is one alone: its commit divides before from after."""
    for length, entry in enumerate(entries):
        if isinstance(entry.envelope.command, HandOver):
            return length or 1
    return len(entries)


def hand_over(desk: "Desk", command: HandOver) -> Answer:
    """Decide that a unit goes. Its books stay until that is committed."""
    if command.shard == desk.shard:
        raise NotTaken("already_there", f"Engine {desk.shard} serves these instruments already.")
    if not any(unit_of(instrument.carrier) == command.unit for instrument in desk.instruments.values()):
        raise NotTaken("unknown_unit", f"Engine {desk.shard} serves nothing of {command.unit}.")
    desk.changes.handed = Handed(command.unit, command.shard)
    return Answer(command.key, command.party_id, accepted=True)


def let_go(desk: "Desk", handed: Handed) -> None:
    """Forget the books of a unit that is another's now."""
    gone = {instrument.id for instrument in desk.instruments.values() if unit_of(instrument.carrier) == handed.unit}
    for record in [record for record in desk.records.values() if record.instrument_id in gone]:
        del desk.records[record.id]
        others = desk.orders_of[record.party_id]
        others.remove(record.id)
        if not others:
            del desk.orders_of[record.party_id]
    for instrument_id in gone:
        del desk.instruments[instrument_id]
