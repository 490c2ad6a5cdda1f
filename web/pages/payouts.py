"""When a member is paid out without asking: the setting, and what came of the latest payouts."""

from datetime import UTC, datetime
from typing import Any

from litestar import Response, get, post
from litestar.types import ControllerRouterHandler

from market import kept_back, payout_accounts, payout_schedule, withdrawals
from market.refusals import Refusal
from settlement.payment_tables import PayoutAccountRow
from web.edge.sessions import requires_member, signed_in
from web.edge.venue import Venue
from web.i18n import N_, plain, translated
from web.pages.forms import Form, errors_of, queried, read
from web.pages.rendering import Page, locale_of, page, see_other

HERE = "/wallet/payouts"
DUE = {
    "external_account": N_("your bank account"),
    "individual": N_("who you are"),
    "business_profile": N_("what you do"),
    "business_type": N_("whether you are a person or a company"),
    "company": N_("about your company"),
    "tos_acceptance": N_("your consent to the provider's terms"),
}
"""What the provider asks for, by the first part of its own name for it."""
OTHER = N_("something else about you")


def due_words(account: PayoutAccountRow | None, locale: str) -> list[str]:
    """What the provider still wants to know, each once, in words."""
    names = [due.partition(".")[0] for due in account.currently_due] if account else []
    return [translated(locale, DUE.get(name, OTHER)) for name in dict.fromkeys(names)]


@get(HERE, guards=[requires_member])
async def index(request: Page, venue: Venue) -> Response[str]:
    return await _page(request, venue, queried(request))


@post(HERE, guards=[requires_member], status_code=200)
async def change(request: Page, venue: Venue) -> Response[Any]:
    form = await read(request)
    try:
        minimum = form.amount("minimum", venue.settings.currency, N_("Please enter an amount."))
        await payout_schedule.change(venue, signed_in(request), form.text("every"), minimum, datetime.now(UTC))
    except Refusal as refusal:
        return await _page(request, venue, form, refusal=refusal)
    return see_other(HERE)


@post(f"{HERE}/account", guards=[requires_member], status_code=200)
async def go_on(request: Page, venue: Venue) -> Response[Any]:
    """Off to the provider's own page, where the member names a bank account or says what is still missing."""
    try:
        url = await withdrawals.onboarding(venue, signed_in(request))
    except Refusal as refusal:
        return await _page(request, venue, await read(request), refusal=refusal)
    return see_other(url or HERE)


@post(f"{HERE}/disown", guards=[requires_member], status_code=200)
async def disown(request: Page, venue: Venue) -> Response[Any]:
    """The bank account was changed, and not by the member."""
    try:
        await payout_accounts.disown(venue, signed_in(request))
    except Refusal as refusal:
        return await _page(request, venue, await read(request), refusal=refusal)
    return see_other(HERE)


async def _page(request: Page, venue: Venue, form: Form, *, refusal: Refusal | None = None) -> Response[str]:
    member, now = signed_in(request), datetime.now(UTC)
    async with venue.reads() as session:
        schedule = await payout_schedule.schedule_of(session, member)
        runs = await payout_schedule.runs(session, member)
        account = await payout_accounts.account_of(session, member)
        kept = await kept_back.kept_back(session, member.party_id, now, venue.settings.phone_bill_wait_days)
    return page(
        request,
        "payouts.html",
        status=refusal.status if refusal else 200,
        schedule=schedule,
        every=form.text("every") or schedule.every,
        minimum=form.text("minimum") or plain(schedule.minimum_minor, venue.settings.currency),
        runs=runs,
        account=account,
        due=due_words(account, locale_of(request)),
        kept=kept,
        currency=venue.settings.currency,
        now=now,
        errors=errors_of(refusal, locale_of(request), ("every", "minimum")) if refusal else {},
    )


routes: list[ControllerRouterHandler] = [index, change, go_on, disown]
