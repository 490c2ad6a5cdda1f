"""Ids as the API shows them: `ord_12`. What is not one of ours in form is simply not there."""

import re

from market.refusals import NotFound
from web.edge.paths import BIGGEST

_NUMBER = re.compile(r"[1-9][0-9]{0,18}")
_CARD = re.compile(r"[a-z]{1,5}_[A-Za-z0-9_]{1,100}")
_SYMBOL = re.compile(r"[A-Z0-9-]{1,40}")


def order_id(text: str) -> int:
    return _id("ord_", text, "You have no such order.")


def trade_id(text: str) -> int:
    return _id("trd_", text, "You have no such trade.")


def basket_id(text: str) -> int:
    return _id("bsk_", text, "You have no such basket.")


def line_id(text: str) -> int:
    return _id("lin_", text, "You have no such line.")


def checkout_id(text: str) -> int:
    return _id("pay_", text, "You have no such payment.")


def bill_id(text: str) -> int:
    return _id("bil_", text, "You have no such payment.")


def card_id(text: str) -> str:
    if not _CARD.fullmatch(text):
        raise NotFound("You have no such card.")
    return text


def symbol(text: str) -> str:
    if not _SYMBOL.fullmatch(text):
        raise NotFound("There is no such instrument.")
    return text


def _id(prefix: str, text: str, words: str) -> int:
    number = text.removeprefix(prefix)
    if number == text or not _NUMBER.fullmatch(number) or int(number) > BIGGEST:
        raise NotFound(words)
    return int(number)
