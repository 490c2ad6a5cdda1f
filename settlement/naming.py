"""The names that our instructions carry at carriers and at the payment provider."""

import re

LONGEST = 64


def external_id(mark: str, kind: str, subject_id: int) -> str:
    """The id under which the outside knows one thing we asked for; it is the idempotency key as well.

    ``mark`` tells installations apart that work with the same carrier. It must never
    change while instructions are open: under another name an old one is not found again.
    """
    name = f"sf-{mark}-{kind}-{subject_id}"
    assert len(name) <= LONGEST, name
    return name


def subject_of(mark: str, name: str) -> tuple[str, int] | None:
    """The kind and the subject that one of our own names speaks of; None when the name isn't ours."""
    found = re.fullmatch(rf"sf-{re.escape(mark)}-([a-z_]+)-([0-9]{{1,18}})", name)
    return (found[1], int(found[2])) if found else None
