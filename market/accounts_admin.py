"""Accounts that the operator opens by hand: officers, and partner companies with their lines and first key."""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pwdlib import PasswordHash
from sqlalchemy import select

from market import audit, partners
from market.database import connect, sessions
from market.numbers import canonical_number, issuing_carrier
from market.parties import line_of_number, line_or_invitation
from market.refusals import BadInput, Conflict
from market.settings import Settings
from market.tables import OfficerRow, PartyRow
from market.vault import Vault

LOGIN_CHARACTERS = 64
PASSWORD_CHARACTERS = 12
LONGEST_PASSWORD_CHARACTERS = 256
NAME_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class NewOfficer:
    """An officer's way in. The password is told this once."""

    id: int
    login: str
    password: str


@dataclass(frozen=True, slots=True)
class NewPartner:
    """A partner's way in. The key is told this once."""

    party_id: int
    key: str


async def create_officer(
    settings: Settings,
    login: str,
    password: str | None = None,
    role: Literal["compliance", "operations"] = "compliance",
    carrier: str | None = None,
) -> NewOfficer:
    """Let an officer sign in; without a password a random one is made.

    Raises:
        BadInput: login, password or carrier is none.
        Conflict: the login is taken.
    """
    password = secrets.token_urlsafe(PASSWORD_CHARACTERS) if password is None else password
    _check_officer(settings, login, password, carrier)
    # Argon2 is slow by design; in a thread it holds up nobody else.
    password_hash = await asyncio.to_thread(PasswordHash.recommended().hash, password)

    engine = connect(settings.database_url, pool_size=2)
    try:
        async with sessions(engine).begin() as session:
            if await session.scalar(select(OfficerRow.id).where(OfficerRow.login == login)):
                raise Conflict(f"There is an officer {login} already.", field="login")
            row = OfficerRow(login=login, password_hash=password_hash, role=role, carrier=carrier)
            session.add(row)
            await session.flush()
            detail: audit.Detail = {"role": role, "carrier": carrier}
            await audit.append(session, "house", "create_officer", audit.officer(row.id), detail)
    finally:
        await engine.dispose()
    return NewOfficer(row.id, login, password)


async def create_partner(settings: Settings, name: str, phones: Sequence[str] = ()) -> NewPartner:
    """Open an account for a company, with the lines that will receive what it buys, and its first key.

    Each line takes part once it has been signed in with: until then nobody has shown that it is theirs.

    Raises:
        BadInput: the name or a number is none.
        Conflict: a number belongs to another party.
    """
    if not 1 <= len(name.strip()) <= NAME_CHARACTERS or not name.isprintable():
        raise BadInput(f"A partner needs a name of at most {NAME_CHARACTERS} characters.", field="name")
    lines = {msisdn: _carrier_of(settings, msisdn) for msisdn in map(canonical_number, phones)}
    vault, engine = Vault(settings.secret_key), connect(settings.database_url, pool_size=2)
    try:
        async with sessions(engine).begin() as session:
            party = PartyRow(kind="partner", name=name.strip(), group_id=0)
            session.add(party)
            await session.flush()
            party.group_id = party.id
            for msisdn, carrier in sorted(lines.items()):
                if await line_of_number(session, vault, msisdn):
                    raise Conflict("One of these numbers takes part already.", field="phone")
                await line_or_invitation(session, vault, msisdn, carrier, party)
            key = await partners.issue_key(session, party.id, "first key")
            await audit.append(session, "house", "create_partner", audit.party(party.id), {"lines": len(lines)})
    finally:
        await engine.dispose()
    return NewPartner(party.id, key)


def _check_officer(settings: Settings, login: str, password: str, carrier: str | None) -> None:
    if not 1 <= len(login) <= LOGIN_CHARACTERS or not login.isprintable() or login != login.strip():
        raise BadInput(f"A login has 1 to {LOGIN_CHARACTERS} printable characters.", field="login")
    if not PASSWORD_CHARACTERS <= len(password) <= LONGEST_PASSWORD_CHARACTERS:
        raise BadInput(f"A password has at least {PASSWORD_CHARACTERS} characters.", field="password")
    if carrier is not None and carrier not in {profile.code for profile in settings.carriers}:
        raise BadInput(f"There is no carrier {carrier}.", field="carrier")


def _carrier_of(settings: Settings, msisdn: str) -> str:
    carrier = issuing_carrier(msisdn)
    if carrier not in {profile.code for profile in settings.carriers} or carrier is None:
        raise BadInput("The carrier of one of these numbers takes no part in this market.", field="phone")
    return carrier
