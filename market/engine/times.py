"""Times as the engine counts them: microseconds since the epoch, never a float."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ONE = timedelta(microseconds=1)


def moment(microseconds: int) -> datetime:
    """An aware time from microseconds since the epoch."""
    return EPOCH + timedelta(microseconds=microseconds)


def microseconds(at: datetime) -> int:
    """Microseconds since the epoch."""
    return (at - EPOCH) // _ONE
