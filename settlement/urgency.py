"""What expires first goes first: instructions about data near its end are moved to the head of their lane.

A lane is worked off in the order of ``not_before``, which its index keeps. What is about data
that expires within ``HEAD_START`` gets the moment so long before that expiry, which is past: so
it comes before everything else, and the earlier the expiry, the earlier its turn. Nothing is
added where trades are written.
"""

from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

HEAD_START = timedelta(days=2)
AT_ONCE = 20_000

# What was tried before keeps its pause. The order of locks is that of a claim, which leaves what is locked.
_HURRY = text("""
    with waiting as (
        select instruction.id, instruction.not_before,
            coalesce(delivery.custody_id, instruction.subject_id) as custody_id
        from instruction left join delivery on instruction.kind = 'deliver' and delivery.id = instruction.subject_id
        where instruction.status = 'ready' and instruction.attempt = 0 and instruction.kind in ('deliver', 'release')
            and (instruction.kind = 'release' or delivery.custody_id is not null)
    ), urgent as (
        select waiting.id, custody.expires_at - cast(:head_start as interval) as turn
        from waiting join custody on custody.id = waiting.custody_id
        where custody.expires_at > now() and custody.expires_at < now() + cast(:head_start as interval)
            and waiting.not_before > custody.expires_at - cast(:head_start as interval)
        order by custody.expires_at, waiting.id limit :limit
    ), locked as (
        select instruction.id, turn from instruction join urgent using (id)
        where status = 'ready' order by instruction.id for no key update of instruction skip locked
    )
    update instruction set not_before = turn from locked where instruction.id = locked.id returning instruction.lane
""")


async def hurry(session: AsyncSession) -> int:
    """Give what is about data near its end its turn; says how many instructions were moved. The caller commits."""
    return len((await session.scalars(_HURRY, {"head_start": HEAD_START, "limit": AT_ONCE})).all())


async def watch(sessions: async_sessionmaker[AsyncSession]) -> int:
    """One round of it."""
    async with sessions.begin() as session:
        return await hurry(session)
