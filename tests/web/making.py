"""Settings, people and keys for the web's tests, made with a few words."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from secrets import token_hex
from typing import Any
from zoneinfo import ZoneInfo

from httpx import AsyncClient, Response
from sqlalchemy import select

from market.engine.commands import CancelAll
from market.partners import issue_key
from market.settings import Settings
from market.tables import OpenOrderRow, PartyRow
from market.venue import Venue
from settlement import accounts
from settlement.accounts import HOUSE
from settlement.ledger import Kind
from settlement.ledger_tables import AssetRow
from settlement.payments.values import PaymentSettings

WEBHOOK_SECRET = "whsec_demo_of_the_tests"
NEXT = count(1)


def settings_of(**changes: Any) -> Settings:
    """Settings of a demonstration whose servers nobody asks."""
    values: dict[str, Any] = {
        "environment": "demo",
        "database_url": "postgresql+asyncpg://127.0.0.1:1/none",
        "redis_url": "redis://127.0.0.1:1/0",
        "data_dir": Path("/nonexistent"),
        "secret_key": "demo_0123456789abcdefghijklmnopqrstuvwxyz",
        "public_url": "http://127.0.0.1:8000",
        "bind_host": "127.0.0.1",
        "carriers": (),
        "payment": PaymentSettings(
            api_key="sk_test_sim", webhook_secret=WEBHOOK_SECRET, api_base="http://127.0.0.1:8420", timeout_seconds=5
        ),
        "shards": 1,
        "currency": "CNY",
        "timezone": ZoneInfo("Asia/Shanghai"),
    }
    return Settings(**{**values, **changes})


def a_key() -> str:
    """An idempotency key that nobody has used."""
    return f"key-{next(NEXT)}"


@dataclass
class Partner:
    """A party with a key, and the requests it sends."""

    client: AsyncClient
    party_id: int
    api_key: str
    keys: Any = field(default_factory=lambda: count(1))

    async def send(self, method: str, path: str, **arguments: Any) -> Response:
        headers = {"Authorization": f"Bearer {self.api_key}", **arguments.pop("headers", {})}
        return await self.client.request(method, f"/api/v1{path}", headers=headers, **arguments)

    async def get(self, path: str, **arguments: Any) -> Response:
        return await self.send("GET", path, **arguments)

    async def post(self, path: str, body: Any, key: str = "") -> Response:
        return await self.send("POST", path, json=body, headers={"Idempotency-Key": key or a_key()})

    async def order(self, side: str, price_minor: int, lots: int = 1, key: str = "", **more: Any) -> Response:
        body = {"symbol": "COIN", "side": side, "lots": lots, "price_minor": price_minor, **more}
        return await self.post("/orders", body, key)


@dataclass
class Market:
    """A running market, and a way to bring people into it."""

    client: AsyncClient
    venue: Venue

    async def partner(self, *, money_minor: int = 1_000_000, coins: int = 100_000, kind: str = "partner") -> Partner:
        async with self.venue.sessions() as session:
            party = PartyRow(kind=kind, name="Somebody", group_id=0)
            session.add(party)
            await session.flush()
            party.group_id = party.id
            await _give(session, party.id, "CNY", "provider", money_minor)
            await _give(session, party.id, "COIN", "coin_issue", coins)
            key = await issue_key(session, party.id, "tests")
            await session.commit()
        return Partner(self.client, party.id, key)

    async def empty_book(self) -> None:
        """Take out of the coins' book what earlier tests have left in it."""
        async with self.venue.sessions() as session:
            owners = list(await session.scalars(select(OpenOrderRow.party_id).distinct()))
        for owner in owners:
            await self.venue.gateway.submit(CancelAll(HOUSE, f"empty-{token_hex(8)}", b"", 1, owner))


@dataclass
class Visitor:
    """A browser: it keeps cookies, says where it comes from, and sends the token of its page along."""

    market: Market
    origin: str

    @property
    def client(self) -> AsyncClient:
        return self.market.client

    @property
    def token(self) -> str:
        return self.client.cookies.get("csrf") or ""

    @property
    def session_id(self) -> str | None:
        return self.client.cookies.get("session")

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> Response:
        return await self.client.get(path, headers={"Accept": "text/html", **(headers or {})}, follow_redirects=False)

    async def post(self, path: str, headers: Mapping[str, str] | None = None, **fields: str) -> Response:
        sent = {"Accept": "text/html", "Origin": self.origin, "X-CSRFToken": self.token, **(headers or {})}
        return await self.client.post(path, headers=sent, data=fields, follow_redirects=False)

    def forget_session(self) -> None:
        token = self.token
        self.client.cookies.clear()
        self.client.cookies.set("csrf", token, domain="127.0.0.1", path="/")

    async def sign_in(self, party_id: int) -> Response:
        return await self.post(f"/tests/sign-in/{party_id}")


async def a_visitor(market: Market) -> Visitor:
    visitor = Visitor(market, settings_of().public_url)
    await visitor.get("/tests/form")
    return visitor


async def _give(session: Any, party_id: int, code: str, giver: str, amount: int) -> None:
    asset_id = await session.scalar(select(AssetRow.id).where(AssetRow.code == code))
    wallet = await accounts.account_id(session, party_id, asset_id, "wallet")
    source = await accounts.house_account(session, giver, asset_id)
    ledger = await accounts.lock(session, [wallet, source])
    ledger.move(Kind.TOPPED_UP, f"test_{party_id}_{code}", source=source, target=wallet, amount=amount)
    await accounts.save(session, ledger)
