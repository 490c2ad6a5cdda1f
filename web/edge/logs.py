"""JSON logs: one line a request, with names of things and never their values."""

import logging
import sys
from typing import TextIO

import structlog

from market.logs import lines_to


def configure_logs(to: TextIO | None = None) -> None:
    """Write JSON lines, to standard error unless told otherwise.

    JSON escapes every control character, so that no value can forge a line.
    """
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(ensure_ascii=True),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lines_to(to or sys.stderr),
        cache_logger_on_first_use=False,
    )
