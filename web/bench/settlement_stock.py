"""Matched trades by the thousand, at the carriers and in our books, made set-based for a measure of settlement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import asyncpg
import httpx

from market.vault import Vault
from settlement.accounts import HOUSE
from settlement.carriers.values import CarrierProfile
from settlement.ledger import Kind
from settlement.naming import external_id

TRADES_OF_A_SELLER = 5
QUANTITY_MB = 100
AMOUNT_MINOR = 500
FEE_MINOR = 25
CNY = 1
FIRST_DATA = 11
"""The numbers of assets: the first two are the measure's own money and coins."""
LOAD_SECONDS = 120

Rows = dict[str, list[tuple[Any, ...]]]

COLUMNS = {
    "party": "id kind name group_id",
    "account": "id party_id asset_id kind reference may_go_negative available held",
    "posting": "transfer_id account_id kind reference available_change held_change",
    "line": "id party_id carrier province plan base_mb number_hash number_sealed",
    "custody": "id party_id key line_id account_id carrier bucket_id quantity_mb status reservation_id expires_at",
    "delivery": "id carrier custody_id custody_account_id quantity money_account_id amount_minor fee_minor "
    "proceeds_account_id receiver_line_id status",
    "instruction": "kind subject_id lane not_before",
}
FAR = datetime(2100, 1, 1, tzinfo=UTC)
"""When prepared instructions are due, until the measure begins."""


@dataclass(frozen=True, slots=True)
class Trade:
    """What the bare call of one trade needs."""

    id: int
    reservation_id: str
    receiver: str


class Stock:
    """Makes sets of trades at carriers; no line, account or trade is in two sets."""

    def __init__(self, connection: asyncpg.Connection, vault: Vault, mark: str) -> None:
        self._connection = connection
        self._vault = vault
        self._mark = mark
        self._ids = count(1_000_000)
        self._data: dict[str, tuple[int, int]] = {}

    async def found(self, profiles: Sequence[CarrierProfile]) -> None:
        """The assets and the world's accounts; what members there are begin with nothing."""
        await self._connection.execute("delete from account")
        self._provider = await self._world("provider", CNY)
        for asset, profile in enumerate(profiles, start=FIRST_DATA):
            await self._connection.execute(
                "insert into asset (id, code, kind, carrier) overriding system value values ($1, $2, 'data', $3)",
                asset,
                f"{profile.code}-CN-2611",
                profile.code,
            )
            self._data[profile.code] = asset, await self._world("carrier", asset)

    async def trades(self, profile: CarrierProfile, number: int) -> list[Trade]:
        """Matched and paid from wallets: sellers' data reserved at the carrier, both holds made, nothing due yet."""
        sellers = [next(self._ids) for _ in range(max(2, number // TRADES_OF_A_SELLER))]
        buyers = [next(self._ids) for _ in sellers]
        made = [(sellers[n % len(sellers)], buyers[n * 7 % len(buyers)], next(self._ids)) for n in range(number)]
        reserved = await self._reserve(profile, sellers, buyers, made)

        async with self._connection.transaction():
            for table, rows in (await self._rows(profile, sellers, buyers, made, reserved)).items():
                await self._connection.copy_records_to_table(table, records=rows, columns=COLUMNS[table].split())
        await self._connection.execute("analyze")
        return [Trade(trade, reserved[seller], _number(buyer)) for seller, buyer, trade in made]

    async def _world(self, kind: str, asset: int) -> int:
        found: int = await self._connection.fetchval(
            "insert into account (party_id, asset_id, kind, may_go_negative) values ($1, $2, $3, true) returning id",
            HOUSE,
            asset,
            kind,
        )
        return found

    async def _reserve(
        self,
        profile: CarrierProfile,
        sellers: Sequence[int],
        buyers: Sequence[int],
        made: Sequence[tuple[int, int, int]],
    ) -> dict[int, str]:
        """The sellers' reservations at the carrier, by seller."""
        sold = _summed((seller, QUANTITY_MB) for seller, _, _ in made)
        lines = [_line(seller, sold[seller]) for seller in sellers] + [_line(buyer, 0) for buyer in buyers]
        names = {external_id(self._mark, "reserve", seller): seller for seller in sellers}
        wanted = [
            {"msisdn": _number(seller), "amount_mb": sold[seller], "external_id": name}
            for name, seller in names.items()
        ]
        headers = {"Authorization": f"Bearer {profile.credential}"}
        async with httpx.AsyncClient(
            base_url=profile.base_url, timeout=LOAD_SECONDS, headers=headers, trust_env=False
        ) as client:
            (await client.post("/admin/lines", json={"lines": lines})).raise_for_status()
            answer = await client.post("/admin/reservations", json={"reservations": wanted})
            answer.raise_for_status()
        return {names[name]: reservation for name, reservation in answer.json()["reservations"].items()}

    async def _rows(
        self,
        profile: CarrierProfile,
        sellers: Sequence[int],
        buyers: Sequence[int],
        made: Sequence[tuple[int, int, int]],
        reserved: Mapping[int, str],
    ) -> Rows:
        """Each party's id is that of its line, custody and wallet as well; a custody's account has the next number."""
        asset, carrier = self._data[profile.code]
        sold = _summed((seller, QUANTITY_MB) for seller, _, _ in made)
        owed = _summed((buyer, AMOUNT_MINOR) for _, buyer, _ in made)
        accounts: list[tuple[Any, ...]] = [
            (buyer, buyer, CNY, "wallet", None, False, 0, owed.get(buyer, 0)) for buyer in buyers
        ]
        accounts += [(seller, seller, CNY, "wallet", None, False, 0, 0) for seller in sellers]
        custodies = {seller: next(self._ids) for seller in sellers}
        accounts += [
            (custodies[seller], seller, asset, "custody", str(seller), False, 0, sold[seller]) for seller in sellers
        ]
        return {
            "party": [(party, "subscriber", "Member", party) for party in (*sellers, *buyers)],
            "account": accounts,
            "posting": [
                *await self._brought_in(Kind.RESERVED, carrier, {custodies[one]: sold[one] for one in sellers}),
                *await self._brought_in(Kind.TOPPED_UP, self._provider, owed),
            ],
            "line": [self._line_row(party, profile.code) for party in (*sellers, *buyers)],
            "custody": [
                (one, one, "bench", one, custodies[one], profile.code, "bucket", sold[one], "reserved", reserved[one],
                 _month_end())
                for one in sellers
            ],
            "delivery": [
                (trade, profile.code, seller, custodies[seller], QUANTITY_MB, buyer, AMOUNT_MINOR, FEE_MINOR, seller,
                 buyer, "pending")
                for seller, buyer, trade in made
            ],
            "instruction": [("deliver", trade, profile.code, FAR) for _, _, trade in made],
        }  # fmt: skip

    async def _brought_in(self, kind: Kind, world: int, amounts: Mapping[int, int]) -> list[tuple[Any, ...]]:
        """Postings that bring amounts in from outside, and hold them; the world's own balance follows at once."""
        total = sum(amounts.values())
        await self._connection.execute("update account set available = available - $2 where id = $1", world, total)
        numbers = await self._connection.fetch(
            "select nextval('transfer_number') from generate_series(1, $1::bigint)", 2 * len(amounts)
        )
        rows: list[tuple[Any, ...]] = []
        for (account, amount), (brought,), (held,) in zip(amounts.items(), numbers[::2], numbers[1::2], strict=True):
            rows.append((brought, world, int(kind), f"bench_{account}", -amount, 0))
            rows.append((brought, account, int(kind), f"bench_{account}", amount, 0))
            rows.append((held, account, int(Kind.HOLD), f"bench_{account}", -amount, amount))
        return rows

    def _line_row(self, party: int, carrier: str) -> tuple[Any, ...]:
        number = _number(party)
        return party, party, carrier, "GD", "prepaid", 1000, self._vault.lookup(number), self._vault.seal(number)


def _number(party: int) -> str:
    """A number that chooses no fault by its last digits."""
    return f"+86138{party}0"


def _line(party: int, remaining_mb: int) -> dict[str, Any]:
    bucket = {
        "scope": "CN",
        "expires_at": _month_end().isoformat(),
        "remaining_mb": remaining_mb,
        "total_mb": remaining_mb,
        "transferable": True,
    }
    return {
        "msisdn": _number(party),
        "name": "测试",
        "id_document": "440101199001011234",
        "plan_name": "59",
        "payment": "prepaid",
        "province": "GD",
        "buckets": [bucket] if remaining_mb else [],
    }


def _month_end() -> datetime:
    return (datetime.now(UTC) + timedelta(days=20)).replace(microsecond=0)


def _summed(amounts: Any) -> dict[int, int]:
    total: dict[int, int] = {}
    for key, amount in amounts:
        total[key] = total.get(key, 0) + amount
    return total
