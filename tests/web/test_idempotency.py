"""Idempotency keys: bare or quoted, of known characters and bounded length."""

import pytest

from market.refusals import BadInput
from web.edge.idempotency import MOST_FOR_MANY, idempotency_key


@pytest.mark.parametrize("key", ["a", "8f14e45f-ceea-467f-a8d3-2f6d1c3b9a10", "x" * 255, "order.7:2~a_b@c+d="])
def test_a_key_may_come_bare_or_quoted(key: str) -> None:
    assert idempotency_key(key) == idempotency_key(f'"{key}"') == idempotency_key(f" {key} ") == key


@pytest.mark.parametrize("key", ["", '""', '"', "x" * 256, "a b", "a/b", 'a"b', "a\\b", "é", "a\nb", "a\0", "１"])
def test_any_other_key_is_refused(key: str) -> None:
    with pytest.raises(BadInput) as refusal:
        idempotency_key(key)

    assert refusal.value.field == "Idempotency-Key"


def test_a_request_that_becomes_several_leaves_room_for_their_numbers() -> None:
    with pytest.raises(BadInput):
        idempotency_key("x" * (MOST_FOR_MANY + 1), MOST_FOR_MANY)
