"""A receipt is sound as it was issued, and not after any change: edited, swapped, removed, added, or signed anew."""

import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement.receipts.chain import LARGEST, Fact, Step, extended
from settlement.receipts.document import Document, Receipt, Signer, drawn_up, in_writing
from settlement.receipts.verifying import NotAKey, keys_in, main, verify

EDITS = 1000
SIGNER = Signer("demo_0123456789abcdefghijklmnopqrstuvwxyz")
MARKETS = {SIGNER.public_key}
FACTS = [
    Fact("order", "ord_1", {"at": "2026-11-27T08:00:00Z", "side": "buy", "symbol": "CTCC-GD-2611"}),
    Fact("match", "trd_9", {"at": "2026-11-27T08:00:01Z", "price_minor": 300, "lots": 2, "amount_minor": 600}),
    Fact("hold", "ord_1", {"at": "2026-11-27T08:00:01Z", "held_minor": 600}),
    Fact("delivery", "sf-1-deliver-9", {"at": "2026-11-27T08:00:02Z", "carrier_reference": "tx-7"}),
    Fact("payment", "trd_9", {"at": "2026-11-27T08:00:03Z", "paid_minor": 600, "captured_from": "wallet"}),
]


def a_receipt(steps: list[Step] | None = None, signer: Signer = SIGNER) -> Document:
    return signer.sign(_drawn(extended([], FACTS) if steps is None else steps))


def _drawn(steps: list[Step]) -> Receipt:
    return drawn_up(issuer="m", trade="trd_9", side="buy", issued_at="2026-11-27T09:00:00Z", steps=steps)


def _with_steps(document: Document, numbers: list[int]) -> bytes:
    """The same file with other steps in it, under the same signature."""
    steps = [document.receipt.steps[number] for number in numbers]
    return in_writing(msgspec.structs.replace(document, receipt=msgspec.structs.replace(document.receipt, steps=steps)))


def test_a_receipt_is_sound_as_it_was_issued() -> None:
    verdict = verify(in_writing(a_receipt()), MARKETS)

    assert verdict.is_sound
    assert len(verdict.lines) == 1 + len(FACTS)


def test_a_later_receipt_goes_on_from_the_earlier_one() -> None:
    earlier = extended([], FACTS[:3])

    later = extended(earlier, FACTS)

    assert later[:3] == earlier
    assert later == extended([], FACTS)
    assert extended(later, FACTS) == later


def test_a_thousand_single_edits_are_all_found() -> None:
    data, draw = in_writing(a_receipt()), random.Random(7)

    missed = []
    for _ in range(EDITS):
        place, byte = draw.randrange(len(data)), bytes([draw.randrange(256)])
        edited = draw.choice(
            (
                data[:place] + byte + data[place + 1 :],
                data[:place] + byte + data[place:],
                data[:place] + data[place + 1 :],
            )
        )
        if edited != data and verify(edited).is_sound:
            missed.append(edited)

    assert not missed


@given(st.lists(st.integers(0, len(FACTS) - 1), max_size=8))
def test_no_other_steps_pass_under_the_same_signature(numbers: list[int]) -> None:
    sound = verify(_with_steps(a_receipt(), numbers), MARKETS).is_sound

    assert sound == (numbers == list(range(len(FACTS))))


@given(st.binary(max_size=200))
def test_bytes_that_are_no_receipt_are_refused_in_words(data: bytes) -> None:
    assert verify(data).faults == ["This is not a receipt, or it was damaged: it cannot be read."]


def test_deeply_nested_bytes_are_refused_in_words() -> None:
    assert not verify(b"[" * 100_000).is_sound
    assert not verify(b'{"receipt":' * 100_000).is_sound


def test_steps_that_do_not_follow_are_found_even_under_a_good_signature() -> None:
    one, *rest = extended([], FACTS)

    verdict = verify(in_writing(a_receipt([one, *reversed(rest)])), MARKETS)

    assert any("does not follow the step before" in fault for fault in verdict.faults)


def test_a_receipt_without_its_beginning_is_not_one_even_under_a_good_signature() -> None:
    verdict = verify(in_writing(a_receipt(extended([], FACTS[2:]))), MARKETS)

    assert verdict.faults == ["It does not begin with order, match and hold."]


def test_a_stranger_who_signs_a_receipt_anew_is_found_by_the_markets_key() -> None:
    forged = in_writing(a_receipt(signer=Signer("demo_another_secret_of_somebody_else")))

    assert verify(forged).is_sound
    assert "none of the market's" in verify(forged, MARKETS).faults[0]


def test_a_receipt_stays_sound_after_the_key_was_changed() -> None:
    later = Signer("demo_the_secret_of_the_year_after_this")

    assert verify(in_writing(a_receipt()), {later.public_key, *MARKETS}).is_sound


def test_a_number_that_readers_would_round_is_not_written() -> None:
    with pytest.raises(ValueError, match="would round"):
        extended([], [Fact("order", "ord_1", {"at": "", "seq": LARGEST + 1})])


def test_keys_are_read_as_digits_as_a_list_and_as_they_are_published() -> None:
    other = bytes(32)
    published = msgspec.json.encode({"form": "x", "keys": [{"id": "a", "public_key": SIGNER.public_key.hex()}]})

    assert keys_in(SIGNER.public_key.hex()) == MARKETS
    assert keys_in(f"{SIGNER.public_key.hex()}\n{other.hex()}\n") == {*MARKETS, other}
    assert keys_in(published.decode()) == MARKETS


@pytest.mark.parametrize("text", ["", "abc", "ab", "{}", '{"keys":[]}', "{", "zz" * 32])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(NotAKey):
        keys_in(text)


def test_without_a_key_the_reader_is_told_what_to_compare(tmp_path: Path) -> None:
    path = tmp_path / "receipt.json"
    path.write_bytes(in_writing(a_receipt()))

    assert SIGNER.public_key.hex() in main(path, None).lines[-1]
    assert main(path, SIGNER.public_key.hex()).lines[-1].startswith("This receipt is sound")
