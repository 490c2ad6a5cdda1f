"""Who is in which group of the fee schedule, as the operator says."""

import re
from collections.abc import Sequence

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from market import audit
from market.database import connect, sessions
from market.fees import GROUP, KINDS
from market.numbers import canonical_number
from market.parties import line_of_number
from market.refusals import BadInput
from market.settings import Settings
from market.tables import PartyRow
from market.vault import Vault, mask


async def set_group(settings: Settings, group: str | None, phones: Sequence[str], partner_ids: Sequence[int]) -> int:
    """Put parties into a group of the schedule, out of the one they are in; None only takes them out of it.

    Orders that are open keep their fee. Gives how many parties there were.

    Raises:
        BadInput: nobody is named, the group's name is none, a number takes no part, or there is no such partner;
            nothing is changed.
    """
    if group is not None and (group in KINDS or not re.match(GROUP, group)):
        raise BadInput("A group's name has 2 to 32 of the characters a-z, 0-9 and -, and is no kind of party.")
    if not phones and not partner_ids:
        raise BadInput("Name a phone or a partner.")
    vault, engine = Vault(settings.secret_key), connect(settings.database_url, pool_size=2)
    try:
        async with sessions(engine).begin() as session:
            members = {await _owner(session, vault, canonical_number(phone)) for phone in phones}
            members |= {await _partner(session, number) for number in partner_ids}
            await session.execute(update(PartyRow).where(PartyRow.id.in_(members)).values(fee_group=group))
            for party_id in sorted(members):
                await audit.append(session, "operator", "set_fee_group", audit.party(party_id), {"group": group})
    finally:
        await engine.dispose()
    return len(members)


async def _owner(session: AsyncSession, vault: Vault, msisdn: str) -> int:
    line = await line_of_number(session, vault, msisdn)
    if line is None:
        raise BadInput(f"{mask(msisdn)} takes no part in this market.", field="phone")
    return line.party_id


async def _partner(session: AsyncSession, number: int) -> int:
    found: int | None = await session.scalar(
        select(PartyRow.id).where(PartyRow.id == number, PartyRow.kind == "partner")
    )
    if found is None:
        raise BadInput(f"There is no partner {number}.", field="partner")
    return found
