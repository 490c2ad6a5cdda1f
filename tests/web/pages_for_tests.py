"""Pages that only tests visit: they stand behind the same session, token and problem handling as the real ones."""

from typing import Any

from litestar import MediaType, Request, get, post
from litestar.params import FromPath
from sqlalchemy import text

from market.parties import Member, Officer, member
from market.refusals import NotAllowed
from web.edge.sessions import (
    end_other_sessions,
    prove_session,
    requires_member,
    requires_officer,
    sign_in_officer_session,
    sign_in_session,
    sign_out,
    signed_in,
    signed_in_officer,
)
from web.edge.venue import Venue

Visit = Request[Any, Any, Any]


@get("/tests/form", media_type=MediaType.HTML, sync_to_thread=False)
def form() -> str:
    return "<form></form>"


@post("/tests/form", sync_to_thread=False)
def form_sent() -> str:
    return "taken"


@post("/tests/sign-in/{party_id:int}")
async def enter(request: Visit, venue: Venue, party_id: FromPath[int]) -> str:
    async with venue.sessions() as session:
        sign_in_session(request, await member(session, party_id))
    return "welcome"


@post("/tests/proof-runs-out", sync_to_thread=False)
def proof_runs_out(request: Visit) -> str:
    """As if ten minutes had passed since anything was proved."""
    request.session["proved"] = {}
    return "later"


@post("/tests/prove/{action:str}", sync_to_thread=False)
def prove(request: Visit, action: FromPath[str]) -> str:
    prove_session(request, action)
    return "proved"


@post("/tests/officers/{officer_id:int}", sync_to_thread=False)
def enter_as_officer(request: Visit, officer_id: FromPath[int]) -> str:
    sign_in_officer_session(request, Officer(officer_id, "", "", None))
    return "welcome"


@post("/tests/sign-out", sync_to_thread=False)
def leave(request: Visit) -> str:
    sign_out(request)
    return "bye"


@post("/tests/sign-out-elsewhere")
async def leave_elsewhere(request: Visit) -> str:
    return str(await end_other_sessions(request))


@get("/tests/ended-meanwhile")
async def ended_meanwhile(request: Visit, venue: Venue) -> str:
    """A change of the session, while another request ends it."""
    async for key in venue.redis.scan_iter("surplusflow:session:*"):
        await venue.redis.delete(key)
    request.session["locale"] = "en"
    return "ok"


@get("/tests/mine", guards=[requires_member], sync_to_thread=False)
def mine(request: Visit) -> Member:
    return signed_in(request)


@get("/tests/office", guards=[requires_officer], sync_to_thread=False)
def office(request: Visit) -> Officer:
    return signed_in_officer(request)


@get("/tests/unguarded", sync_to_thread=False)
def unguarded(request: Visit) -> Member:
    return signed_in(request)


@get("/tests/language", sync_to_thread=False)
def language(request: Visit) -> str:
    request.session["locale"] = "en"
    return "ok"


@get("/tests/broken", sync_to_thread=False)
def broken() -> str:
    raise RuntimeError("the canary +8613912345678 sits in this exception")


@get("/tests/refused", sync_to_thread=False)
def refused() -> str:
    raise NotAllowed("<b>You</b> have too little data.", field="lots")


@post("/tests/deferred")
async def deferred(venue: Venue) -> str:
    """A posting without its counterpart, which the database finds only when it commits."""
    async with venue.sessions() as session:
        await session.execute(text(UNBALANCED))
        await session.commit()
    return "done"


@get("/tests/slow-database")
async def slow_database(venue: Venue) -> str:
    async with venue.sessions() as session:
        await session.execute(text("set local statement_timeout = 20"))
        await session.execute(text("select pg_sleep(5)"))
    return "done"


@get("/tests/huge-number")
async def huge_number(venue: Venue) -> str:
    async with venue.sessions() as session:
        await session.execute(text("select cast(:number as bigint)"), {"number": 2**70})
    return "done"


UNBALANCED = """
insert into posting (transfer_id, account_id, kind, reference, available_change, held_change)
select 900000000, min(id), 20, 'unbalanced', 5, 0 from account
"""

pages = [
    form, form_sent, enter, proof_runs_out, prove, enter_as_officer, leave, leave_elsewhere, ended_meanwhile,
    mine, office, unguarded, language, broken, refused, deferred,
    slow_database, huge_number,
]  # fmt: skip
