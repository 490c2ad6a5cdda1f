"""Proving who one is: a code to one's own line, a name that the carrier knows; and leaving for good."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from market import parties, step_up
from market.codes import WrongCode
from market.erasing import StillOpen, erase
from market.limits import LimitReached
from market.own_data import export
from market.parties import Member
from market.real_name import CHECKS_OF_A_PARTY, check_name
from market.refusals import BadInput, NotAllowed, NotSignedIn, Unavailable
from market.step_up import StepUpNeeded
from market.trust import trust_of
from market.withdrawals import withdraw
from settlement.carriers.client import Carrier
from tests.market.town import Town, a_key

NAME, DOCUMENT = "王小明", "440101199001011234"


def at_a_page(member: Member) -> Member:
    """The member behind a session that has proved nothing lately."""
    return replace(member, proved_until={})


async def test_a_code_to_the_members_own_line_proves_who_it_is(town: Town) -> None:
    number = await town.line()
    member = await town.enter(number)

    ticket = await step_up.send_code(town.venue, member, town.client)
    await step_up.check_code(town.venue, member, ticket, await town.code_of(number))

    assert await step_up.masked_line(town.venue, member) == f"{number[3:6]}****{number[-4:]}"


async def test_a_code_to_another_phone_proves_nothing(town: Town) -> None:
    theirs = await town.line()
    other = await town.enter(theirs)
    member = await town.a_member()
    ticket = await step_up.send_code(town.venue, other, town.client)

    with pytest.raises(WrongCode):
        await step_up.check_code(town.venue, member, ticket, await town.code_of(theirs))


async def test_codes_that_prove_have_the_limits_of_signing_in(town: Town) -> None:
    member = await town.a_member()
    for _ in range(3):
        await step_up.send_code(town.venue, member, town.client)

    with pytest.raises(LimitReached):
        await step_up.send_code(town.venue, member, town.client)


async def test_no_money_leaves_without_proof(town: Town) -> None:
    member = await town.a_member()
    await town.put(member.party_id, "CNY", 5_000)

    with pytest.raises(StepUpNeeded):
        await withdraw(town.venue, at_a_page(member), 1_000, a_key())


# The real name.


async def test_a_name_that_the_carrier_confirms_raises_the_limits_and_leaves_no_document(town: Town) -> None:
    member = await town.a_member()

    await check_name(town.venue, member, f"  {NAME} ", "440101 19900101 1234")

    async with town.venue.sessions() as session:
        found = await trust_of(session, town.venue.settings, member)
    assert (found.level, found.is_minor) == (3, False)
    (row,) = await town.rows("select * from identity where party_id = :party", party=member.party_id)
    assert not any(DOCUMENT.encode() in bytes(str(value), "utf-8") or value == NAME for value in row)
    assert len(row.document_hash) == 32


@pytest.mark.parametrize(("name", "document"), [("王小红", DOCUMENT), (NAME, "440101199001011235")])
async def test_a_name_or_document_that_is_not_the_lines_is_refused(town: Town, name: str, document: str) -> None:
    member = await town.a_member()

    with pytest.raises(NotAllowed) as refused:
        await check_name(town.venue, member, name, document)

    assert refused.value.code == "name_mismatch"
    assert not await town.rows("select 1 from identity where party_id = :party", party=member.party_id)


@pytest.mark.parametrize(
    ("name", "document", "field"), [("", DOCUMENT, "name"), ("王\x00明", DOCUMENT, "name"), (NAME, "1+1", "document")]
)
async def test_what_can_be_no_name_or_document_is_refused_beside_its_field(
    town: Town, name: str, document: str, field: str
) -> None:
    with pytest.raises(BadInput) as refused:
        await check_name(town.venue, await town.a_member(), name, document)

    assert refused.value.field == field


async def test_documents_are_not_found_by_trying(town: Town) -> None:
    member = await town.a_member()
    for number in range(CHECKS_OF_A_PARTY.count):
        with pytest.raises(NotAllowed):
            await check_name(town.venue, member, NAME, f"44010119900101{number:04d}")

    with pytest.raises(LimitReached):
        await check_name(town.venue, member, NAME, DOCUMENT)


async def test_a_carrier_that_is_away_is_no_no(town: Town) -> None:
    member = await town.a_member()
    async with Carrier(replace(town.venue.carriers["CMCC"].profile, base_url="http://127.0.0.1:1")) as gone:
        cut_off = replace(town.venue, carriers={**town.venue.carriers, "CMCC": gone})

        with pytest.raises(Unavailable):
            await check_name(cut_off, member, NAME, DOCUMENT)


async def test_a_document_of_somebody_under_age_makes_a_minors_account(town: Town) -> None:
    born = f"{datetime.now(UTC).year - 15}0601"
    document = f"440101{born}1234"
    member = await town.enter(await town.line(id_document=document))

    row = await check_name(town.venue, member, NAME, document)

    assert row.minor_until is not None
    async with town.venue.sessions() as session:
        assert (await trust_of(session, town.venue.settings, member)).is_minor


# Leaving.


async def test_who_leaves_is_erased_and_begins_anew_with_the_same_number(town: Town) -> None:
    number = await town.line()
    member = await town.enter(number)
    await check_name(town.venue, member, NAME, DOCUMENT)

    await erase(town.venue, member)

    (line,) = await town.rows("select * from line where party_id = :party", party=member.party_id)
    assert (town.venue.vault.open(line.number_sealed), line.state) == ("", "closed")
    assert line.number_hash != town.venue.vault.lookup(number)
    assert not await town.rows("select 1 from identity where party_id = :party", party=member.party_id)
    async with town.venue.sessions() as session:
        with pytest.raises(NotSignedIn):
            await parties.member(session, member.party_id)
    assert (await town.enter(number)).party_id != member.party_id


@pytest.mark.parametrize(("asset", "reason"), [("CNY", "money"), ("COIN", "goods")])
async def test_who_still_has_something_stays(town: Town, asset: str, reason: str) -> None:
    member = await town.a_member()
    await town.put(member.party_id, asset, 1)

    with pytest.raises(StillOpen) as refused:
        await erase(town.venue, member)

    assert refused.value.reasons == [reason]


async def test_leaving_and_taking_everything_along_ask_for_proof(town: Town) -> None:
    member = at_a_page(await town.a_member())

    for asked in (erase(town.venue, member), export(town.venue, member)):
        with pytest.raises(StepUpNeeded):
            await asked


async def test_an_export_tells_the_members_own_number(town: Town) -> None:
    number = await town.line()
    member = await town.enter(number)

    told = b"".join([part async for part in await export(town.venue, member)])

    assert number.encode() in told
