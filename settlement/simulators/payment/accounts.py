"""Sellers' accounts: opened by the platform, completed by the seller on a hosted page."""

import hashlib
import re

from settlement.simulators.payment import documents, events, lists
from settlement.simulators.payment.answers import Answer, Document, Refusal, malformed
from settlement.simulators.payment.desk import PLATFORM, Call
from settlement.simulators.payment.form import Form

DUE = ["business_type", "external_account", "individual.first_name", "individual.last_name", "tos_acceptance.date"]
CURRENCIES = {"CN": "cny", "HK": "hkd", "US": "usd", "GB": "gbp", "SG": "sgd", "JP": "jpy", "DE": "eur", "FR": "eur"}
ACCOUNT_NUMBER = re.compile(r"[0-9]{4,34}")
OPTIONS = ("business_profile", "business_type", "capabilities", "individual", "company", "tos_acceptance")


async def create(call: Call) -> Answer:
    _only_platform(call)
    form = call.form
    country = (form.text("country") or "CN").upper()
    if country not in CURRENCIES:
        raise Refusal(f"Country '{country[:4]}' is not supported.", param="country", code="country_unsupported")
    account = _account(call, country)
    await documents.insert(call, account)
    if form.has("external_account"):
        await _complete_by_api(call, account)
    return Answer(200, account)


async def retrieve(call: Call) -> Answer:
    return Answer(200, await find(call, call.path["id"]))


async def retrieve_own(call: Call) -> Answer:
    if call.account == PLATFORM:
        own = _account(call, "CN") | {"id": PLATFORM, "type": "standard", "metadata": {}}
        return Answer(200, _enable(own))
    return Answer(200, await find(call, call.account))


async def update(call: Call) -> Answer:
    account, form = await find(call, call.path["id"]), call.form
    account["metadata"] = form.metadata(account["metadata"])
    if form.has("email"):
        account["email"] = form.text("email")
    _set_schedule(account, form)
    form.allow(*OPTIONS)
    if form.has("external_account"):
        await _complete_by_api(call, account)
    await documents.save(call, account)
    await events.record(call, "account.updated", account, account=account["id"])
    return Answer(200, account)


async def listed(call: Call) -> Answer:
    return Answer(200, await lists.listing(call, "account", "/v1/accounts"))


async def external_accounts(call: Call) -> Answer:
    account = await find(call, call.path["id"])
    call.form.allow("object", "limit")
    return Answer(200, account["external_accounts"])


async def link(call: Call) -> Answer:
    form = call.form
    account = await find(call, form.needed("account"), param="account", status=400)
    form.choice("type", {"account_onboarding", "account_update"})
    urls = {name: _web_address(form, name) for name in ("refresh_url", "return_url")}
    form.allow("collect", "collection_options", "type")
    token = documents.token()
    document: Document = {
        "object": "account_link",
        "created": call.now,
        "expires_at": call.now + call.settings.link_seconds,
        "url": f"{call.base_url}/onboarding/{token}",
    }
    hidden = urls | {"token": token, "account": account["id"]}
    await documents.insert(call, document | {"id": documents.new_id("link")}, hidden)
    return Answer(200, document)


async def complete(call: Call, account: Document, holder: str, number: str) -> None:
    """The seller has said who they are and where their bank account is.

    Raises:
        Refusal: The bank account number is not one.
    """
    if not ACCOUNT_NUMBER.fullmatch(number):
        raise Refusal("You must use a valid bank account number.", param="external_account[account_number]",
                      code="account_number_invalid")  # fmt: skip
    bank = _bank_account(account, holder, number)
    account["external_accounts"]["data"] = [bank]
    _enable(account)
    await documents.save(call, account)
    await documents.hide(call, account["id"], bank_number=number)
    await events.record(call, "account.external_account.created", bank, account=account["id"])
    await events.record(call, "account.updated", account, account=account["id"])


async def find(call: Call, account_id: str, param: str = "account", status: int = 404) -> Document:
    return await documents.find(call, "account", account_id, param=param, account=PLATFORM, status=status)


def _only_platform(call: Call) -> None:
    if call.account != PLATFORM:
        raise Refusal("Only a platform can do this.", code="platform_account_required")


async def _complete_by_api(call: Call, account: Document) -> None:
    bank = call.form.nested("external_account")
    bank.choice("object", {"bank_account"})
    bank.allow("country", "currency", "routing_number", "account_holder_type")
    holder, number = bank.text("account_holder_name") or "", bank.needed("account_number")
    bank.end()
    await complete(call, account, holder, number)


def _web_address(form: Form, name: str) -> str:
    url = form.needed(name)
    if not url.startswith(("http://", "https://")):
        raise malformed("Not a valid URL", name, "url_invalid")
    return url


def _set_schedule(account: Document, form: Form) -> None:
    settings = form.nested("settings")
    payouts = settings.nested("payouts")
    schedule = payouts.nested("schedule")
    interval = schedule.choice("interval", {"manual", "daily", "weekly", "monthly"})
    schedule.allow("delay_days", "monthly_anchor", "weekly_anchor")
    schedule.end()
    payouts.allow("statement_descriptor", "debit_negative_balances")
    payouts.end()
    settings.allow("branding", "card_payments", "dashboard", "payments")
    settings.end()
    if interval:
        account["settings"]["payouts"]["schedule"]["interval"] = interval


def _enable(account: Document) -> Document:
    account |= {"details_submitted": True, "payouts_enabled": True, "capabilities": {"transfers": "active"}}
    account["requirements"] |= {"currently_due": [], "eventually_due": [], "past_due": [], "disabled_reason": None}
    return account


def _requirements(due: list[str]) -> Document:
    return {
        "alternatives": [],
        "current_deadline": None,
        "currently_due": list(due),
        "disabled_reason": "requirements.past_due" if due else None,
        "errors": [],
        "eventually_due": list(due),
        "past_due": list(due),
        "pending_verification": [],
    }


def _bank_account(account: Document, holder: str, number: str) -> Document:
    return {
        "id": documents.new_id("ba"),
        "object": "bank_account",
        "account": account["id"],
        "account_holder_name": holder,
        "account_holder_type": "individual",
        "account_type": None,
        "available_payout_methods": ["standard"],
        "bank_name": "TEST BANK",
        "country": account["country"],
        "currency": account["default_currency"],
        "default_for_currency": True,
        "fingerprint": hashlib.sha256(number.encode()).hexdigest()[:16],
        "last4": number[-4:],
        "metadata": {},
        "routing_number": None,
        "status": "new",
    }


def _account(call: Call, country: str) -> Document:
    form, account_id = call.form, documents.new_id("acct")
    form.choice("type", {"custom", "express", "standard"})
    form.allow("controller", "default_currency", *OPTIONS)
    account: Document = {
        "id": account_id,
        "object": "account",
        "business_profile": None,
        "business_type": None,
        "capabilities": {"transfers": "inactive"},
        "charges_enabled": False,
        "controller": {
            "fees": {"payer": "application"},
            "is_controller": True,
            "losses": {"payments": "application"},
            "requirement_collection": "stripe",
            "stripe_dashboard": {"type": "express"},
            "type": "application",
        },
        "country": country,
        "created": call.now,
        "default_currency": CURRENCIES[country],
        "details_submitted": False,
        "email": form.text("email"),
        "external_accounts": {
            "object": "list",
            "data": [],
            "has_more": False,
            "url": f"/v1/accounts/{account_id}/external_accounts",
        },
        "future_requirements": _requirements([]),
        "metadata": form.metadata(),
        "payouts_enabled": False,
        "requirements": _requirements(DUE),
        "settings": {
            "branding": {"icon": None, "logo": None, "primary_color": None, "secondary_color": None},
            "card_payments": {"statement_descriptor_prefix": None},
            "dashboard": {"display_name": None, "timezone": "Asia/Shanghai"},
            "payments": {
                "statement_descriptor": None,
                "statement_descriptor_kana": None,
                "statement_descriptor_kanji": None,
            },
            "payouts": {
                "debit_negative_balances": True,
                "schedule": {"delay_days": 2, "interval": "daily"},
                "statement_descriptor": None,
            },
        },
        "tos_acceptance": {"date": None, "ip": None, "user_agent": None},
        "type": "express",
    }
    _set_schedule(account, form)
    return account
