"""Languages: which one a visitor reads, its catalogue, and how it writes money, data, numbers and times."""

import gettext
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache, lru_cache
from io import BytesIO
from pathlib import Path
from zoneinfo import ZoneInfo

from babel.core import Locale
from babel.dates import format_date, format_time, format_timedelta
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_currency, format_decimal, format_percent, get_currency_precision

LOCALES = {"zh_CN": "中文", "en": "English"}
"""Each in its own words, for the switch."""
DEFAULT = "zh_CN"
CATALOGUES = Path(__file__).parent / "locale"
CLOCK = ZoneInfo("Asia/Shanghai")
"""Expiry and month end are the carriers' time, so every time is shown in it."""
MB_PER_GB = 1000
FORMATTED = 4_096
"""Babel takes some fifty microseconds for a figure, and pages show the same ones again and again."""
MINUS = "−"
FAR_DAYS = 3_650
"""What ends later than this does not end, as far as anybody cares."""
MOST_DIGITS = 12
"""No amount that people type has more before the point."""


def chosen(cookie: str | None, accept_language: str) -> str:
    """The visitor's own choice, else the first language of the browser that we have, else the default."""
    if cookie in LOCALES:
        return cookie
    for language in _accepted(accept_language):
        if language == "zh" or language.startswith("zh-"):
            return "zh_CN"
        if language == "en" or language.startswith("en-"):
            return "en"
    return DEFAULT


def tag(locale: str) -> str:
    """The locale as HTML names it: ``zh-CN``."""
    return locale.replace("_", "-")


@cache
def catalogue(locale: str) -> gettext.NullTranslations:
    """The compiled catalogue; one that is missing or older than its source is compiled in memory."""
    folder = CATALOGUES / locale / "LC_MESSAGES"
    source, compiled = folder / "messages.po", folder / "messages.mo"
    if compiled.exists() and compiled.stat().st_mtime >= source.stat().st_mtime:
        return gettext.GNUTranslations(BytesIO(compiled.read_bytes()))
    if not source.exists():
        return gettext.NullTranslations()
    buffer = BytesIO()
    write_mo(buffer, read_po(BytesIO(source.read_bytes()), locale=locale))
    buffer.seek(0)
    return gettext.GNUTranslations(buffer)


def messages(locale: str) -> dict[str, str]:
    """All translated messages of a locale by the English ones, without those that count."""
    held: dict[object, str] = getattr(catalogue(locale), "_catalog", {})
    return {english: words for english, words in held.items() if isinstance(english, str) and english and words}


def translated(locale: str, message: str) -> str:
    """The message in the locale's words; the English one when there are none."""
    return catalogue(locale).gettext(message) if message else ""


def N_(message: str) -> str:  # noqa: N802 - the name by which extraction knows a message that is translated later
    """Mark a message for the catalogue."""
    return message


@lru_cache(FORMATTED)
def money(minor: int, currency: str, locale: str, *, signed: bool = False) -> str:
    """An amount of minor units with its currency; signed ones show a plus too."""
    text = format_currency(_major(abs(minor), currency), currency, locale=_known(locale))
    return _sign(minor, signed=signed) + text


@lru_cache(FORMATTED)
def amount(minor: int, currency: str, locale: str) -> str:
    """An amount without its currency, for columns that name it once."""
    digits = get_currency_precision(currency)
    text = format_decimal(_major(abs(minor), currency), format=f"#,##0.{'0' * digits}", locale=_known(locale))
    return _sign(minor, signed=False) + text


def plain(minor: int, currency: str) -> str:
    """An amount as a form field holds it: ``3.05`` in every language."""
    return f"{_major(minor, currency):f}"


def minor_units(text: str, currency: str) -> int:
    """Read an amount as people type it: ``3``, ``3.5``, ``1,200.00``; full-width digits too.

    Raises:
        ValueError: it is no amount, or has more decimals than the currency.
    """
    cleaned = text.strip().replace(",", "").replace("，", "").replace("¥", "").replace("。", ".").strip()
    whole, _, decimals = cleaned.partition(".")
    digits = get_currency_precision(currency)
    if not (whole + decimals).isdecimal() or len(decimals) > digits or len(whole) > MOST_DIGITS:
        raise ValueError(text)
    return int((whole + decimals.ljust(digits, "0")) or "0")


@lru_cache(FORMATTED)
def data(mb: int, locale: str) -> str:
    """An amount of data: MB below one GB (1,000 MB), GB from there on, never rounded away."""
    if abs(mb) < MB_PER_GB:
        return f"{number(mb, locale)} MB"
    return f"{format_decimal(Decimal(mb) / MB_PER_GB, format='#,##0.###', locale=_known(locale))} GB"


@lru_cache(FORMATTED)
def number(value: int, locale: str) -> str:
    return format_decimal(value, locale=_known(locale))


@lru_cache(FORMATTED)
def percent(part: int, whole: int, locale: str, *, signed: bool = True) -> str:
    """The share of ``part`` in ``whole``, to a hundredth of a percent."""
    share = Decimal(part) / Decimal(whole)
    return _sign(part, signed=signed) + format_percent(abs(share), format="#,##0.00%", locale=_known(locale))


@lru_cache(FORMATTED)
def day(at: datetime, locale: str) -> str:
    return format_date(at.astimezone(CLOCK), format="medium", locale=_known(locale))


@lru_cache(FORMATTED)
def month(at: datetime, locale: str) -> str:
    """The month that ends with this moment or holds it: an expiry at midnight belongs to the month before."""
    inside = (at - timedelta(seconds=1)).astimezone(CLOCK)
    return format_date(inside, format="yyyy年M月" if locale == "zh_CN" else "MMM yyyy", locale=_known(locale))


@lru_cache(FORMATTED)
def moment(at: datetime, locale: str) -> str:
    return _dated(at, "HH:mm:ss", locale)


@lru_cache(FORMATTED)
def minute(at: datetime, locale: str) -> str:
    return _dated(at, "HH:mm", locale)


@lru_cache(FORMATTED)
def clock(at: datetime, locale: str) -> str:
    return format_time(at.astimezone(CLOCK), format="HH:mm:ss", locale=_known(locale))


def left(until: datetime, now: datetime, locale: str) -> str:
    """How long until then: days and hours, or hours and minutes near the end."""
    seconds = max(0, int((until.astimezone(UTC) - now).total_seconds()))
    days, hours, minutes = seconds // 86_400, seconds % 86_400 // 3_600, seconds % 3_600 // 60
    if days > FAR_DAYS:
        return "–"
    first, second = (("day", days), ("hour", hours)) if days else (("hour", hours), ("minute", minutes))
    parts = [part for part in (first, second) if part[1]] or [("minute", 0)]
    return (" " if locale == "en" else "").join(_span(unit, count, locale) for unit, count in parts)


@cache
def _known(locale: str) -> Locale:
    """Babel's own object for a locale: to find it by its name costs more than to write an amount with it."""
    return Locale.parse(locale)


def _dated(at: datetime, form: str, locale: str) -> str:
    """Day and time of day, which has 24 hours here in every language."""
    clock_time = format_time(at.astimezone(CLOCK), form, locale=_known(locale))
    return f"{day(at, locale)}{', ' if locale == 'en' else ' '}{clock_time}"


def _span(unit: str, count: int, locale: str) -> str:
    style = "short" if locale == "en" else "long"
    seconds = {"day": 86_400, "hour": 3_600, "minute": 60}[unit] * count
    return format_timedelta(
        timedelta(seconds=seconds),
        granularity=unit,  # type: ignore[arg-type]
        threshold=1_000,
        format=style,  # type: ignore[arg-type]
        locale=_known(locale),
    )


def _major(minor: int, currency: str) -> Decimal:
    return Decimal(minor).scaleb(-get_currency_precision(currency))


def _sign(value: int, *, signed: bool) -> str:
    if value < 0:
        return MINUS
    return "+" if signed and value > 0 else ""


def _accepted(header: str) -> Iterator[str]:
    """The languages of an Accept-Language header, most wanted first."""
    wanted: list[tuple[float, int, str]] = []
    for place, part in enumerate(header[:400].split(",")):
        language, _, weight = part.strip().lower().partition(";")
        try:
            quality = float(weight.strip().removeprefix("q=")) if weight else 1.0
        except ValueError:
            continue
        if language and quality > 0:
            wanted.append((-quality, place, language.strip()))
    return (language for _, _, language in sorted(wanted))
