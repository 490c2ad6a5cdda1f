"""The command that checks a receipt: without settings, with exit 1 for what is not sound."""

from pathlib import Path

import pytest

from settlement.receipts.chain import Fact, extended
from settlement.receipts.document import Signer, drawn_up, in_writing
from tests.supervisor.test_command_line import run

SIGNER = Signer("demo_0123456789abcdefghijklmnopqrstuvwxyz")
OTHERS = Signer("demo_the_secret_of_somebody_else_here")


@pytest.fixture
def receipt(tmp_path: Path) -> Path:
    facts = [Fact(kind, "ord_1", {"at": "2026-11-27T08:00:00Z", "lots": 2}) for kind in ("order", "match", "hold")]
    drawn = drawn_up(issuer="m", trade="trd_9", side="buy", issued_at="2026-11-27T09:00:00Z", steps=extended([], facts))
    path = tmp_path / "receipt.json"
    path.write_bytes(in_writing(SIGNER.sign(drawn)))
    return path


def test_a_sound_receipt_is_told_step_by_step(receipt: Path) -> None:
    done = run("verify-receipt", receipt, "--key", SIGNER.public_key.hex())

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("  holds ") == 3
    assert "This receipt is sound" in done.stdout


def test_a_receipt_of_another_market_is_not_sound(receipt: Path) -> None:
    done = run("verify-receipt", receipt, "--key", OTHERS.public_key.hex())

    assert done.returncode == 1
    assert "none of the market's" in done.stdout


def test_a_changed_receipt_is_not_sound(receipt: Path) -> None:
    receipt.write_bytes(receipt.read_bytes().replace(b'"lots": 2', b'"lots": 3', 1))

    done = run("verify-receipt", receipt)

    assert done.returncode == 1
    assert "was changed" in done.stdout


def test_a_key_that_is_none_is_told_in_words(receipt: Path) -> None:
    done = run("verify-receipt", receipt, "--key", "abc")

    assert done.returncode == 2
    assert "Traceback" not in done.stderr
