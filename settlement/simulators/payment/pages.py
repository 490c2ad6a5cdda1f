"""The pages people see: the overview, the bank's 3-D Secure question, the seller's onboarding."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Request, Response
from litestar.datastructures import State

from settlement.simulators.payment import accounts, checkout, payment_intents, words
from settlement.simulators.payment.answers import Document, Refusal
from settlement.simulators.payment.desk import Call, Desk
from settlement.simulators.payment.faults import Mischief
from settlement.simulators.payment.form import Form, parse_form
from settlement.simulators.payment.money import shown
from settlement.simulators.payment.overview import LOCALES, overview
from settlement.simulators.payment.store import LOST

AnyRequest = Request[None, None, State]

HERE = Path(__file__).parent
STYLE = (HERE / "style.css").read_text()
GONE = 410
UNPAID = 402
HOLDER_CHARACTERS = 100


class Pages:
    def __init__(self, desk: Desk, mischief: Mischief) -> None:
        self._desk = desk
        self._mischief = mischief
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined
        )

    async def overview(self, request: AnyRequest) -> Response[str]:
        language = _language(request)
        try:
            async with self._desk.open() as call:
                faults = asdict(await self._mischief.load(call))
                shown_now = await overview(call, language)
        except LOST:
            return self.away(request)
        on = {name: value for name, value in faults.items() if value}
        return self._page(request, "overview.html", {**shown_now, "faults": on})

    async def challenge(self, request: AnyRequest, token: str) -> Response[str]:
        """The bank's question about one payment."""
        async with self._desk.open() as call:
            found = await _challenged(call, token)
            if found is None:
                return self._gone(request)
            intent, return_url = found
            way_back = await checkout.way_back(call, intent) or return_url
        amount = shown(intent["amount"], intent["currency"], LOCALES[_language(request)])
        return self._page(request, "challenge.html", {"amount": amount}, forms_to=way_back)

    async def answer_challenge(self, request: AnyRequest, token: str) -> Response[str]:
        form = Form(parse_form((await request.body()).decode(errors="replace")))
        is_confirmed = form.choice("answer", {"confirm", "fail"}) == "confirm"
        async with self._desk.open() as call:
            found = await _challenged(call, token)
            if found is None:
                return self._gone(request)
            intent, return_url = found
            if is_confirmed:
                await payment_intents.attempt(call, intent, is_authenticated=True)
                await checkout.settle(call, intent)
            else:
                await payment_intents.give_up_authentication(call, intent)
        is_good = intent["status"] in {"succeeded", "requires_capture"}
        back = {
            "payment_intent": intent["id"],
            "payment_intent_client_secret": intent["client_secret"],
            "redirect_status": "succeeded" if is_good else "failed",
        }
        return _redirect(return_url, back)

    async def checkout(self, request: AnyRequest, token: str) -> Response[str]:
        """The page on which a payer enters a card."""
        async with self._desk.open() as call:
            found = await checkout.of_token(call, token)
        if found is None or found[0]["status"] == "expired":
            return self._gone(request)
        session, hidden = found
        if session["status"] == "complete":
            return _redirect(checkout.success_url(session), {})
        return self._checkout(request, session, hidden["item"])

    async def pay(self, request: AnyRequest, token: str) -> Response[str]:
        form = Form(parse_form((await request.body()).decode(errors="replace")))
        number = re.sub(r"[ -]", "", form.text("number") or "")
        is_saved = form.text("save") == "yes"
        async with self._desk.open() as call:
            found = await checkout.of_token(call, token)
            if found is None or found[0]["status"] == "expired":
                return self._gone(request)
            session, hidden = found
            if session["status"] == "complete":
                return _redirect(checkout.success_url(session), {})
            intent = await checkout.pay(call, session, number, is_saved=is_saved)
        if intent is None:
            return self._checkout(request, session, hidden["item"], "unknown_card")
        if intent["status"] == "requires_action":
            return _redirect(intent["next_action"]["redirect_to_url"]["url"], {})
        if intent["status"] in checkout.PAID:
            return _redirect(checkout.success_url(session), {})
        return self._checkout(request, session, hidden["item"], "declined")

    async def returned(self, request: AnyRequest, token: str) -> Response[str]:
        """The payer comes back from the bank: paid, or with another card to try."""
        async with self._desk.open() as call:
            found = await checkout.of_token(call, token)
        if found is None or found[0]["status"] == "expired":
            return self._gone(request)
        session, hidden = found
        if session["status"] == "complete":
            return _redirect(checkout.success_url(session), {})
        return self._checkout(request, session, hidden["item"], "declined")

    def _checkout(self, request: AnyRequest, session: Document, item: str, problem: str = "") -> Response[str]:
        language = _language(request)
        shown_now = {
            "item": item,
            "amount": shown(session["amount_total"], session["currency"], LOCALES[language]),
            "may_save": (session["saved_payment_method_options"] or {}).get("payment_method_save") == "enabled",
            "cancel_url": session["cancel_url"],
            "action": urlsplit(session["url"]).path,
            "problem": words.WORDS[language][problem] if problem else "",
        }
        status = UNPAID if problem else 200
        return self._page(request, "checkout.html", shown_now, status=status, forms_to=session["success_url"])

    async def onboarding(self, request: AnyRequest, token: str) -> Response[str]:
        async with self._desk.open() as call:
            link = await _link(call, token)
            if link is None:
                return self._gone(request)
            if link["expires_at"] <= call.now:
                return _redirect(link["refresh_url"], {})
        return self._page(request, "onboarding.html", {"problem": "", "holder": ""}, forms_to=link["return_url"])

    async def finish_onboarding(self, request: AnyRequest, token: str) -> Response[str]:
        form = Form(parse_form((await request.body()).decode(errors="replace")))
        holder, number = (form.text("holder") or "").strip(), (form.text("number") or "").replace(" ", "")
        async with self._desk.open() as call:
            link = await _link(call, token)
            if link is None:
                return self._gone(request)
            if link["expires_at"] <= call.now:
                return _redirect(link["refresh_url"], {})
            problem = await _completed(call, link, holder, number)
        if problem:
            said = {"problem": words.WORDS[_language(request)][problem], "holder": holder[:HOLDER_CHARACTERS]}
            return self._page(request, "onboarding.html", said, forms_to=link["return_url"], status=422)
        return _redirect(link["return_url"], {})

    def away(self, request: AnyRequest) -> Response[str]:
        return self._page(request, "notice.html", {"what": "away"}, status=503)

    def _gone(self, request: AnyRequest) -> Response[str]:
        return self._page(request, "notice.html", {"what": "gone"}, status=GONE)

    def _page(
        self, request: AnyRequest, name: str, values: dict[str, Any], *, status: int = 200, forms_to: str | None = None
    ) -> Response[str]:
        language = _language(request)
        other = "en" if language == "zh" else "zh"
        html = self._templates.get_template(name).render(
            words=words.WORDS[language], language="zh-CN" if language == "zh" else "en", other=other, **values
        )
        return Response(html, status_code=status, media_type="text/html; charset=utf-8", headers=_headers(forms_to))


def _headers(forms_to: str | None) -> dict[str, str]:
    """Browsers hold redirects after a form to `form-action` too, so the way back must be named in it."""
    origin = ""
    if forms_to:
        parts = urlsplit(forms_to)
        origin = f" {parts.scheme}://{parts.netloc}"
    policy = (
        "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none';"
        f" form-action 'self'{origin}"
    )
    return {
        "Cache-Control": "no-store",
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


def _language(request: AnyRequest) -> str:
    return words.choose(request.query_params.get("lang"), request.headers.get("accept-language", ""))


async def _challenged(call: Call, token: str) -> tuple[Document, str] | None:
    """The payment that waits for this answer, locked, and where the buyer goes afterwards."""
    row = await call.connection.fetchrow(
        "SELECT account, data, hidden FROM objects WHERE hidden->>'token' = $1 AND kind = 'payment_intent'"
        " FOR NO KEY UPDATE",
        token,
    )
    if row is None or row["data"]["status"] != "requires_action":
        return None
    call.account = row["account"]
    return row["data"], row["hidden"].get("return_url") or "/"


async def _link(call: Call, token: str) -> Document | None:
    row = await call.connection.fetchrow(
        "SELECT data, hidden FROM objects WHERE hidden->>'token' = $1 AND kind = 'account_link' FOR NO KEY UPDATE",
        token,
    )
    if row is None or row["hidden"].get("is_used"):
        return None
    return {**row["data"], **row["hidden"]}


async def _completed(call: Call, link: Document, holder: str, number: str) -> str | None:
    """Complete the seller's account, or name what is wrong with what was typed."""
    if not 1 <= len(holder) <= HOLDER_CHARACTERS:
        return "no_holder"
    try:
        await accounts.complete(call, await accounts.find(call, link["account"]), holder, number)
    except Refusal:
        return "bad_number"
    await call.connection.execute(
        "UPDATE objects SET hidden = hidden || '{\"is_used\": true}' WHERE id = $1", link["id"]
    )
    return None


def _redirect(url: str, query: dict[str, str]) -> Response[str]:
    parts = urlsplit(url)
    merged = urlencode([*parse_qsl(parts.query, keep_blank_values=True), *query.items()])
    place = urlunsplit((parts.scheme, parts.netloc, parts.path, merged, parts.fragment))
    return Response("", status_code=303, headers={"Location": place, "Cache-Control": "no-store"})
