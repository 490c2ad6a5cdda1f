"""Passkeys: adding, naming and removing one's own, and using one to sign in or to prove that it is the member."""

import time
from typing import Any

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler

from market import passkeys, step_up
from market.refusals import Refusal
from web.edge.clients import client_address
from web.edge.redirects import local_path
from web.edge.sessions import requires_member, sign_in_session, signed_in
from web.edge.venue import Venue
from web.pages.forms import errors_of, queried, read
from web.pages.rendering import Page, locale_of, page, see_other
from web.pages.sign_in import Entry, refused_form
from web.pages.step_up import Proof, proved, refused_proof

HERE = "/settings/passkeys"


@get(HERE, guards=[requires_member])
async def index(request: Page, venue: Venue) -> Response[str]:
    return await _page(request, venue, typed=queried(request).text("name"))


@post(HERE + "/options", guards=[requires_member], status_code=200)
async def creation_options(request: Page, venue: Venue) -> Response[str]:
    """What `passkeys.js` asks the device to make a passkey by."""
    return _json(await passkeys.begin_registration(venue, signed_in(request), client_address(request)))


@post(HERE, guards=[requires_member], status_code=200)
async def add(request: Page, venue: Venue) -> Response[Any]:
    name = (await read(request)).text("name")
    try:
        await passkeys.register(venue, signed_in(request), await _credential(request), name)
    except Refusal as refusal:
        return await _page(request, venue, refusal=refusal, typed=name)
    return see_other(HERE)


@post(HERE + "/{passkey_id:int}/name", guards=[requires_member], status_code=200)
async def rename(request: Page, venue: Venue, passkey_id: FromPath[int]) -> Response[Any]:
    try:
        await passkeys.rename(venue, signed_in(request), passkey_id, (await read(request)).text("name"))
    except Refusal as refusal:
        return await _page(request, venue, refusal=refusal, named=passkey_id)
    return see_other(HERE)


@post(HERE + "/{passkey_id:int}/remove", guards=[requires_member], status_code=200)
async def remove(request: Page, venue: Venue, passkey_id: FromPath[int]) -> Response[Any]:
    try:
        await passkeys.remove(venue, signed_in(request), passkey_id)
    except Refusal as refusal:
        return await _page(request, venue, refusal=refusal)
    return see_other(HERE)


@post("/sign-in/passkey/options", status_code=200)
async def any_options(request: Page, venue: Venue) -> Response[str]:
    return _json(await passkeys.begin_use(venue, client_address(request)))


@post("/sign-in/passkey", status_code=200)
async def enter(request: Page, venue: Venue) -> Response[Any]:
    following = local_path((await read(request)).text("next") or "/")
    try:
        member = await passkeys.sign_in(venue, await _credential(request))
    except Refusal as refusal:
        return refused_form(request, venue, Entry(following=following), refusal)
    sign_in_session(request, member)
    return see_other(following)


@post("/step-up/passkey/options", guards=[requires_member], status_code=200)
async def own_options(request: Page, venue: Venue) -> Response[str]:
    return _json(await passkeys.begin_use(venue, client_address(request), signed_in(request)))


@post("/step-up/passkey", guards=[requires_member], status_code=200)
async def prove(request: Page, venue: Venue) -> Response[Any]:
    proof = Proof.asked(await read(request))
    try:
        await passkeys.prove(venue, signed_in(request), await _credential(request))
    except Refusal as refusal:
        return await refused_proof(request, venue, proof, refusal)
    return proved(request, proof)


async def _page(
    request: Page, venue: Venue, *, refusal: Refusal | None = None, named: int = 0, typed: str = ""
) -> Response[str]:
    member = signed_in(request)
    errors = errors_of(refusal, locale_of(request), ("name",)) if refusal else {}
    async with venue.reads() as session:
        own = await passkeys.passkeys(session, member)
    return page(
        request,
        "passkeys.html",
        status=refusal.status if refusal else 200,
        passkeys=own,
        is_proved=step_up.is_proved(member.proved_until or {}, step_up.PASSKEY, time.time()),
        errors=errors,
        named=named,
        typed=typed,
    )


async def _credential(request: Page) -> str:
    """The answer of the passkey, which is longer than what people type."""
    sent = (await request.form()).get("credential", "")
    return sent if isinstance(sent, str) else ""


def _json(options: str) -> Response[str]:
    return Response(options, media_type="application/json")


routes: list[ControllerRouterHandler] = [
    index, creation_options, add, rename, remove, any_options, enter, own_options, prove,
]  # fmt: skip
