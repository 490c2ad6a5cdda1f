"""Signing in and out: a code to the phone for members, a password for officers; and what a visitor prefers."""

from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from litestar import Response, get, post
from litestar.datastructures import Cookie
from litestar.types import ControllerRouterHandler

from market import codes, parties, signing_in
from market.numbers import canonical_number
from market.refusals import BadInput, Refusal
from web.edge.clients import client_address
from web.edge.redirects import local_path
from web.edge.sessions import (
    is_secure,
    present_member,
    present_officer,
    sign_in_officer_session,
    sign_in_session,
    sign_out,
)
from web.edge.venue import Venue
from web.i18n import LOCALES
from web.pages.forms import errors_of, queried, read
from web.pages.rendering import THEMES, TRENDS, Page, locale_of, page, see_other, wants_fragment

A_YEAR_SECONDS = 365 * 86_400
CHOICES = {"locale": tuple(LOCALES), "theme": THEMES, "trend": TRENDS}


@dataclass(frozen=True)
class Entry:
    """What was typed, and what was wrong with it."""

    phone: str = ""
    ticket: str = ""
    login: str = ""
    following: str = "/"
    errors: dict[str, str] = field(default_factory=dict)


@get("/sign-in")
async def form(request: Page, venue: Venue) -> Response[Any]:
    following = local_path(queried(request).text("next") or "/")
    if await present_member(request):
        return see_other(following)
    return _form(request, venue, Entry(following=following))


@post("/sign-in", status_code=200)
async def enter(request: Page, venue: Venue) -> Response[Any]:
    """First the phone number, then the code that was texted to it: one form, one address."""
    sent = await read(request)
    following = local_path(sent.text("next") or "/")
    phone, ticket, code = sent.text("phone"), sent.text("ticket"), sent.text("code")
    try:
        if not ticket or sent.text("again"):
            ticket = ""
            ticket = await codes.send_code(venue, phone, client_address(request))
            return _form(request, venue, Entry(phone=phone, ticket=ticket, following=following))
        member = await signing_in.sign_in(venue, ticket, code)
    except Refusal as refusal:
        errors = errors_of(refusal, locale_of(request), ("phone", "code"))
        return _form(request, venue, Entry(phone, ticket, "", following, errors), refusal.status)

    sign_in_session(request, member)
    if wants_fragment(request):
        return Response("", media_type="text/html", headers={"HX-Redirect": following})
    return see_other(following)


@post("/sign-out", status_code=303)
async def leave(request: Page) -> Response[None]:
    sign_out(request)
    return see_other("/")


@get("/officer/sign-in")
async def officer_form(request: Page) -> Response[Any]:
    if await present_officer(request):
        return see_other("/officer")
    return page(request, "officer_sign_in.html", entry=Entry())


@post("/officer/sign-in", status_code=200)
async def officer_enter(request: Page, venue: Venue) -> Response[Any]:
    sent = await read(request)
    try:
        officer = await parties.officer_sign_in(
            venue, sent.text("login"), sent.values.get("password", ""), client_address(request)
        )
    except Refusal as refusal:
        errors = errors_of(refusal, locale_of(request), ("login", "password"))
        entry = Entry(login=sent.text("login"), errors=errors)
        return page(request, "officer_sign_in.html", status=refusal.status, entry=entry)
    sign_in_officer_session(request, officer)
    return see_other("/officer")


@post("/officer/sign-out", status_code=303)
async def officer_leave(request: Page) -> Response[None]:
    sign_out(request)
    return see_other("/officer/sign-in")


@post("/preferences", status_code=303)
async def prefer(request: Page, venue: Venue) -> Response[None]:
    """Keep a language, a theme or a colour convention in a cookie of its own."""
    sent = await read(request)
    response = see_other(local_path(sent.text("back") or "/"))
    for name, allowed in CHOICES.items():
        if sent.text(name) in allowed:
            response.set_cookie(
                Cookie(
                    key=name,
                    value=sent.text(name),
                    max_age=A_YEAR_SECONDS,
                    path="/",
                    secure=is_secure(venue.settings),
                    httponly=True,
                    samesite="lax",
                )
            )
    return response


def refused_form(request: Page, venue: Venue, entry: Entry, refusal: Refusal) -> Response[Any]:
    """The form again, with what was wrong with another way to sign in."""
    errors = errors_of(refusal, locale_of(request), ())
    return _form(request, venue, replace(entry, errors=errors), refusal.status)


def _form(request: Page, venue: Venue, entry: Entry, status: int = 200) -> Response[Any]:
    return page(
        request,
        "sign_in.html",
        block="form",
        status=status,
        entry=entry,
        simulators=[] if venue.settings.is_production else simulated_phones(venue, entry.phone),
    )


def simulated_phones(venue: Venue, phone: str) -> list[str]:
    """In a demonstration, where the texts that a number gets can be read: its own screen, or the list of all."""
    try:
        screen = "/phones/" + canonical_number(phone).lstrip("+")
    except BadInput:
        screen = "/"
    origins = {urlsplit(profile.base_url)._replace(path="").geturl() for profile in venue.settings.carriers}
    return [origin + screen for origin in sorted(origins)]


routes: list[ControllerRouterHandler] = [form, enter, leave, officer_form, officer_enter, officer_leave, prefer]
