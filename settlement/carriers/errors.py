"""What can go wrong with a carrier, as one tree.

CarrierError
├── CarrierRefused          the carrier said no: nothing happened on this attempt, and nothing will
├── CarrierDuplicate        the carrier already knows our id: look at what it did, never send under a new id
├── CarrierUnknown          the outcome is not known: wait out the longest flight, then ask for our id
│   └── CarrierUnreachable  no byte left: this attempt cannot land
└── CarrierMismatch         the carrier answered something else than we asked: stop, a person looks
"""


class CarrierError(Exception):
    """Anything that keeps a carrier's answer from being the one we asked for."""


class CarrierRefused(CarrierError):
    """A definite refusal of this attempt; an earlier attempt under the same id may still be alive."""

    def __init__(self, code: str, message: str, status: int = 0) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message


class CarrierDuplicate(CarrierError):
    """The carrier holds something under our id already; the port fetches and compares it."""


class CarrierUnknown(CarrierError):
    """It may or may not have happened. `evidence` is the start of the answer, with long numbers masked."""

    def __init__(self, reason: str, evidence: str = "") -> None:
        super().__init__(f"{reason} [{evidence}]" if evidence else reason)
        self.reason = reason
        self.evidence = evidence


class CarrierUnreachable(CarrierUnknown):
    """No connection came about, so nothing was sent and nothing can land late."""


class CarrierMismatch(CarrierError):
    """The answer contradicts the instruction or makes no sense: a break to be looked at by a person."""


class ForgedPush(Exception):
    """Something posted to us as a carrier's push is not the carrier's, too old, or makes no sense."""
