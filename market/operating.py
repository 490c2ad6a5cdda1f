"""What an operator does by hand with a whole file: listing instruments and rules."""

import asyncio
from datetime import UTC, datetime

from market import listing, sessions
from market.database import connect
from market.database import sessions as sessions_of
from market.settings import Settings


def list_programme(settings: Settings, content: str) -> str:
    """List what a TOML file names, all of it or nothing; says so in a line, and each session in one more.

    Raises:
        BadInput: the file can't be listed.
    """
    read = listing.programme(content)
    plans = asyncio.run(_list(settings, read))
    said = f"Listed {len(read.instrument)} instruments and {len(read.rules)} rule profiles."
    return "\n".join([said, *plans])


async def _list(settings: Settings, read: listing.Programme) -> list[str]:
    """List everything; gives a line for each session that is still to come."""
    engine = connect(settings.database_url, pool_size=2)
    try:
        async with sessions_of(engine).begin() as session:
            await listing.found(session, settings.currency)
            for rules in read.rules:
                await listing.enact(session, rules)
            for one in read.instrument:
                await listing.list_instrument(session, one, settings.currency, datetime.now(UTC))
            return await sessions.lines(session, [one.symbol for one in read.instrument])
    finally:
        await engine.dispose()
