"""What an operator does by hand with a whole file: listing instruments and rules."""

import asyncio
from datetime import UTC, datetime

from market import listing
from market.database import connect, sessions
from market.settings import Settings


def list_programme(settings: Settings, content: str) -> str:
    """List what a TOML file names, all of it or nothing; gives a line that says what was done.

    Raises:
        BadInput: the file can't be listed.
    """
    read = listing.programme(content)
    asyncio.run(_list(settings, read))
    return f"Listed {len(read.instrument)} instruments and {len(read.rules)} rule profiles."


async def _list(settings: Settings, read: listing.Programme) -> None:
    engine = connect(settings.database_url, pool_size=1)
    try:
        async with sessions(engine).begin() as session:
            await listing.found(session, settings.currency)
            for rules in read.rules:
                await listing.enact(session, rules)
            for one in read.instrument:
                await listing.list_instrument(session, one, settings.currency, datetime.now(UTC))
    finally:
        await engine.dispose()
