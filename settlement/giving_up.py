"""A buyer who does not want to wait any longer: what has not been sent is not sent any more, and the trade refunded.

What has been sent goes its way: its outcome is asked for, and only what the carrier surely never did is refunded.
"""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

# Whether a carrier is called at all is for its lane to say; nothing is sent here, so the house ends it at once.
_TAKE_OFF = text("""
    update instruction set lane = 'house', not_before = now() where id in (
        select instruction.id from delivery
        join instruction on instruction.kind = 'deliver' and instruction.subject_id = delivery.id
        where delivery.given_up_at is not null and delivery.status = 'pending'
            and instruction.status = 'ready' and instruction.lane <> 'house'
        order by instruction.id for no key update of instruction skip locked
    ) returning id
""")
_GIVE_UP = text("""
    update delivery set given_up_at = now() where id = :id and status = 'pending' and given_up_at is null returning id
""")


async def give_up(session: AsyncSession, trade_id: int) -> bool:
    """Keep the buyer's wish, once. Says whether it is new, and changes nothing of a trade that has ended.

    The caller commits.
    """
    kept = await session.scalar(_GIVE_UP, {"id": trade_id}) is not None
    await take_off(session)
    return kept


async def take_off(session: AsyncSession) -> int:
    """Take what was given up, and is not on its way, off its carrier's lane; says how much. The caller commits."""
    return len((await session.execute(_TAKE_OFF)).all())
