"""Both languages: complete, with the same figures, and written as each is written."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest
from babel.messages.pofile import read_po

from market.limits import LimitReached
from market.refusals import NotAllowed
from matching.refusals import BadQuantity
from tests.pages.catalogue import CHINESE, TEMPLATE, messages
from web import i18n
from web.pages.words import instrument_name, said, short_name

NOW = datetime(2026, 11, 23, 19, 15, 7, tzinfo=UTC)


def test_every_message_has_its_chinese_words() -> None:
    with CHINESE.open("rb") as file:
        known = read_po(file, locale="zh_CN")

    for message in messages():
        if message.id:
            words = known.get(message.id)
            assert words is not None, message.id
            assert all(words.string if isinstance(words.string, tuple) else [words.string]), message.id


def test_the_catalogue_holds_nothing_that_is_no_longer_said() -> None:
    said_now = {message.id for message in messages()}

    for path in (CHINESE, TEMPLATE):
        with path.open("rb") as file:
            assert {message.id for message in read_po(file, locale="zh_CN")} <= said_now


def test_a_translation_uses_no_figure_that_the_message_does_not_have() -> None:
    with CHINESE.open("rb") as file:
        for message in read_po(file, locale="zh_CN"):
            assert figures(message.string) <= figures(message.id), message.id


def figures(texts: str | Iterable[str] | None) -> set[str]:
    joined = texts if isinstance(texts, str) else " ".join(texts or ())
    return set(re.findall(r"%\(\w+\)s|\{\w+\}", joined))


@pytest.mark.parametrize(
    ("cookie", "accepted", "locale"),
    [
        (None, "", "zh_CN"),
        (None, "en-GB,en;q=0.9", "en"),
        (None, "fr,en;q=0.5,zh;q=0.8", "zh_CN"),
        (None, "de;q=nonsense, en-US", "en"),
        (None, "zh;q=0, en;q=0.1", "en"),
        ("en", "zh-CN", "en"),
        ("tlh", "zh-CN", "zh_CN"),
    ],
)
def test_the_visitors_own_choice_goes_before_the_browsers(cookie: str | None, accepted: str, locale: str) -> None:
    assert i18n.chosen(cookie, accepted) == locale


@pytest.mark.parametrize(
    ("minor", "chinese", "english"), [(123456, "¥1,234.56", "CN¥1,234.56"), (-5, "−¥0.05", "−CN¥0.05")]
)
def test_money_is_written_as_each_language_writes_it(minor: int, chinese: str, english: str) -> None:
    assert (i18n.money(minor, "CNY", "zh_CN"), i18n.money(minor, "CNY", "en")) == (chinese, english)


@pytest.mark.parametrize(
    ("text", "minor"),
    [("3", 300), ("3.5", 350), ("0.05", 5), (".5", 50), ("1,200.00", 120000), (" ¥8 ", 800), ("３.５", 350)],
)
def test_an_amount_is_read_as_people_type_it(text: str, minor: int) -> None:
    assert i18n.minor_units(text, "CNY") == minor


@pytest.mark.parametrize("text", ["", "-1", "1.234", "1e3", "abc", "1.2.3", "9" * 13, "½"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        i18n.minor_units(text, "CNY")


def test_an_amount_in_a_field_is_read_back_as_it_was() -> None:
    assert all(i18n.minor_units(i18n.plain(minor, "CNY"), "CNY") == minor for minor in (1, 99, 100, 30_05, 10**9))


@pytest.mark.parametrize(
    ("mb", "shown"), [(0, "0 MB"), (999, "999 MB"), (1000, "1 GB"), (1050, "1.05 GB"), (12345, "12.345 GB")]
)
def test_data_is_never_rounded_away(mb: int, shown: str) -> None:
    assert i18n.data(mb, "en") == shown


def test_times_are_beijings_with_twenty_four_hours() -> None:
    assert i18n.moment(NOW, "en") == "Nov 24, 2026, 03:15:07"
    assert i18n.moment(NOW, "zh_CN") == "2026年11月24日 03:15:07"


def test_an_expiry_at_midnight_belongs_to_the_month_before() -> None:
    end_of_november = datetime(2026, 11, 30, 16, tzinfo=UTC)

    assert i18n.month(end_of_november, "zh_CN") == "2026年11月"
    assert i18n.month(end_of_november, "en") == "Nov 2026"


@pytest.mark.parametrize(
    ("span", "chinese", "english"),
    [
        (timedelta(days=3, hours=2), "3天2小时", "3 days 2 hr"),
        (timedelta(hours=3, minutes=5), "3小时5分钟", "3 hr 5 min"),
        (timedelta(seconds=-1), "0分钟", "0 min"),
        (timedelta(days=20_000), "–", "–"),
    ],
)
def test_what_is_left_is_told_in_two_units(span: timedelta, chinese: str, english: str) -> None:
    assert (i18n.left(NOW + span, NOW, "zh_CN"), i18n.left(NOW + span, NOW, "en")) == (chinese, english)


def test_a_refusal_keeps_its_figures_in_the_other_language() -> None:
    refusal = NotAllowed(
        "You can sell 700 MB: 1200 MB are left, and your carrier wants some to stay.", code="insufficient_data"
    )

    assert said(refusal, "zh_CN") == "您可卖出 700 MB：剩余 1200 MB，运营商要求保留一部分。"
    assert said(refusal, "en") == refusal.detail


@pytest.mark.parametrize(("wait_ms", "words"), [(8_200, "请 9 秒后再试。"), (900_000, "请 15 分钟后再试。")])
def test_who_asked_too_often_is_told_when_to_come_back(wait_ms: int, words: str) -> None:
    assert words in said(LimitReached(wait_ms), "zh_CN")


def test_a_refusal_of_matching_is_told_in_the_readers_language() -> None:
    refusal = NotAllowed(str(BadQuantity(quantity=0, maximum=1000)), code="bad_quantity")

    assert said(refusal, "zh_CN") == "数量为 0 手，请选择 1 至 1000 手。"


def test_a_refusal_in_minor_units_is_told_in_plain_words() -> None:
    refusal = NotAllowed("This needs 500 minor units and 3 are available.", code="insufficient_money")

    assert said(refusal, "en") == "There is not enough money available in your wallet."


def test_an_unknown_sentence_is_told_by_its_code() -> None:
    assert said(NotAllowed("Something new.", code="not_allowed"), "zh_CN") == "市场或运营商的规则不允许这样做。"
    assert said(NotAllowed("Something new.", code="something_new"), "zh_CN") == "Something new."


class AnInstrument:
    kind = "data"
    symbol = "CTCC-GD-2611-VIDEO"
    carrier = "CTCC"


def test_an_instrument_is_named_as_people_name_it() -> None:
    assert instrument_name(AnInstrument(), "zh_CN") == "中国电信 · 广东 · 2026年11月 · 视频定向"
    assert short_name(AnInstrument(), "en") == "Guangdong · Nov 2026 · video apps"
