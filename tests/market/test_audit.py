"""The house's chain: every edit, gap, swap and cut-off tail is found, and no number ever enters it."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from market import audit
from market.audit import CHAIN, GENESIS, Anchor, Entry, broken_links, link_hash
from market.tables import AuditLinkRow
from tests.market.town import Town


def a_chain(length: int) -> list[AuditLinkRow]:
    rows: list[AuditLinkRow] = []
    former = GENESIS
    for number in range(1, length + 1):
        at = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(minutes=number)
        payload = audit.encode(Entry(at, "officer:1", "halt", "instrument:7", {"times": number}))
        rows.append(AuditLinkRow(chain=CHAIN, number=number, payload=payload, former_hash=former,
                                 hash=link_hash(former, payload), at=at))  # fmt: skip
        former = rows[-1].hash
    return rows


def test_a_whole_chain_has_no_fault() -> None:
    assert broken_links(a_chain(5)) == []
    assert broken_links([]) == []


def test_each_changed_byte_of_each_payload_is_found() -> None:
    length = len(a_chain(1)[0].payload or b"")
    for place in range(length):
        rows = a_chain(3)
        payload = bytearray(rows[1].payload or b"")
        payload[place] ^= 1
        rows[1].payload = bytes(payload)

        assert broken_links(rows), place


def test_an_edit_that_repairs_its_own_hash_breaks_the_next_link() -> None:
    rows = a_chain(3)
    payload = (rows[1].payload or b"").replace(b"halt", b"open")
    rows[1].payload, rows[1].hash = payload, link_hash(rows[1].former_hash, payload)

    assert broken_links(rows) == ["house link 3: does not name the former link's hash"]


def test_a_removed_a_swapped_and_a_redated_link_are_found() -> None:
    first, second, third = a_chain(3)
    redated = a_chain(1)
    redated[0].at += timedelta(seconds=1)

    assert broken_links([first, third])
    assert broken_links([first, third, second])
    assert broken_links(redated) == ["house link 1: has another time than its bytes"]


def test_a_link_without_bytes_is_a_fault() -> None:
    rows = a_chain(1)
    rows[0].payload = None

    assert broken_links(rows) == ["house link 1: has no payload"]


def test_a_tail_that_was_cut_off_is_missed_against_the_anchor_kept_outside() -> None:
    rows = a_chain(5)
    kept = Anchor(rows[-1].number, rows[-1].hash)

    assert broken_links(rows[:3]) == []
    assert broken_links(rows[:3], kept) == ["link 5 is not the one that was kept outside"]
    assert broken_links(rows, kept) == []
    assert broken_links(a_chain(7), kept) == []


async def test_links_that_are_added_at_once_form_one_chain(town: Town) -> None:
    async def add(number: int) -> None:
        async with town.venue.sessions.begin() as session:
            await audit.append(session, "house", "test", f"thing:{number}", {"number": number})

    await asyncio.gather(*(add(number) for number in range(12)))

    async with town.venue.sessions() as session:
        rows = await session.scalars(
            select(AuditLinkRow).where(AuditLinkRow.chain == CHAIN).order_by(AuditLinkRow.number)
        )
        assert broken_links(rows.all(), await audit.anchor(session)) == []


@pytest.mark.parametrize("text", ["+8613800138000", "13800138000", "008613800138000", "call 8613800138000 now"])
async def test_a_number_never_enters_the_chain(town: Town, text: str) -> None:
    async with town.venue.sessions() as session:
        before = await audit.anchor(session)
        with pytest.raises(ValueError, match="no phone number"):
            await audit.append(session, "house", "test", "thing:1", {"note": text})

        assert await audit.anchor(session) == before
