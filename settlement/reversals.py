"""Deliveries that a carrier took back after they were done, found in its own journal.

The journal is read from where the last look ended, so a carrier that never calls us
is covered. Reading the same lines twice does no harm: a trade is opened again once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from settlement import netting, reopening
from settlement.carriers.errors import CarrierError
from settlement.carriers.values import REVERSAL, Action
from settlement.lane import Announce
from settlement.ledger import LedgerRefusal
from settlement.ledger_tables import AccountRow
from settlement.naming import subject_of
from settlement.reopening_rules import Cause
from settlement.reopening_tables import JournalReadRow
from settlement.steps import Outside
from settlement.tables import CustodyRow, DeliveryRow

log = structlog.get_logger()

FIRST_LOOK_BACK = timedelta(days=3)
"""How far back the first look at a carrier goes."""
OVERLAP = timedelta(seconds=30)
"""Read again each time: a line may appear a little behind its own time."""
DETAIL = "The carrier took the data back."

Sessions = async_sessionmaker[AsyncSession]

_READ = text("""
    insert into journal_read (carrier, until) values (:carrier, :until)
    on conflict (carrier) do update set until = greatest(journal_read.until, excluded.until)
""")


@dataclass(frozen=True, slots=True)
class _TakenBack:
    """A delivery whose data is gone from the buyer; ``amount_minor`` is the price of what was taken back."""

    trade_id: int
    amount_minor: int
    returned_mb: int
    taken_mb: int
    parties: tuple[int, int]


async def look(sessions: Sessions, outside: Outside, announce: Announce) -> int:
    """Read on in every carrier's journal and open again what was taken back; says how many trades that were.

    A carrier that does not answer is asked again next time and keeps no other waiting.
    """
    found = 0
    for code in outside.carriers:
        try:
            found += await _read_on(sessions, outside, code, announce)
        except (CarrierError, LedgerRefusal) as error:
            log.warning("journal_not_read", carrier=code, error=type(error).__name__)
    return found


async def _read_on(sessions: Sessions, outside: Outside, code: str, announce: Announce) -> int:
    async with sessions() as session:
        now = (await session.execute(select(func.now()))).scalar_one()
        known = await session.scalar(select(JournalReadRow.until).where(JournalReadRow.carrier == code))
    since = (known or now - FIRST_LOOK_BACK) - OVERLAP

    actions = [action async for action in outside.carriers[code].actions(since, now) if action.kind == REVERSAL]

    async with sessions() as session:
        named = dict(_of_deliveries(await netting.unbundled(session, outside.mark, actions), outside.mark))
        taken_back = await _match(session, code, named)
    opened = 0
    for one in taken_back:
        opened += await _reopen(sessions, one, announce)
    async with sessions.begin() as session:
        await session.execute(_READ, {"carrier": code, "until": now})
    return opened


def _of_deliveries(actions: Sequence[Action], mark: str) -> Iterator[tuple[int, Action]]:
    for action in actions:
        named = subject_of(mark, action.external_id or "")
        if named is not None and named[0] == "deliver":
            yield named[1], action
        else:
            log.error("reversal_of_a_stranger", action=action.id)


async def _match(session: AsyncSession, code: str, named: Mapping[int, Action]) -> list[_TakenBack]:
    """The deliveries that the journal speaks of, and what of each is in the seller's bucket again."""
    buyer, seller = AccountRow.__table__.alias(), AccountRow.__table__.alias()
    rows = await session.execute(
        select(
            DeliveryRow.id, DeliveryRow.quantity, DeliveryRow.amount_minor, CustodyRow.bucket_id,
            buyer.c.party_id, seller.c.party_id,
        )
        .join(buyer, buyer.c.id == DeliveryRow.money_account_id)
        .join(seller, seller.c.id == DeliveryRow.proceeds_account_id)
        .outerjoin(CustodyRow, CustodyRow.id == DeliveryRow.custody_id)
        .where(DeliveryRow.id.in_(named), DeliveryRow.carrier == code)
    )  # fmt: skip
    return [
        _TakenBack(
            trade_id,
            max(amount_minor * named[trade_id].amount_mb // quantity, 1),
            _returned_mb(named[trade_id], bucket_id),
            named[trade_id].amount_mb,
            (buyer_id, seller_id),
        )
        for trade_id, quantity, amount_minor, bucket_id, buyer_id, seller_id in rows
    ]


def _returned_mb(action: Action, bucket_id: str | None) -> int:
    """What came back to the seller's bucket."""
    changes = (one.after_mb - one.before_mb for one in action.impacts if one.bucket_id == bucket_id)
    return max(sum(changes), 0)


async def _reopen(sessions: Sessions, one: _TakenBack, announce: Announce) -> bool:
    async with sessions.begin() as session:
        news = await reopening.reopen(
            session, one.trade_id, Cause.CARRIER_REVERSED, one.amount_minor, DETAIL,
            returned_mb=one.returned_mb, taken_mb=one.taken_mb,
        )  # fmt: skip
    if news:
        log.warning("delivery_taken_back", trade=one.trade_id)
        await announce(one.parties)
    return news
