"""An instruction done at once, by the program whose user waits for it. A worker takes over when that program dies."""

from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from settlement.charging import AUTHORISE, CREDIT, KINDS
from settlement.checkouts import CHECKOUT, CHECKOUT_METHOD
from settlement.claims import Claim, Steps, take_this
from settlement.failpoints import failpoint
from settlement.instructions import Outcome
from settlement.lane import Announce, Lane
from settlement.steps import PROVIDER_LANE, Outside
from settlement.tables import PaymentRow

STEPS: Steps = {step.kind: step for step in (AUTHORISE, CREDIT, CHECKOUT)}


def kind_of(row: PaymentRow) -> str:
    """The instruction by which a payment is asked of the provider."""
    return CHECKOUT.kind if row.payment_method == CHECKOUT_METHOD else KINDS[row.kind]


async def claim(session: AsyncSession, outside: Outside, kind: str, subject_id: int) -> Claim | None:
    """Take an instruction of the provider's into hands; none when another has it. The caller commits, then does it."""
    return await take_this(
        session,
        STEPS,
        kind,
        subject_id,
        holder=f"at-once/{uuid4().hex}",
        budget=outside.longest_step(PROVIDER_LANE),
        mark=outside.mark,
    )


async def do(sessions: async_sessionmaker[AsyncSession], outside: Outside, announce: Announce, taken: Claim) -> Outcome:
    """Make the call of a committed claim, and write down its end as a worker would."""
    failpoint("settle.after_claim")
    lane = Lane(PROVIDER_LANE, outside, STEPS, sessions, announce, taken.holder, changed=lambda: None)
    return await lane.do(taken)
