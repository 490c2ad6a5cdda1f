"""Faults that can be switched on: slow answers, lost answers, saved errors, twisted webhooks."""

import random
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from settlement.simulators.payment.answers import Document, malformed
from settlement.simulators.payment.desk import Call

PERCENT = 100
LATENCY_MOST_MS = 60_000


@dataclass(frozen=True)
class Faults:
    latency_ms: int = 0
    """Added to every API answer."""
    timeout_percent: int = 0
    """The work is done and kept, but no answer comes."""
    error_percent: int = 0
    """A 500 without the work; an idempotency key remembers it."""
    error_after_percent: int = 0
    """A 500 although the work was done; an idempotency key remembers it."""
    duplicate_webhooks_percent: int = 0
    reordered_webhooks_percent: int = 0
    """The event waits until later ones have overtaken it."""


NAMES = tuple(field.name for field in fields(Faults))


def read(body: Any, before: Faults) -> Faults:
    """The faults after a change; what is not named stays as it is.

    Raises:
        Refusal: A name is unknown or a number is out of bounds.
    """
    if not isinstance(body, dict):
        raise malformed("The body must be a JSON object.")
    for name, value in body.items():
        most = LATENCY_MOST_MS if name == "latency_ms" else PERCENT
        if name not in NAMES or type(value) is not int or not 0 <= value <= most:
            raise malformed(
                f"{str(name)[:40]} must be a known fault and a whole number of 0 to {most}.", str(name)[:40]
            )
    return replace(before, **body)


class Mischief:
    """The faults that are on, kept in the database, and how often each has struck."""

    def __init__(self) -> None:
        self.faults = Faults()
        self._is_loaded = False

    async def load(self, call: Call) -> Faults:
        if not self._is_loaded:
            stored = await call.connection.fetchval("SELECT value FROM state WHERE name = 'faults'")
            self.faults = Faults(**(stored or {}))
            self._is_loaded = True
        return self.faults

    async def change(self, call: Call, faults: Faults) -> None:
        await self._keep(call, "faults", asdict(faults))
        self.faults = faults

    async def counters(self, call: Call) -> Document:
        stored = await call.connection.fetchval("SELECT value FROM state WHERE name = 'struck'")
        return dict.fromkeys(NAMES, 0) | (stored or {})

    def strikes(self, name: str) -> bool:
        percent: int = getattr(self.faults, name)
        return random.randrange(PERCENT) < percent

    async def count(self, call: Call, name: str) -> None:
        await call.connection.execute(
            "INSERT INTO state VALUES ('struck', jsonb_build_object($1::text, 1)) ON CONFLICT (name) DO UPDATE"
            " SET value = state.value || jsonb_build_object($1::text, coalesce((state.value->>$1)::bigint, 0) + 1)",
            name,
        )

    @staticmethod
    async def _keep(call: Call, name: str, value: Document) -> None:
        await call.connection.execute(
            "INSERT INTO state VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, value
        )
