"""A town for the market's tests: its people, their phones and cards, and ways to look behind the ports."""

import itertools
import re
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
from sqlalchemy import text

from market.assets import asset_id
from market.codes import send_code
from market.parties import Member
from market.signing_in import sign_in
from market.venue import Venue
from settlement import accounts
from settlement.ledger import Kind

CREDENTIALS = {"CMCC": "cmcc-credential", "CUCC": "cucc-credential", "CTCC": "ctcc-credential"}
API_KEY = "sk_test_sim_market"
RANGES = {"CMCC": "139", "CUCC": "186", "CTCC": "189"}

BUCKET_END = datetime(2030, 1, 31, 16, tzinfo=UTC)

counter = itertools.count(1)


def a_key() -> str:
    return f"key-{next(counter)}-{secrets.token_hex(4)}"


def a_number(carrier: str = "CMCC") -> str:
    """A number that nobody else in this run has, in a range of its own, so that no limit of neighbours is shared."""
    return f"+86{RANGES[carrier]}{next(counter):04d}{secrets.randbelow(9000):04d}"


@dataclass
class Town:
    """The market and what surrounds it, with direct ways to look behind the ports."""

    venue: Venue
    carrier_url: str
    carrier_books: Any
    payment_url: str
    client: str = field(default_factory=lambda: f"client {secrets.token_hex(8)}")

    async def line(self, carrier: str = "CMCC", *, number: str = "", remaining_mb: int = 20_000, **changes: Any) -> str:
        """A fresh subscriber of a carrier, with one bucket; gives the number."""
        number = number or a_number(carrier)
        names = ("scope", "app_scope", "transferable", "expires_at")
        bucket = {name: changes.pop(name) for name in names if name in changes}
        line = {
            "msisdn": number,
            "name": "王小明",
            "id_document": "440101199001011234",
            "plan_name": "畅享 59 元",
            "payment": "prepaid",
            "province": "GD",
            "buckets": [
                {"scope": "CN", "expires_at": BUCKET_END.isoformat(), "remaining_mb": remaining_mb,
                 "total_mb": remaining_mb, "transferable": True, **bucket}
            ],
            **changes,
        }  # fmt: skip
        await self.at_carrier("POST", "/admin/lines", carrier, json={"lines": [line]})
        return number

    async def at_carrier(self, method: str, path: str, carrier: str = "CMCC", **arguments: Any) -> Any:
        headers = {"Authorization": f"Bearer {CREDENTIALS[carrier]}"}
        url = f"{self.carrier_url}/{carrier.lower()}{path}"
        async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
            answer = await client.request(method, url, headers=headers, **arguments)
        assert answer.is_success, answer.text
        return answer.json()

    async def at_provider(self, method: str, path: str, **arguments: Any) -> Any:
        headers = {"Authorization": f"Bearer {API_KEY}"}
        async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
            answer = await client.request(method, f"{self.payment_url}{path}", headers=headers, **arguments)
        assert answer.is_success, answer.text
        return answer.json()

    async def texts_to(self, number: str) -> list[str]:
        rows = await self.carrier_books.fetch("SELECT text FROM sms WHERE msisdn = $1 ORDER BY id", number)
        return [row["text"] for row in rows]

    async def code_of(self, number: str) -> str:
        """The code in the newest text message to a number."""
        found = re.search(r"[0-9]{6}", (await self.texts_to(number))[-1])
        assert found
        return found[0]

    async def enter(self, number: str) -> Member:
        """Sign in as people do: ask for a code, read it off the phone, type it in."""
        ticket = await send_code(self.venue, number, self.client)
        return await sign_in(self.venue, ticket, await self.code_of(number))

    async def a_member(self, carrier: str = "CMCC", **changes: Any) -> Member:
        return await self.enter(await self.line(carrier, **changes))

    async def rows(self, statement: str, **values: Any) -> list[Any]:
        async with self.venue.sessions() as session:
            return list((await session.execute(text(statement), values)).all())

    async def value(self, statement: str, **values: Any) -> Any:
        async with self.venue.sessions() as session:
            return await session.scalar(text(statement), values)

    async def put(self, party_id: int, asset: str, amount: int) -> None:
        """Money or coins out of nowhere, booked as a top-up is."""
        world = "provider" if asset == "CNY" else "coin_issue"
        await self._book(party_id, asset, "wallet", world, amount)

    async def budget(self, coins: int) -> None:
        """Coins that the house has bought and may give away."""
        await self._book(1, "COIN", "coin_budget", "coin_issue", coins)

    async def _book(self, party_id: int, asset: str, kind: str, world: str, amount: int) -> None:
        async with self.venue.sessions.begin() as session:
            asset_number = await asset_id(session, asset)
            source = await accounts.house_account(session, world, asset_number)
            target = await accounts.account_id(session, party_id, asset_number, kind)
            ledger = await accounts.lock(session, [source, target])
            movement = Kind.TOPPED_UP if asset == "CNY" else Kind.COIN_FUNDED
            ledger.move(movement, f"test-{next(counter)}", source=source, target=target, amount=amount)
            await accounts.save(session, ledger)

    async def assert_books_agree(self) -> None:
        """Every transfer sums to zero, every balance is the sum of its postings."""
        assert not await self.rows(
            "select transfer_id, asset_id from posting join account on account.id = account_id"
            " group by 1, 2 having sum(available_change + held_change) <> 0"
        )
        assert not await self.rows(
            "select account.id from account left join posting on account_id = account.id group by account.id"
            " having coalesce(sum(available_change + held_change), 0) <> available + held or held < 0"
        )
