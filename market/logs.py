"""Logs of the programs: JSON lines on standard error. They name things by id; no number and no secret reaches them."""

import contextlib
import logging
import sys
from typing import TextIO, cast

import structlog


class Lenient:
    """A stream whose reader may be gone. A line that nobody can read any more must not fail what it tells of."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, line: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(line)
        return len(line)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


def lines_to(stream: TextIO) -> structlog.PrintLoggerFactory:
    """Write log lines to a stream, for as long as somebody reads it."""
    return structlog.PrintLoggerFactory(cast("TextIO", Lenient(stream)))


def configure() -> None:
    """Set the form of every log line of this process."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lines_to(sys.stderr),
    )
