"""What happens by itself as time passes: holds lapse, payouts arrive, refunds finish. Kept as rows."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from settlement.simulators.payment import checkout, payment_intents, payouts, refunds
from settlement.simulators.payment.answers import Refusal
from settlement.simulators.payment.desk import Call, Desk
from settlement.simulators.payment.store import LOST

PAUSE_SECONDS = 0.5
log = logging.getLogger(__name__)


async def _lapse_hold(call: Call, intent_id: str) -> None:
    await payment_intents.find(call, intent_id)


ACTIONS: dict[str, Callable[[Call, str], Awaitable[None]]] = {
    "lapse_hold": _lapse_hold,
    "expire_checkout": checkout.run_out,
    "send_payout": payouts.send,
    "finish_payout": payouts.finish,
    "return_payout": payouts.come_back,
    "finish_refund": refunds.finish,
    "fail_refund": refunds.fail,
}


async def run(desk: Desk) -> None:
    """Do what is due, again and again, until cancelled."""
    while True:
        try:
            await run_due(desk)
        except LOST as error:
            log.warning("the database is away: %r", error)
        except Exception:
            log.exception("a job failed; it will be tried again")
        await asyncio.sleep(PAUSE_SECONDS)


async def run_due(desk: Desk) -> None:
    """Do everything that is due now, and what falls due by it, each in a transaction of its own."""
    while await _run_one(desk):
        pass


async def _run_one(desk: Desk) -> bool:
    async with desk.open() as call:
        job = await call.connection.fetchrow(
            "DELETE FROM jobs WHERE id = (SELECT id FROM jobs WHERE due_at <= $1 ORDER BY due_at, id LIMIT 1"
            " FOR UPDATE SKIP LOCKED) RETURNING action, account, object",
            call.now,
        )
        if job is None:
            return False
        call.account = job["account"]
        try:
            async with call.connection.transaction():
                await ACTIONS[job["action"]](call, job["object"])
        except Refusal as refusal:
            log.warning("%s of %s is no longer possible: %s", job["action"], job["object"], refusal)
    return True
