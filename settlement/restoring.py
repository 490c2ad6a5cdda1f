"""Books that were restored from a backup: what may have been sent since then is asked for before anything is sent.

A copy is known by where it lives: another server, another timeline after a recovery to a
point in time, or another database. A copy of a server's files that is started just as it is
looks like the original: restore by recovery or from a dump.
"""

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from settlement.instructions import Event, State, move
from settlement.steps import HOUSE_LANE

log = structlog.get_logger()

_PLACE = text("""
    select format('%s/%s/%s', system_identifier, timeline_id, pg_database.oid)
    from pg_control_system(), pg_control_checkpoint(), pg_database where datname = current_database()
""")
_FIRST = text("insert into books_home (id, place) values (1, :place) on conflict do nothing")
_MOVED = text("update books_home set place = :place, since = now() where id = 1 and place <> :place returning id")
_ASK_FIRST = text("""
    update instruction set status = :unknown, attempt = greatest(attempt, 1), last_sent_at = now(), not_before = now(),
        reason = 'the books were restored from a backup: it may have been sent since'
    where status = 'ready' and lane <> :house returning id
""")


async def look(session: AsyncSession) -> int:
    """See whether these books have moved, and ask first when they have; says of how many. The caller commits.

    The row is locked by its change, so of several workers one does it.
    """
    place = await session.scalar(_PLACE)
    await session.execute(_FIRST, {"place": place})
    if await session.scalar(_MOVED, {"place": place}) is None:
        return 0
    asked = await ask_first(session)
    log.error("books_restored", asked_first=asked)
    return asked


async def ask_first(session: AsyncSession) -> int:
    """What waits to be sent may have been sent: each is asked for, past its longest flight. The caller commits."""
    unknown = move(State.READY, Event.RESTORED)
    return len((await session.scalars(_ASK_FIRST, {"unknown": unknown.value, "house": HOUSE_LANE})).all())
