"""Cursors: made here, for one list of one party, or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.refusals import BadInput
from web.edge.cursors import Cursors

cursors = Cursors("a secret of this installation 0123456789")


@given(st.integers(1, 2**63 - 1))
def test_a_cursor_opens_to_the_id_it_was_sealed_with(before: int) -> None:
    assert cursors.open("orders 7 None", cursors.seal("orders 7 None", before)) == before


def test_no_cursor_is_the_first_page() -> None:
    assert cursors.open("orders 7 None", None) is None


@pytest.mark.parametrize("purpose", ["orders 8 None", "trades 7", "orders 7 open"])
def test_a_cursor_of_another_party_or_list_is_refused(purpose: str) -> None:
    sealed = cursors.seal("orders 7 None", 12)

    with pytest.raises(BadInput) as refusal:
        cursors.open(purpose, sealed)

    assert refusal.value.field == "cursor"


@pytest.mark.parametrize(
    "forged", ["", "12", "abc", "A" * 22, "A" * 65, "=" * 30, "A" * 23 + "\n", "Ａ" * 24, "AAAA" * 6]
)
def test_a_forged_cursor_is_refused(forged: str) -> None:
    with pytest.raises(BadInput):
        cursors.open("orders 7 None", forged)


def test_another_installations_cursor_is_refused() -> None:
    sealed = Cursors("another secret of another installation").seal("trades 7", 12)

    with pytest.raises(BadInput):
        cursors.open("trades 7", sealed)
