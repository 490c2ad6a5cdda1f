"""Proving that it is the member who sits there: a code to their own phone, before what a thief would do first."""

import re
from dataclasses import dataclass, field, replace
from typing import Any

from litestar import Response, get, post
from litestar.types import ControllerRouterHandler

from market import passkeys, step_up
from market.parties import Member
from market.refusals import Refusal
from web.edge.clients import client_address
from web.edge.redirects import local_path
from web.edge.sessions import prove_session, requires_member, signed_in
from web.edge.venue import Venue
from web.i18n import N_
from web.pages.forms import Form, errors_of, queried, read
from web.pages.rendering import Page, locale_of, page, see_other, wants_fragment
from web.pages.sign_in import simulated_phones

REASONS = {
    step_up.PAYOUT: N_("Before money leaves your wallet, or its destination changes, we check that it is you."),
    step_up.SALE: N_("Before a large sale, we check that it is you."),
    step_up.EXPORT: N_("Before all your data leaves, we check that it is you."),
    step_up.DELETION: N_("Before your account is deleted, we check that it is you."),
    step_up.PASSKEY: N_("Before your passkeys change, we check that it is you."),
}
"""Why it is asked, by the class of action; another class is told in general words."""
IN_GENERAL = N_("Before this is done, we check that it is you.")
ACTION = re.compile("[a-z_]{1,30}")


@dataclass(frozen=True, kw_only=True)
class Proof:
    """How far the proof is: a ticket once a code was texted, and what was wrong."""

    action: str
    following: str
    ticket: str = ""
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        return REASONS.get(self.action, IN_GENERAL)

    @classmethod
    def asked(cls, form: Form, **changes: Any) -> "Proof":
        action = form.text("for")
        known = action if ACTION.fullmatch(action) else "other"
        return cls(action=known, following=local_path(form.text("next")), **changes)


@get("/step-up", guards=[requires_member])
async def index(request: Page, venue: Venue) -> Response[Any]:
    return await _page(request, venue, signed_in(request), Proof.asked(queried(request)))


@post("/step-up", guards=[requires_member], status_code=200)
async def prove(request: Page, venue: Venue) -> Response[Any]:
    """First a code is texted, then it is entered: one form, one address."""
    member, form = signed_in(request), await read(request)
    ticket = form.text("ticket")
    try:
        if not ticket or form.text("again"):
            ticket = ""
            ticket = await step_up.send_code(venue, member, client_address(request))
            return await _page(request, venue, member, Proof.asked(form, ticket=ticket))
        await step_up.check_code(venue, member, ticket, form.text("code"))
    except Refusal as refusal:
        return await refused_proof(request, venue, Proof.asked(form, ticket=ticket), refusal)
    return proved(request, Proof.asked(form))


async def refused_proof(request: Page, venue: Venue, proof: Proof, refusal: Refusal) -> Response[Any]:
    """The form again, with what was wrong."""
    shown = replace(proof, errors=errors_of(refusal, locale_of(request), ("code",)))
    return await _page(request, venue, signed_in(request), shown, status=refusal.status)


def proved(request: Page, proof: Proof) -> Response[Any]:
    """Keep the proof in the session, and go back to where it was asked for."""
    prove_session(request, proof.action)
    if wants_fragment(request):
        return Response("", media_type="text/html", headers={"HX-Redirect": proof.following})
    return see_other(proof.following)


async def _page(request: Page, venue: Venue, member: Member, proof: Proof, *, status: int = 200) -> Response[Any]:
    number = await step_up.masked_line(venue, member)
    async with venue.reads() as session:
        has_passkey = await passkeys.has_passkey(session, member)
    return page(
        request,
        "step_up.html",
        block="form",
        status=status,
        proof=proof,
        number=number,
        has_passkey=has_passkey,
        simulators=[] if venue.settings.is_production else simulated_phones(venue, ""),
    )


routes: list[ControllerRouterHandler] = [index, prove]
