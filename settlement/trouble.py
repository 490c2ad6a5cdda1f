"""What the database can do to us: trouble that passes, and refusals that stay."""

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

TROUBLE = (DBAPIError, PoolTimeoutError, OSError)
"""Lost connections, restarts, deadlocks, time-outs: try again a little later."""

LASTING = (IntegrityError, DataError, ProgrammingError)
"""Of these, what will not go away by trying again."""


def words(error: Exception) -> str:
    """What went wrong, without the statement and the values that it was about."""
    return f"{type(error).__name__}: {getattr(error, 'orig', None) or error}"[:300]
