"""Fills an empty market with the demonstration: instruments, people at the carriers, logins, money to trade with."""

import asyncio
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from market import accounts_admin, charities, listing, partners, wallet
from market.demo import catalogue, people
from market.demo.people import Person
from market.listing import Rules
from market.parties import Member, member
from market.settings import Settings
from market.tables import LineRow, PartyRow
from market.trust_tables import IdentityRow
from market.venue import Venue, open_venue
from settlement import accounts
from settlement.ledger import Kind
from settlement.ledger_tables import AssetRow

TRADERS = 24
PARTNERS = ("星图视频", "蓝鲸游戏", "云杉旅行", "橙子外卖", "北斗银行")
SELLER = ("Seller 卖家", "CMCC", "+8613800138001", 12_000)
BUYER = ("Buyer 买家", "CMCC", "+8613800138002", 1_500)
USED_A_DAY_MB = {SELLER: 260, BUYER: 640}
CHARITY = "春苗助学"
"""Receives what people give at any carrier."""
OPENING_CHARGE_MINOR = 500_000
BUYER_CHARGE_MINOR = 20_000
BUDGET_COINS = 5_000_000
TRADER_COINS = 100_000
CHARACTER_COINS = 500
RULES_SINCE = datetime(2026, 1, 1, tzinfo=catalogue.SHANGHAI)
CARD = "pm_card_visa"


def main(settings: Settings) -> None:
    """Fill the market, or bring a filled one up to date with this month's instruments."""
    asyncio.run(_seed(settings))


async def _seed(settings: Settings) -> None:
    now = datetime.now(UTC)
    async with open_venue(settings) as venue:
        async with venue.sessions() as session:
            await listing.found(session, settings.currency)
            await _list_everything(session, now, settings.currency)
            await session.commit()
            filled = await session.scalar(select(PartyRow.id).where(PartyRow.kind == "partner").limit(1))
        if filled is None:
            await _fill(venue, now)


async def _list_everything(session: AsyncSession, now: datetime, currency: str) -> None:
    for carrier in catalogue.TOP_UP_MINOR:
        await listing.enact(session, Rules(carrier=carrier, effective_from=RULES_SINCE, terms=catalogue.RULES))
    for one in catalogue.listings(now):
        await listing.list_instrument(session, one, currency, now)


@dataclass(frozen=True, slots=True)
class _Known:
    """Somebody who is known by name, as a member of the market."""

    person: Person
    member: Member


async def _fill(venue: Venue, now: datetime) -> None:
    """People first at the carriers, then here; money by real charges at the payment provider."""
    traders = [people.trader(now, _carrier_of(number), number) for number in range(TRADERS)]
    characters = [people.character(now, *who, daily_mb=daily_mb) for who, daily_mb in USED_A_DAY_MB.items()]
    companies = {name: _company_lines(now, name, at) for at, name in enumerate(PARTNERS)}
    crowd = list(people.subscribers(now))
    receiving = [people.charity(CHARITY, carrier) for carrier in catalogue.TOP_UP_MINOR]
    everyone = [*crowd, *traders, *characters, *receiving, *(line for lines in companies.values() for line in lines)]
    await _load_carriers(venue, everyone)
    await _enrol(venue, crowd)
    known_traders = await _join(venue, traders)
    await _know_by_name(venue, known_traders)
    seller, buyer = await _join(venue, characters)
    known_partners = [await _join_partner(venue, name, lines) for name, lines in companies.items()]

    for one in receiving:
        await charities.appoint(venue, one.carrier, one.name, one.msisdn)
    await _fund_coins(venue, known_traders, [seller, buyer])
    await asyncio.gather(
        *(_charge(venue, one.member, OPENING_CHARGE_MINOR) for one in known_traders),
        *(_charge(venue, one, OPENING_CHARGE_MINOR) for one in known_partners),
        _charge(venue, buyer.member, BUYER_CHARGE_MINOR),
    )
    await _write_traders(venue, known_traders)
    await _write_logins(venue, companies)


def _carrier_of(number: int) -> str:
    return list(catalogue.TOP_UP_MINOR)[number % len(catalogue.TOP_UP_MINOR)]


def _company_lines(now: datetime, name: str, number: int) -> list[Person]:
    """A company has a distribution account at each carrier: what it buys arrives there and is handed out from there."""
    return [
        replace(people.character(now, name, carrier, f"+86{prefix[:3]}8800{number:04d}", 1_000), distributes=True)
        for carrier, prefix in people.PREFIXES.items()
    ]


async def _load_carriers(venue: Venue, everyone: Sequence[Person]) -> None:
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        for carrier in venue.settings.carriers:
            lines = [person.line() for person in everyone if person.carrier == carrier.code]
            answer = await client.post(
                f"{carrier.base_url}/admin/lines",
                json={"lines": lines},
                headers={"Authorization": f"Bearer {carrier.credential}"},
            )
            answer.raise_for_status()


async def _enrol(venue: Venue, persons: Sequence[Person]) -> list[int]:
    """Make parties and their first lines, set-based; gives the parties' ids in the order of the people."""
    async with venue.sessions() as session:
        first = await session.scalar(select(text("nextval(pg_get_serial_sequence('party', 'id'))")))
        ids = list(range(first + 1, first + 1 + len(persons)))
        parties = [
            {"id": party, "kind": "subscriber", "name": person.name, "group_id": party}
            for party, person in zip(ids, persons, strict=True)
        ]
        await session.execute(text(_INSERT_PARTY), parties)
        await session.execute(
            insert(LineRow), [_line(venue, party, person) for party, person in zip(ids, persons, strict=True)]
        )
        await session.execute(text("select setval(pg_get_serial_sequence('party', 'id'), max(id)) from party"))
        await session.commit()
    return ids


_INSERT_PARTY = """
insert into party (id, kind, name, group_id, created_at) overriding system value
values (:id, :kind, :name, :group_id, now() - interval '90 days')
"""


def _line(venue: Venue, party_id: int, person: Person) -> dict[str, Any]:
    return {
        "party_id": party_id, "carrier": person.carrier, "province": person.province, "plan": person.plan,
        "base_mb": person.base_mb, "number_hash": venue.vault.lookup(person.msisdn),
        "number_sealed": venue.vault.seal(person.msisdn), "verified_at": datetime.now(UTC),
    }  # fmt: skip


async def _join(venue: Venue, persons: Sequence[Person]) -> list[_Known]:
    ids = await _enrol(venue, persons)
    async with venue.sessions() as session:
        return [_Known(person, await member(session, party_id)) for party_id, person in zip(ids, persons, strict=True)]


async def _know_by_name(venue: Venue, traders: Sequence[_Known]) -> None:
    """Traders trade all day long: a checked name gives them the limits for it."""
    known = [trader.member.party_id for trader in traders]
    async with venue.sessions.begin() as session:
        lines = await session.execute(select(LineRow.party_id, LineRow.id).where(LineRow.party_id.in_(known)))
        rows = [
            {"party_id": party, "line_id": line, "document_hash": venue.vault.lookup(f"document of trader {party}")}
            for party, line in lines
        ]
        await session.execute(insert(IdentityRow), rows)


async def _join_partner(venue: Venue, name: str, lines: Sequence[Person]) -> Member:
    (party_id,) = await _enrol(venue, lines[:1])
    async with venue.sessions() as session:
        party = await session.get_one(PartyRow, party_id)
        party.kind, party.name = "partner", name
        await session.execute(insert(LineRow), [_line(venue, party_id, line) for line in lines[1:]])
        await session.commit()
        return await member(session, party_id)


async def _fund_coins(venue: Venue, traders: Sequence[_Known], characters: Sequence[_Known]) -> None:
    """Buy the data that backs the coins, and hand some out: no coin without its megabyte."""
    gifts = [(one.member.party_id, TRADER_COINS) for one in traders]
    gifts += [(one.member.party_id, CHARACTER_COINS) for one in characters]
    async with venue.sessions() as session:
        coin = await session.scalar(select(AssetRow.id).where(AssetRow.code == "COIN"))
        assert coin is not None
        issue = await accounts.house_account(session, "coin_issue", coin)
        budget = await accounts.house_account(session, "coin_budget", coin)
        places = {party: accounts.Place(party, coin, "wallet") for party, _ in gifts}
        wallets = await accounts.find_or_create(session, places.values())
        ledger = await accounts.lock(session, [issue, budget, *wallets.values()])
        ledger.move(Kind.COIN_FUNDED, "demo", source=issue, target=budget, amount=BUDGET_COINS)
        for party, coins in gifts:
            target = wallets[places[party]]
            ledger.move(Kind.COIN_EARNED, f"demo_{party}", source=budget, target=target, amount=coins)
        await accounts.save(session, ledger)
        await session.commit()


async def _charge(venue: Venue, who: Member, amount_minor: int) -> None:
    await wallet.top_up(venue, who, amount_minor, CARD, "demo-opening")


async def _write_traders(venue: Venue, traders: Sequence[_Known]) -> None:
    keys = []
    async with venue.sessions() as session:
        for trader in traders:
            key = await partners.issue_key(session, trader.member.party_id, "demonstration trader")
            keys.append({"key": key, "carrier": trader.person.carrier})
        await session.commit()
    _write_private(venue.settings.data_dir / "demo-traders.json", json.dumps(keys))


async def _write_logins(venue: Venue, companies: dict[str, list[Person]]) -> None:
    password = secrets.token_urlsafe(9)
    await accounts_admin.create_officer(venue.settings, "officer", password, "compliance", None)
    company, lines = next(iter(companies.items()))
    rows = (
        ("Seller  卖家", f"phone {SELLER[2]} (移动 CMCC)"),
        ("Buyer   买家", f"phone {BUYER[2]} (移动 CMCC)"),
        ("Partner 合作方", f"phone {lines[0].msisdn} ({company})"),
        ("Officer 合规官", f"login officer, password {password}"),
    )
    _write_private(venue.settings.data_dir / "demo-logins.txt", "".join(f"{who:<14}{how}\n" for who, how in rows))


def _write_private(path: Path, content: str) -> None:
    path.touch(mode=0o600)
    path.write_text(content, encoding="utf-8")
