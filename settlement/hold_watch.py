"""Card holds that are about to lapse: an alarm first, and their end is brought on before it is too late."""

from datetime import timedelta

import structlog
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from settlement import funding
from settlement.tables import PaymentRow

log = structlog.get_logger()

ALARM = timedelta(hours=24)
"""How long before a hold lapses its delay is an alarm."""
MARGIN = timedelta(hours=6)
"""How long before a hold lapses everything that can end it is done at once."""
BATCH = 200

_HURRY = text("""
    update instruction set not_before = now()
    where kind in ('finish_payment', 'capture') and subject_id = :payment and status in ('ready', 'unknown')
        and not_before > now()
""")

Sessions = async_sessionmaker[AsyncSession]


async def watch(sessions: Sessions) -> int:
    """One round; says how many holds were brought on.

    A delivery that is still on its way keeps its hold open: if that lapses, the
    house covers what is delivered after all.
    """
    async with sessions() as session:
        now = (await session.execute(select(func.now()))).scalar_one()
        late = select(PaymentRow).where(
            PaymentRow.kind == "card_hold", PaymentRow.status == "authorised", PaymentRow.capture_before < now + ALARM
        )
        holds = list(await session.scalars(late.order_by(PaymentRow.capture_before).limit(BATCH)))
    hurried = 0
    for hold in holds:
        log.error("card_hold_about_to_lapse", payment=hold.id, capture_before=str(hold.capture_before))
        if hold.capture_before is not None and hold.capture_before < now + MARGIN:
            async with sessions.begin() as session:
                await funding.finish_hold(session, hold.id)
                await session.execute(_HURRY, {"payment": hold.id})
            hurried += 1
    return hurried
