"""Currencies, what they are charged at least, and how an amount is shown."""

from decimal import Decimal

from babel.numbers import format_currency

from settlement.simulators.payment.answers import Refusal, malformed
from settlement.simulators.payment.form import Form

ZERO_DECIMAL = frozenset({
    "bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf",
})  # fmt: skip

LEAST_MINOR = {
    "aed": 200, "aud": 50, "brl": 50, "cad": 50, "chf": 50, "clp": 500, "cny": 400, "czk": 1500, "dkk": 250,
    "eur": 50, "gbp": 30, "hkd": 400, "huf": 17500, "idr": 1_000_000, "inr": 50, "jpy": 50, "krw": 700, "mxn": 1000,
    "myr": 200, "nok": 300, "nzd": 50, "php": 3000, "pln": 200, "sek": 300, "sgd": 50, "thb": 1000, "twd": 1600,
    "usd": 50, "vnd": 13_000,
}  # fmt: skip
"""The least charge in minor units; it stands for what must convert to half a dollar."""

MOST_MINOR = 99_999_999


def read_currency(form: Form) -> str:
    currency = form.needed("currency").lower()
    if currency not in LEAST_MINOR:
        raise malformed(f"Invalid currency: {currency[:10]}.", "currency")
    return currency


def check_chargeable(amount: int, currency: str) -> None:
    if amount < LEAST_MINOR[currency]:
        least = shown(LEAST_MINOR[currency], currency)
        raise Refusal(f"Amount must be at least {least}.", param="amount", code="amount_too_small")
    if amount > MOST_MINOR:
        most = shown(MOST_MINOR, currency)
        raise Refusal(f"Amount must be no more than {most}.", param="amount", code="amount_too_large")


def shown(amount: int, currency: str, locale: str = "en") -> str:
    places = 0 if currency in ZERO_DECIMAL else 2
    return format_currency(Decimal(amount).scaleb(-places), currency.upper(), locale=locale)
