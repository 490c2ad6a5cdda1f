"""Idempotency keys as clients choose them: their form, and the refusal of one that is used twice."""

from market.refusals import BadInput, KeyReused

KEY_CHARACTERS = 255


def check_key(key: str) -> None:
    """Refuse what can't be kept or shown as a key."""
    if not 1 <= len(key) <= KEY_CHARACTERS or not key.isprintable():
        raise BadInput("The idempotency key must be 1 to 255 printable characters.", field="idempotency_key")


def reused() -> KeyReused:
    return KeyReused("This key was used for another request. Use a new key for a new request.")
