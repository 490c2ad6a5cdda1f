"""Checks a receipt by its own bytes alone: no database, no settings, nobody is asked."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from settlement.receipts.chain import KINDS, OPENING, START, encode, hash_of
from settlement.receipts.document import (
    FORM,
    KEY_BYTES,
    Document,
    Receipt,
    Signature,
    WrittenStep,
    in_writing,
    key_id,
    signed_bytes,
)

LONGEST_BYTES = 1_000_000
SIDES = {"buy": "buyer", "sell": "seller"}

_decode = msgspec.json.Decoder(Document).decode


class NotAKey(ValueError):
    """What was given as the market's public key is none."""


class PublishedKey(msgspec.Struct, frozen=True):
    """A public key as the market publishes it."""

    public_key: str


class Published(msgspec.Struct, frozen=True):
    """What the market publishes at /.well-known/surplusflow-receipts.json."""

    keys: list[PublishedKey]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found, in words for whoever holds the file; it is sound when nothing is wrong."""

    lines: Sequence[str]
    faults: Sequence[str]

    @property
    def is_sound(self) -> bool:
        return not self.faults


def verify(data: bytes, trusted: Collection[bytes] | None = None) -> Verdict:
    """Check the bytes of a receipt; with ``trusted``, the public keys of the market, also who signed it."""
    document = _read(data)
    if document is None:
        return Verdict([], ["This is not a receipt, or it was damaged: it cannot be read."])
    receipt, signature = document.receipt, document.signature
    lines, faults = [f"Receipt of {receipt.trade} for its {SIDES.get(receipt.side, receipt.side)}."], []

    if receipt.form != FORM or receipt.side not in SIDES:
        faults.append(f"It is of another form than {FORM}.")
    if in_writing(document) != data:
        faults.append("It is not written as it was issued.")
    for step, wrong in zip(receipt.steps, _wrong_steps(receipt), strict=True):
        lines.append(_words(step, wrong))
        faults += [f"Step {step.number} {fault}." for fault in wrong]
    if tuple(step.body.get("kind") for step in receipt.steps[: len(OPENING)]) != OPENING:
        faults.append("It does not begin with order, match and hold.")
    if not _is_signed(receipt, signature):
        faults.append("The signature does not fit what is signed.")
    elif trusted is not None and bytes.fromhex(signature.public_key) not in trusted:
        faults.append(f"It is signed by key {signature.key}, which is none of the market's.")

    return Verdict(lines, faults)


def keys_in(text: str) -> set[bytes]:
    """The public keys in a text: the JSON that the market publishes, or one key in hexadecimal a line.

    Raises:
        NotAKey: there is none in it, or something that is none.
    """
    try:
        if text.lstrip().startswith("{"):
            named = [key.public_key for key in msgspec.json.decode(text, type=Published).keys]
        else:
            named = text.split()
        keys = {bytes.fromhex(name) for name in named}
    except ValueError as error:
        raise NotAKey("The key is neither hexadecimal nor what the market publishes.") from error
    if not keys or any(len(key) != KEY_BYTES for key in keys):
        raise NotAKey(f"A public key has {KEY_BYTES} bytes, that is {2 * KEY_BYTES} hexadecimal digits.")
    return keys


def main(path: Path, key: str | None) -> Verdict:
    """Check a file; ``key`` is a public key in hexadecimal, or a file with the market's keys.

    Raises:
        NotAKey: the key can't be read.
    """
    trusted = None if key is None else keys_in(_text_of(key))
    with path.open("rb") as file:
        data = file.read(LONGEST_BYTES + 1)
    verdict = verify(data, trusted)
    if not verdict.is_sound:
        return Verdict([*verdict.lines, *verdict.faults, "This receipt is NOT sound."], verdict.faults)
    return Verdict([*verdict.lines, *_closing(_decode(data).signature, known=trusted is not None)], ())


def _read(data: bytes) -> Document | None:
    if len(data) > LONGEST_BYTES:
        return None
    try:
        return _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _wrong_steps(receipt: Receipt) -> list[list[str]]:
    """What is wrong with each step, given the one before."""
    former, found = START.hex(), []
    for number, step in enumerate(receipt.steps, start=1):
        wrong = []
        if step.number != number:
            wrong.append(f"stands in place {number}")
        if step.former != former:
            wrong.append("does not follow the step before")
        if step.hash != hash_of(START if number == 1 else _bytes(former), encode(step.body)).hex():
            wrong.append("was changed: it does not have the hash of what it says")
        if step.body.get("kind") not in KINDS:
            wrong.append("is of no known kind")
        former = step.hash
        found.append(wrong)
    return found


def _is_signed(receipt: Receipt, signature: Signature) -> bool:
    public_key, value = _bytes(signature.public_key), _bytes(signature.value)
    if (public_key.hex(), value.hex()) != (signature.public_key, signature.value):
        return False
    if key_id(public_key) != signature.key:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(value, signed_bytes(receipt))
    except (InvalidSignature, ValueError):
        return False
    return True


def _bytes(text: str) -> bytes:
    """Hexadecimal that somebody else wrote; nothing when it is none."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


def _words(step: WrittenStep, wrong: Sequence[str]) -> str:
    kind = str(step.body.get("kind"))
    said = ", ".join(
        f"{name} {value}"
        for name, value in sorted(step.body.items())
        if name not in {"kind", "at"} and value is not None
    )
    state = "WRONG" if wrong else "holds"
    return f"  {state} {step.number}. {step.body.get('at')}: {KINDS.get(kind, kind)} ({said})"


def _closing(signature: Signature, *, known: bool) -> list[str]:
    if known:
        return [f"This receipt is sound, and signed by the market's key {signature.key}."]
    return [
        f"This receipt is consistent, and signed by key {signature.key}.",
        f"Compare this public key with the one that the market publishes: {signature.public_key}",
    ]


def _text_of(key: str) -> str:
    try:
        path = Path(key)
        return path.read_text(encoding="utf-8") if path.is_file() else key
    except (OSError, UnicodeDecodeError) as error:
        raise NotAKey("The file with the key cannot be read.") from error
