"""Whether a party may trade and withdraw: a frozen one may not, and is told why."""

from sqlalchemy.ext.asyncio import AsyncSession

from market.refusals import NotAllowed
from settlement import freezing
from settlement.payout_accounts import DISOWNED

FROZEN = {
    freezing.DISPUTED: "A card payment of yours is disputed at its bank. Until that is settled you can neither trade"
    " nor withdraw.",
    freezing.OWING: "A disputed card payment was taken back from us, and you still owe it. Top up your wallet to pay"
    " it; until then you can neither trade nor withdraw.",
    DISOWNED: "You told us that somebody else changed your bank account. Until we have looked into it you can neither"
    " trade nor withdraw. We will call you.",
}
OTHERWISE = "Your account is on hold for now: you can neither trade nor withdraw. Please write to us."


async def check_not_frozen(session: AsyncSession, party_id: int) -> None:
    """Let a party pass that is not frozen.

    Raises:
        NotAllowed: it is; the words say why.
    """
    cause = await freezing.is_frozen(session, party_id)
    if cause is not None:
        raise NotAllowed(FROZEN.get(cause, OTHERWISE), code="frozen")
