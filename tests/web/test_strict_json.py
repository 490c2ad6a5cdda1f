"""Bodies are taken as they were meant, or refused by the name of the field (rules A1 to A7)."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.refusals import BadInput
from web.api.bodies import BulkBody, HandoutBody, OrderBody
from web.edge.strict_json import decode

GOOD = {"symbol": "COIN", "side": "buy", "lots": 5, "price_minor": 180}


def refused(body: bytes, kind: type = OrderBody) -> BadInput:
    with pytest.raises(BadInput) as refusal:
        decode(body, kind)
    return refusal.value


def test_a_good_body_is_taken() -> None:
    order = decode(json.dumps(GOOD).encode(), OrderBody)

    assert (order.symbol, order.side, order.lots, order.price_minor) == ("COIN", "buy", 5, 180)


@pytest.mark.parametrize(
    "number",
    ["0", "-1", "-0", "2147483648", "9223372036854775808", "18446744073709551616", "9" * 5000, "1e400", "1.5",
     "5.0", "5e0", '"5"', '"5.0"', '"1_000"', '"１２３"', '"٣"', '"²"', "true", "null", "[]", "{}", '""'],
)  # fmt: skip
def test_a_number_is_a_bounded_whole_number_and_nothing_like_one(number: str) -> None:
    body = f'{{"symbol": "COIN", "side": "buy", "price_minor": 180, "lots": {number}}}'

    assert refused(body.encode()).field == "lots"


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1_000", "１２３", "٣", "²", "01", "+1", "0x1", ".5"]
)
def test_what_json_does_not_know_is_not_read(number: str) -> None:
    assert refused(f'{{"symbol": "COIN", "side": "buy", "lots": {number}}}'.encode()).field in {"body", "lots"}


def test_a_field_given_twice_is_refused() -> None:
    assert refused(b'{"symbol": "COIN", "side": "buy", "lots": 1, "lots": 1}').field == "lots"
    legs = b'{"legs": [{"symbol": "COIN", "lots": 1, "limit_price_minor": 1, "lots": 2}]}'
    assert refused(legs, BulkBody).field == "lots"


@pytest.mark.parametrize("field", ["fee", "party_id", "group_id", "account_id", "Lots", "lots ", "__class__"])
def test_an_unknown_field_is_refused(field: str) -> None:
    assert refused(json.dumps({**GOOD, field: 0}).encode()).field == field


def test_a_wrong_field_deep_inside_is_named_by_its_path() -> None:
    legs = [
        {"symbol": "COIN", "lots": 1, "limit_price_minor": 1},
        {"symbol": "COIN", "lots": 0, "limit_price_minor": 1},
    ]

    assert (refused(json.dumps({"legs": legs}).encode(), BulkBody).field or "").startswith("legs[")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"text"', b"5", b"\xef\xbb\xbf{}", b"{}{}", b"\xff", b"{'a': 1}"]
)
def test_what_is_no_object_is_refused(body: bytes) -> None:
    refused(body)


@pytest.mark.parametrize("opening", [b"[", b'{"legs":', b'{"legs":[['])
def test_deep_nesting_is_refused_and_not_followed(opening: bytes) -> None:
    refused(opening * (16_000 // len(opening)), BulkBody)


@pytest.mark.parametrize(
    "symbol",
    [
        "",
        "coin",
        "COIN\\n",
        "COIN\\u0000",
        "\\ud800",
        "CO\\u202eIN",
        "C\\u200bOIN",
        "😀",
        "e\\u0301",
        "A" * 41,
        "../COIN",
    ],
)
def test_text_has_known_characters_only(symbol: str) -> None:
    refused(f'{{"symbol": "{symbol}", "side": "buy", "lots": 1}}'.encode())


@pytest.mark.parametrize(
    "phone", ["", "＋８６13800138000", "+86 138", "13800138000;ext=1", "138\\u200b00138000", "+", "1" * 30]
)
def test_a_phone_number_is_digits(phone: str) -> None:
    body = f'{{"symbol": "CMCC-CN-3001", "phone": "{phone}", "amount_mb": 100}}'

    assert refused(body.encode(), HandoutBody).field == "phone"


@pytest.mark.parametrize(
    "moment",
    ["2026-02-30T00:00:00Z", "2026-11-30T24:00:00Z", "2026-11-30T12:00:00", "2026-11-30", "1764500000", "soon", ""],
)
def test_a_moment_is_real_and_has_a_zone(moment: str) -> None:
    assert refused(json.dumps({**GOOD, "expires_at": moment}).encode()).field == "expires_at"


@given(st.binary(max_size=400) | st.text(max_size=200).map(str.encode))
def test_no_body_breaks_the_reader(body: bytes) -> None:
    with contextlib.suppress(BadInput):
        decode(body, OrderBody)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_no_json_breaks_the_reader(value: object) -> None:
    with contextlib.suppress(BadInput):
        decode(json.dumps({**GOOD, "lots": value}).encode(), OrderBody)
