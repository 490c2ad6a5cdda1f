"""Faults on purpose, called up by the last four digits of the receiver's number."""

from collections.abc import Mapping
from enum import StrEnum


class Fault(StrEnum):
    REFUSE = "refuse"
    FAIL_AFTER_ACCEPT = "fail_after_accept"
    LOSE_ANSWER = "lose_answer"
    """It is done, and the answer is kept back."""
    BAD_ANSWER = "bad_answer"
    """It is done, and the answer is another server's error page."""
    STRANGE_CODE = "strange_code"
    """It is done, and the answer's code is in no manual."""
    LATE = "late"
    """It is taken in only after the caller has given up."""
    LOSE_REQUEST_ONCE = "lose_request_once"
    LOSE_THEN_REFUSE = "lose_then_refuse"
    """The first request is lost, every later one refused."""
    OTHER_AMOUNT = "other_amount"
    """One MB more than asked, and the answers say so."""
    EARLY_PUSH = "early_push"
    """The status is pushed before the request is answered."""
    PUSH_TWICE = "push_twice"
    NO_PUSH = "no_push"
    WRONG_PUSH = "wrong_push"
    """The push names another amount, and success where it failed."""
    FORGED_PUSH = "forged_push"
    """Before the true push comes one under another secret."""
    STRAY_PUSH = "stray_push"
    """The push names a serial number that nobody gave."""


FAULT_OF_NUMBER: Mapping[str, Fault] = {f"8{number:03d}": fault for number, fault in enumerate(Fault, start=1)}
"""8001 is the first of them, 8002 the second, and so on."""


def fault_of(phone: str) -> Fault | None:
    return FAULT_OF_NUMBER.get(phone[-4:])
