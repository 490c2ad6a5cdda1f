"""Netting: trades of one reservation to one line that are due together move by one call, in the sum of their amounts.

A bundle and its members are committed before the first byte leaves, and never change afterwards. What an answer
leaves open is asked for under the bundle's own name; a bundle that is refused or never arrives falls apart, and its
members are delivered singly.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from settlement import delivery
from settlement.carriers.values import Action
from settlement.delivery import Delivery
from settlement.instructions import Event, Outcome, State, move
from settlement.lane_tables import BundleMemberRow, BundleRow
from settlement.naming import external_id, subject_of
from settlement.steps import Ended, Loaded, Numbers, Outside, Step
from settlement.tables import InstructionRow

SENDS = 3
"""Attempts before a bundle falls apart: its members have attempts of their own."""

_DUE = text("""
    select subject_id from instruction
    where lane = :lane and kind = 'deliver' and status = 'ready' and attempt = 0 and not_before <= now()
    order by not_before, id limit :limit for no key update skip locked
""")
_WAIT = text("""
    update instruction set not_before = now() + interval '1 minute', reason = :reason
    where kind = 'deliver' and subject_id = any(cast(:deliveries as bigint[]))
""")
_END_MEMBERS = text("""
    with member as (
        select instruction.id, of_bundle.reference from instruction
        join unnest(cast(:deliveries as bigint[]), cast(:references as text[])) as of_bundle (delivery_id, reference)
            on instruction.kind = 'deliver' and instruction.subject_id = of_bundle.delivery_id
        where instruction.status = :ready order by instruction.id for no key update of instruction
    )
    update instruction set status = :done, ended_at = now(), external_reference = member.reference, reason = null
    from member where instruction.id = member.id returning instruction.subject_id
""")
_FREE_MEMBERS = text("""
    update instruction set not_before = now(), reason = null where id in (
        select id from instruction
        where kind = 'deliver' and subject_id = any(cast(:deliveries as bigint[])) and status = 'ready'
        order by id for no key update
    )
""")
_END = text("""
    update bundle set status = :status, carrier_reference = ended.reference, ended_at = now()
    from unnest(cast(:ids as bigint[]), cast(:references as text[])) as ended (id, reference)
    where bundle.id = ended.id and bundle.status = 'open'
""")


class BrokenBundle(Exception):
    """A member of a bundle was ended by somebody else."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """Several deliveries as one: ``whole`` is what the carrier is asked for, in the sum of the members' MB."""

    id: int
    whole: Delivery
    members: tuple[Delivery, ...]

    @property
    def fingerprint(self) -> str:
        return self.whole.fingerprint

    @property
    def lines(self) -> tuple[int, ...]:
        return self.whole.lines


def netted(deliveries: Iterable[Delivery], size: int) -> list[tuple[Delivery, ...]]:
    """Which of these go together: two to ``size`` of one reservation to one line, the older ones first.

    What was in a bundle before, or is in doubt because of an event of a line, goes singly.
    """
    pairs: dict[tuple[int | None, int | None], list[Delivery]] = {}
    for one in sorted(deliveries, key=lambda one: one.id):
        reaches_a_line = one.reservation_id is not None and one.receiver_line_id is not None
        if reaches_a_line and one.line_event is None and one.bundle is None:
            pairs.setdefault((one.custody_id, one.receiver_line_id), []).append(one)
    bundles = (tuple(pair[start : start + size]) for pair in pairs.values() for start in range(0, len(pair), size))
    return [members for members in bundles if len(members) > 1]


def split(total: int, weights: Sequence[int]) -> list[int]:
    """Share a total out in proportion to weights; the shares are whole and come to the total."""
    whole, sums = sum(weights), [0]
    for weight in weights:
        sums.append(sums[-1] + weight)
    return [total * end // whole - total * start // whole for start, end in pairwise(sums)]


async def gather(session: AsyncSession, lane: str, *, size: int, limit: int, mark: str) -> int:
    """Bundle what is due on a lane and was never sent; says how many bundles that makes.

    The caller commits before anything is sent. The members stay locked until then.
    """
    due = list(await session.scalars(_DUE, {"lane": lane, "limit": limit}))
    found = netted((await delivery.load(session, due, mark)).values(), size) if len(due) > 1 else []
    if not found:
        return 0
    made = insert(BundleRow).returning(BundleRow.id, sort_by_parameter_order=True)
    bundles = list(zip(await session.scalars(made, [_row(lane, members) for members in found]), found, strict=True))
    members = [
        {"bundle_id": bundle_id, "delivery_id": one.id, "quantity": one.quantity}
        for bundle_id, of_bundle in bundles
        for one in of_bundle
    ]
    await session.execute(insert(BundleMemberRow), members)
    instructions = [{"kind": "bundle", "subject_id": bundle_id, "lane": lane} for bundle_id, _ in bundles]
    await session.execute(insert(InstructionRow), instructions)
    ids = [member["delivery_id"] for member in members]
    await session.execute(_WAIT, {"deliveries": ids, "reason": delivery.BUNDLED})
    return len(bundles)


def _row(carrier: str, members: Sequence[Delivery]) -> dict[str, object]:
    return {
        "carrier": carrier,
        "custody_id": members[0].custody_id,
        "reservation_id": members[0].reservation_id,
        "receiver_line_id": members[0].receiver_line_id,
        "quantity": sum(member.quantity for member in members),
    }


async def load(session: AsyncSession, ids: Sequence[int], mark: str) -> Loaded[Bundle]:
    rows = list(await session.scalars(select(BundleRow).where(BundleRow.id.in_(ids))))
    members = await _members(session, ids)
    found = await delivery.load(session, [one.delivery_id for each in members.values() for one in each], mark)
    return {row.id: _bundle(row, [found[one.delivery_id] for one in members[row.id]], mark) for row in rows}


def _bundle(row: BundleRow, members: Sequence[Delivery], mark: str) -> Bundle:
    whole = replace(
        members[0],
        external_id=external_id(mark, "bundle", row.id),
        quantity=row.quantity,
        line_event=next((one.line_event for one in members if one.line_event is not None), None),
    )
    return Bundle(row.id, whole, tuple(members))


async def _members(session: AsyncSession, bundle_ids: Sequence[int]) -> dict[int, list[BundleMemberRow]]:
    query = select(BundleMemberRow).where(BundleMemberRow.bundle_id.in_(bundle_ids))
    members: dict[int, list[BundleMemberRow]] = {}
    for row in await session.scalars(query.order_by(BundleMemberRow.delivery_id)):
        members.setdefault(row.bundle_id, []).append(row)
    return members


async def send(outside: Outside, bundle: Bundle, numbers: Numbers) -> Outcome:
    return await delivery.send(outside, bundle.whole, numbers)


async def ask(outside: Outside, bundle: Bundle, numbers: Numbers) -> Outcome:
    return await delivery.ask(outside, bundle.whole, numbers)


async def book(session: AsyncSession, ended: Sequence[Ended[Bundle]]) -> set[int]:
    """The sum has moved: every member is delivered under the bundle's reference.

    Raises:
        BrokenBundle: a member was ended by somebody else.
    """
    parts = [(end, member) for end, bundle in _requests(ended) for member in bundle.members]
    told = {
        "deliveries": [member.id for _, member in parts],
        "references": [end.done.reference for end, _ in parts],
        "ready": State.READY.value,
        "done": move(State.READY, Event.CARRIED).value,
    }
    carried = set(await session.scalars(_END_MEMBERS, told))
    if missing := {member.id for _, member in parts} - carried:
        raise BrokenBundle(f"Trades {sorted(missing)} of a bundle were ended by somebody else.")
    references = [end.done.reference for end in ended]
    await session.execute(_END, {"status": "done", "ids": [end.subject_id for end in ended], "references": references})
    return await delivery.book(session, [Ended(member.id, member, end.at, end.done) for end, member in parts])


async def undo(session: AsyncSession, ended: Sequence[Ended[Bundle]]) -> set[int]:
    """Nothing was moved by it: it falls apart, and each member is due by itself."""
    members = [member.id for _, bundle in _requests(ended) for member in bundle.members]
    await session.execute(_FREE_MEMBERS, {"deliveries": members})
    ids = [end.subject_id for end in ended]
    await session.execute(_END, {"status": "apart", "ids": ids, "references": [None] * len(ids)})
    return set()


def _requests(ended: Sequence[Ended[Bundle]]) -> list[tuple[Ended[Bundle], Bundle]]:
    return [(end, end.request) for end in ended if end.request is not None]


async def unbundled(session: AsyncSession, mark: str, actions: Sequence[Action]) -> list[Action]:
    """Lines of a carrier's journal, those of bundles split into one for each member, under the member's own name."""
    named = {id(action): subject_of(mark, action.external_id or "") for action in actions}
    members = await _members(session, [name[1] for name in named.values() if name is not None and name[0] == "bundle"])
    found: list[Action] = []
    for action in actions:
        name = named[id(action)]
        of_bundle = members.get(name[1], []) if name is not None and name[0] == "bundle" else []
        found += _parts(action, of_bundle, mark) if of_bundle else [action]
    return found


def _parts(action: Action, members: Sequence[BundleMemberRow], mark: str) -> list[Action]:
    weights = [member.quantity for member in members]
    amounts = split(action.amount_mb, weights)
    changes = [split(impact.after_mb - impact.before_mb, weights) for impact in action.impacts]
    return [
        replace(
            action,
            external_id=external_id(mark, "deliver", member.delivery_id),
            amount_mb=amounts[place],
            impacts=[
                replace(impact, after_mb=impact.before_mb + change[place])
                for impact, change in zip(action.impacts, changes, strict=True)
            ],
        )
        for place, member in enumerate(members)
    ]


BUNDLE = Step("bundle", load, send, ask, book, undo, gives_up=True, sends=SENDS)
