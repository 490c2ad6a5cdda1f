"""Passkeys: kept by their public half, asked with a challenge that is good once, bound to this site's own address."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import base64url_to_bytes
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from market import audit, challenges, notices, step_up
from market.challenges import WrongPasskey
from market.parties import Member, as_member
from market.purses import lock_party
from market.refusals import BadInput, NotAllowed, NotFound
from market.settings import Settings
from market.tables import PartyRow
from market.trust_tables import PasskeyRow
from market.venue import Venue

MOST_PASSKEYS = 10
NAME_CHARACTERS = 40
ANYBODY = "anybody"
"""What a challenge is for that no member has asked for yet."""
NAME = "Surplusflow"


@dataclass(frozen=True, slots=True)
class Site:
    """What a passkey is bound to: the site's name, and the one address that it is used from."""

    id: str
    origin: str


def site_of(settings: Settings) -> Site:
    """The site as browsers know it. An address without a name has no passkeys, so a demonstration uses localhost."""
    address = urlsplit(settings.public_url)
    if settings.is_production or address.hostname not in {"127.0.0.1", "::1"}:
        return Site(address.hostname or "", f"{address.scheme}://{address.netloc}")
    return Site("localhost", f"{address.scheme}://localhost" + (f":{address.port}" if address.port else ""))


async def passkeys(session: AsyncSession, member: Member) -> Sequence[PasskeyRow]:
    """The member's passkeys, the oldest first."""
    own = select(PasskeyRow).where(PasskeyRow.party_id == member.party_id)
    return list(await session.scalars(own.order_by(PasskeyRow.id).limit(MOST_PASSKEYS)))


async def has_passkey(session: AsyncSession, member: Member) -> bool:
    return (
        await session.scalar(select(PasskeyRow.id).where(PasskeyRow.party_id == member.party_id).limit(1)) is not None
    )


# Making one.


async def begin_registration(venue: Venue, member: Member, client: str) -> str:
    """What the browser is asked to make a passkey by, as JSON.

    Raises:
        StepUpNeeded: the session has to prove itself first.
        NotAllowed: the member has enough of them.
        LimitReached: too often.
    """
    await step_up.demand(venue, member, step_up.PASSKEY)
    async with venue.sessions() as session:
        known = await passkeys(session, member)
    _check_number(len(known))
    options = generate_registration_options(
        rp_id=site_of(venue.settings).id,
        rp_name=NAME,
        user_name=member.name,
        user_id=venue.vault.lookup(f"passkey user {member.party_id}"),
        challenge=await challenges.issue(venue, f"register {member.party_id}", client),
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=each.credential_id) for each in known],
    )
    return options_to_json(options)


async def register(venue: Venue, member: Member, response: str, name: str) -> PasskeyRow:
    """Keep the passkey that the browser has made.

    Raises:
        StepUpNeeded: the session has to prove itself first.
        BadInput: the answer does not hold, or the name is too long.
        NotAllowed: the member has enough passkeys.
    """
    await step_up.demand(venue, member, step_up.PASSKEY)
    name = _checked_name(name)
    sent = challenges.decoded(response)
    challenge = await challenges.spend(venue, sent, f"register {member.party_id}")
    site = site_of(venue.settings)
    try:
        made = verify_registration_response(
            credential=dict(sent), expected_challenge=challenge, expected_rp_id=site.id, expected_origin=site.origin,
            require_user_verification=True,
        )  # fmt: skip
    except WebAuthnException as error:
        raise BadInput("This passkey could not be added. Please try again.", code="wrong_passkey") from error
    async with venue.sessions.begin() as session:
        await lock_party(session, member)
        own = select(func.count()).select_from(PasskeyRow).where(PasskeyRow.party_id == member.party_id)
        _check_number(int(await session.scalar(own) or 0))
        if await session.scalar(select(PasskeyRow.id).where(PasskeyRow.credential_id == made.credential_id)):
            raise BadInput("This passkey is in use already.", code="wrong_passkey")
        row = PasskeyRow(
            party_id=member.party_id, name=name, credential_id=made.credential_id, sign_count=made.sign_count,
            public_key=made.credential_public_key,
        )  # fmt: skip
        session.add(row)
        await session.flush()
        await notices.tell(session, member.party_id, "passkey_added", about="/settings/passkeys", name=name)
        await _note(session, member, "passkey_added", row.id)
    return row


# Using one.


async def begin_use(venue: Venue, client: str, member: Member | None = None) -> str:
    """What the browser is asked to use a passkey by, as JSON: any of this site's, or one of the member's own.

    Raises:
        LimitReached: too often.
    """
    allowed: list[PublicKeyCredentialDescriptor] = []
    if member is not None:
        async with venue.sessions() as session:
            allowed = [PublicKeyCredentialDescriptor(id=each.credential_id) for each in await passkeys(session, member)]
    options = generate_authentication_options(
        rp_id=site_of(venue.settings).id,
        challenge=await challenges.issue(venue, ANYBODY if member is None else f"prove {member.party_id}", client),
        allow_credentials=allowed,
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return options_to_json(options)


async def sign_in(venue: Venue, response: str) -> Member:
    """Let in the member whose passkey has answered.

    Raises:
        WrongPasskey: the answer does not hold, or the passkey is not known.
    """
    sent = challenges.decoded(response)
    challenge = await challenges.spend(venue, sent, ANYBODY)
    async with venue.sessions.begin() as session:
        row = await _used(session, venue, sent, challenge)
        party = await session.get_one(PartyRow, row.party_id)
        party.last_signed_in_at = datetime.now(UTC)
        detail: audit.Detail = {"passkey": row.id}
        await audit.append(session, audit.party(party.id), "sign_in", f"passkey:{row.id}", detail)
    return as_member(party)


async def prove(venue: Venue, member: Member, response: str) -> None:
    """Take the answer of one of the member's own passkeys.

    Raises:
        WrongPasskey: it does not hold, or it is somebody else's.
    """
    sent = challenges.decoded(response)
    challenge = await challenges.spend(venue, sent, f"prove {member.party_id}")
    async with venue.sessions.begin() as session:
        row = await _used(session, venue, sent, challenge)
        if row.party_id != member.party_id:
            raise WrongPasskey


async def _used(session: AsyncSession, venue: Venue, sent: Mapping[str, Any], challenge: bytes) -> PasskeyRow:
    """The passkey behind an answer, once its signature and its count hold."""
    try:
        credential_id = base64url_to_bytes(str(sent.get("rawId", "")))
    except ValueError as error:
        raise WrongPasskey from error
    row = await session.scalar(
        select(PasskeyRow).where(PasskeyRow.credential_id == credential_id).with_for_update(key_share=True)
    )
    if row is None:
        raise WrongPasskey
    site = site_of(venue.settings)
    try:
        verified = verify_authentication_response(
            credential=dict(sent), expected_challenge=challenge, expected_rp_id=site.id, expected_origin=site.origin,
            credential_public_key=row.public_key, credential_current_sign_count=row.sign_count,
            require_user_verification=True,
        )  # fmt: skip
    except WebAuthnException as error:
        raise WrongPasskey from error
    row.sign_count, row.last_used_at = verified.new_sign_count, datetime.now(UTC)
    return row


# Keeping them.


async def rename(venue: Venue, member: Member, passkey_id: int, name: str) -> None:
    """Give a passkey another name.

    Raises:
        NotFound: there is no such passkey of this member.
        BadInput: the name is too long.
    """
    named = update(PasskeyRow).where(PasskeyRow.id == passkey_id, PasskeyRow.party_id == member.party_id)
    async with venue.sessions.begin() as session:
        done = await session.execute(named.values(name=_checked_name(name)).returning(PasskeyRow.id))
        if not done.all():
            raise NotFound("There is no such passkey.")


async def remove(venue: Venue, member: Member, passkey_id: int) -> None:
    """Forget a passkey; from then on it opens nothing.

    Raises:
        StepUpNeeded: the session has to prove itself first.
        NotFound: there is no such passkey of this member.
    """
    await step_up.demand(venue, member, step_up.PASSKEY)
    own = delete(PasskeyRow).where(PasskeyRow.id == passkey_id, PasskeyRow.party_id == member.party_id)
    async with venue.sessions.begin() as session:
        name = await session.scalar(own.returning(PasskeyRow.name))
        if name is None:
            raise NotFound("There is no such passkey.")
        await notices.tell(session, member.party_id, "passkey_removed", about="/settings/passkeys", name=name)
        await _note(session, member, "passkey_removed", passkey_id)


async def _note(session: AsyncSession, member: Member, action: str, passkey_id: int) -> None:
    await audit.append(session, audit.party(member.party_id), action, f"passkey:{passkey_id}", {})


def _check_number(known: int) -> None:
    if known >= MOST_PASSKEYS:
        raise NotAllowed(f"You have {MOST_PASSKEYS} passkeys, which is the most. Remove one first.")


def _checked_name(name: str) -> str:
    shown = " ".join(name.split()) or NAME
    if len(shown) > NAME_CHARACTERS or not shown.isprintable():
        raise BadInput(f"Please enter a name of at most {NAME_CHARACTERS} characters.", field="name")
    return shown
