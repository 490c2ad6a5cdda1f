"""The real-name check: the carrier says whether a number is registered to a name and a document; only that is kept."""

import re
import unicodedata
from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from market import audit, limits, notices, step_up
from market.allowances import born_on, comes_of_age
from market.custody import SHANGHAI
from market.limits import Limit
from market.parties import Member
from market.refusals import BadInput, NotAllowed, Unavailable
from market.trust_tables import IdentityRow
from market.venue import Venue
from settlement.carriers.errors import CarrierError, CarrierRefused

CHECKS_OF_A_PARTY = Limit("name checks of a party", count=5, seconds=86_400)
"""Nobody finds out a stranger's document by trying."""
MOST_PARTIES = 5
"""A person holds at most so many numbers of a carrier."""
NAME_CHARACTERS = 60
DOCUMENT = re.compile(r"[0-9A-Z]{6,20}")


async def check_name(venue: Venue, member: Member, name: str, document: str) -> IdentityRow:
    """Ask the carrier of the member's line whether it is registered to this name and document.

    Raises:
        BadInput: the name or the document can't be one.
        NotAllowed: the carrier says no, can't say, or the document has too many accounts.
        LimitReached: it was tried too often.
        Unavailable: the carrier does not answer; nothing was counted as a no.
    """
    shown = " ".join(unicodedata.normalize("NFC", name).split())
    if not 1 < len(shown) <= NAME_CHARACTERS or not shown.isprintable():
        raise BadInput("Please enter your name as your carrier has it.", field="name")
    number = re.sub(r"[\s-]", "", unicodedata.normalize("NFKC", document)).upper()
    if not DOCUMENT.fullmatch(number):
        raise BadInput("Please enter the number of your document, letters and digits alone.", field="document")
    line = await step_up.vouching_line(venue, member)
    if line is None:
        raise NotAllowed("You have no active line that your carrier could vouch for.", code="no_line")
    await limits.take(venue.redis, venue.vault, CHECKS_OF_A_PARTY.of(str(member.party_id)))

    await _ask(venue, line.carrier, venue.vault.open(line.number_sealed), shown, number)

    born, today = born_on(number), datetime.now(UTC).astimezone(SHANGHAI).date()
    grown_up = comes_of_age(born) if born else None
    values = {
        "line_id": line.id,
        "document_hash": venue.vault.lookup(f"document {number}"),
        "minor_until": grown_up if grown_up and grown_up > today else None,
        "checked_at": func.now(),
    }
    async with venue.sessions.begin() as session:
        others = select(func.count()).select_from(IdentityRow)
        others = others.where(
            IdentityRow.document_hash == values["document_hash"], IdentityRow.party_id != member.party_id
        )
        if int(await session.scalar(others) or 0) >= MOST_PARTIES:
            raise NotAllowed("Too many accounts were opened with this document. Please write to us.", code="too_many")
        made = insert(IdentityRow).values(party_id=member.party_id, **values)
        await session.execute(made.on_conflict_do_update(index_elements=["party_id"], set_=values))
        await notices.tell(session, member.party_id, "name_checked", about="/settings")
        await audit.append(
            session, audit.party(member.party_id), "name_checked", f"line:{line.id}", {"outcome": "match"}
        )
        return await session.get_one(IdentityRow, member.party_id)


async def _ask(venue: Venue, carrier: str, msisdn: str, name: str, document: str) -> None:
    """Let a match pass; whatever else the carrier says is a refusal, and its silence none."""
    port = venue.carriers.get(carrier)
    if port is None or not port.capabilities.name_match:
        raise NotAllowed("Your carrier does not check names for us.", code="name_not_checked")
    try:
        found = await port.kyc_match(msisdn, name, document)
    except CarrierRefused as refused:
        raise NotAllowed("Your carrier does not check names for this line.", code="name_not_checked") from refused
    except CarrierError as error:
        raise Unavailable("Your carrier does not answer just now. Please try again later.") from error
    if found.name is None or found.id_document is None:
        raise NotAllowed("Your carrier has no name or document on record for this line.", code="name_not_checked")
    if not (found.name and found.id_document):
        raise NotAllowed(
            "Your line is not registered to this name and document. Please check both.",
            code="name_mismatch",
            field="document",
        )
