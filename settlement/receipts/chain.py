"""The steps of a receipt: each has the hash of the one before, taken over the bytes that are kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

import msgspec

Facts = Mapping[str, str | int | None]
"""What a step says. Numbers that may pass 2^53 are text, so that no reader of JSON rounds them."""

START = bytes(32)
"""What the first step is bound to."""
LARGEST = 2**53 - 1
KINDS: Mapping[str, str] = {
    "order": "the order was placed",
    "match": "it met another order",
    "hold": "what it gives was set aside",
    "delivery": "what was bought was moved",
    "payment": "the trade was paid",
    "refund": "the trade was not delivered, and both sides have their own again",
    "reopened": "the trade was opened again",
    "reopening_ended": "what it was opened again for was settled",
    "payout": "the provider paid money from the seller's wallet out",
}
"""The kinds of steps, and what each says happened."""
OPENING = ("order", "match", "hold")
"""The steps that every receipt begins with."""

encode = msgspec.json.Encoder(order="sorted").encode
"""The one form in which anything of a receipt is hashed or signed: names sorted, no blanks, UTF-8."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that happened. ``kind`` and ``reference`` tell it from every other of its trade."""

    kind: str
    reference: str
    says: Facts


@dataclass(frozen=True, slots=True)
class Step:
    """A fact in its place: ``body`` are the bytes that are kept, ``hash`` is taken over ``former`` and them."""

    number: int
    kind: str
    reference: str
    body: bytes
    former: bytes
    hash: bytes


def hash_of(former: bytes, body: bytes) -> bytes:
    return sha256(former + body).digest()


def extended(steps: Sequence[Step], facts: Sequence[Fact]) -> list[Step]:
    """The steps, and after them those of the facts that have none yet; what is there is never changed.

    Raises:
        ValueError: a number is too big to be told as one.
    """
    known = {(step.kind, step.reference) for step in steps}
    found = list(steps)
    for fact in facts:
        if (fact.kind, fact.reference) not in known:
            found.append(_step(found, fact))
    return found


def _step(steps: Sequence[Step], fact: Fact) -> Step:
    assert fact.kind in KINDS, fact.kind
    for name, value in fact.says.items():
        if isinstance(value, int) and abs(value) > LARGEST:
            msg = f"{name} is {value}, which JSON's readers would round: tell it as text."
            raise ValueError(msg)
    former = steps[-1].hash if steps else START
    body = encode({**fact.says, "kind": fact.kind, "reference": fact.reference})
    return Step(len(steps) + 1, fact.kind, fact.reference, body, former, hash_of(former, body))
