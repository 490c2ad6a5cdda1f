"""Proof that whoever sits at a session is still its member, asked before what a thief would do first.

A session proves itself by a passkey or by a code to the member's own line, and then for ten minutes for one class of
actions. Signing in is proof of all of them for as long.
"""

import time
from collections.abc import Mapping

from sqlalchemy import select

from market import codes
from market.parties import Member
from market.refusals import Forbidden, NotAllowed
from market.tables import LineRow
from market.vault import mask
from market.venue import Venue

LASTS_SECONDS = 600
ANYTHING = "*"
"""What signing in proves: all of them."""

PAYOUT, SALE, EXPORT, DELETION, PASSKEY = "payout", "sale", "export", "deletion", "passkey"
"""The actions that ask for proof here; another room may name one of its own."""


class StepUpNeeded(Forbidden):
    """The session has to prove itself for ``action`` first; nothing was changed."""

    code = "step_up_needed"

    def __init__(self, action: str) -> None:
        super().__init__(
            "Please confirm that it is you, with a code to your phone or with a passkey. Then do this again."
        )
        self.action = action


async def demand(venue: Venue, member: Member, action: str, amount_minor: int = 0) -> None:
    """Let a member pass whose session has proved itself for an action lately; a small sale needs no proof.

    Who has no session, such as an API key or a schedule, has nobody to ask and passes.

    Raises:
        StepUpNeeded: the session must prove itself first.
    """
    if member.proved_until is None or (action == SALE and amount_minor < venue.settings.step_up_sale_minor):
        return
    if not is_proved(member.proved_until, action, time.time()):
        raise StepUpNeeded(action)


def is_proved(proved_until: Mapping[str, int], action: str, now_seconds: float) -> bool:
    """Whether an action is covered at a moment, in seconds since the epoch."""
    return any(proved_until.get(each, 0) > now_seconds for each in (action, ANYTHING))


def proved(proved_until: Mapping[str, int], action: str, now_seconds: float) -> dict[str, int]:
    """The proofs of a session with one more; those that have run out are dropped."""
    running = {each: until for each, until in proved_until.items() if until > now_seconds}
    return {**running, action: int(now_seconds) + LASTS_SECONDS}


async def send_code(venue: Venue, member: Member, client: str) -> str:
    """Text a code to the member's own line, within the limits that signing in has; gives its ticket.

    Raises:
        NotAllowed: the member has no line that could vouch.
        LimitReached: too many codes.
        Unavailable: the carrier does not answer.
    """
    line = await vouching_line(venue, member)
    if line is None:
        raise NotAllowed("You have no active line that a code could go to.", code="no_line")
    return await codes.send_code(venue, venue.vault.open(line.number_sealed), client)


async def check_code(venue: Venue, member: Member, ticket: str, code: str) -> None:
    """Take the code that was texted to the member's own line.

    Raises:
        WrongCode: it is wrong, too old, or of somebody else's phone.
        Unavailable: the carrier does not answer.
    """
    entered = await codes.enter_code(venue, ticket, code)
    async with venue.sessions() as session:
        owner = await session.scalar(
            select(LineRow.party_id).where(
                LineRow.number_hash == venue.vault.lookup(entered.msisdn), LineRow.state == "active"
            )
        )
    if owner != member.party_id:
        raise codes.WrongCode


async def masked_line(venue: Venue, member: Member) -> str | None:
    """The number that a code would go to, masked; none when there is no such line."""
    line = await vouching_line(venue, member)
    return None if line is None else mask(venue.vault.open(line.number_sealed))


async def vouching_line(venue: Venue, member: Member) -> LineRow | None:
    """The member's own active line that was signed in with last."""
    own = select(LineRow).where(
        LineRow.party_id == member.party_id, LineRow.state == "active", LineRow.verified_at.is_not(None)
    )
    async with venue.sessions() as session:
        found: LineRow | None = await session.scalar(own.order_by(LineRow.verified_at.desc()).limit(1))
    return found
