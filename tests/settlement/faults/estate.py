"""Many trades, payments and payouts at once, in a founded market with simulators of its own around it."""

import asyncio
import random
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from market.installation import mark
from market.tables import LineRow, PartyRow
from market.vault import Vault
from settlement import accounts, custody, funding
from settlement.accounts import HOUSE
from settlement.carriers.client import Carrier
from settlement.ledger import Kind
from settlement.naming import external_id
from settlement.payments.port import Payments
from settlement.tables import CustodyRow, DeliveryRow, HandoutRow, InstructionRow, PaymentRow, RedemptionRow
from tests.carrier.simulator import CarrierProcess, a_number, bucket_of, line_of, month_end, only_bucket
from tests.payment.making import Http, fresh, onboard
from tests.settlement.making import NEXT, a_custody, a_payment_row, a_payout_row, a_wallet, asset
from tests.settlement.test_settling import SECRET

T = TypeVar("T")

SELLERS = 15
RECEIVERS = 60
QUANTITY_MB = 10
AMOUNT_MINOR, FEE_MINOR = 500, 25
STOCK_MB = 20_000
PURSE_MINOR = 5_000_000
BUYERS = 12
CALLS_AT_ONCE = 12


@dataclass
class Estate:
    """A market's database, the carriers and the provider, and what was put into them."""

    sessions: async_sessionmaker[AsyncSession]
    sim: CarrierProcess
    carriers: dict[str, Carrier]
    payments: Payments
    http: Http
    dice: random.Random
    mark: str = ""
    lines: dict[str, list[int]] = field(default_factory=dict)
    numbers: dict[int, str] = field(default_factory=dict)
    custodies: dict[str, list[CustodyRow]] = field(default_factory=dict)
    proceeds: dict[int, int] = field(default_factory=dict)
    purses: list[int] = field(default_factory=list)

    async def found(self) -> None:
        """The house, lines that receive, sellers with data at each carrier, and buyers with money at the provider."""
        async with self.sessions.begin() as session:
            session.add(_a_party(HOUSE))
            await session.flush()
            self.mark = await mark(session)
            await asset(session, "CNY", "money")
            for code in self.carriers:
                await asset(session, f"{code}-CN-2611", "data", code)
        for code in self.carriers:
            self.lines[code] = await self._receivers(code)
            self.custodies[code] = await _together(self._a_seller(code) for _ in range(SELLERS))
        async with self.sessions.begin() as session:
            for row in (row for rows in self.custodies.values() for row in rows):
                self.proceeds[row.id] = await a_wallet(session, party_id=row.party_id)
        self.purses = await _together(self.a_purse(PURSE_MINOR) for _ in range(BUYERS))

    async def _receivers(self, code: str, count: int = RECEIVERS) -> list[int]:
        numbers = [a_number() for _ in range(count)]
        self.sim.load(*(line_of(number, []) for number in numbers), code=code)
        async with self.sessions.begin() as session:
            rows = [_a_line(code, number) for number in numbers]
            session.add_all(rows)
            await session.flush()
        self.numbers |= {row.id: number for row, number in zip(rows, numbers, strict=True)}
        return [row.id for row in rows]

    async def _stocked_line(self, code: str, amount_mb: int) -> tuple[int, str, str, datetime]:
        """A line of ours with data: its id, number, bucket and the bucket's end."""
        number = a_number()
        self.sim.load(line_of(number, [bucket_of(amount_mb)]), code=code)
        bucket = await only_bucket(self.carriers[code], number)
        async with self.sessions.begin() as session:
            row = _a_line(code, number)
            session.add(row)
            await session.flush()
        self.numbers[row.id] = number
        return row.id, number, bucket.id, bucket.expires_at

    async def _a_seller(self, code: str) -> CustodyRow:
        line_id, number, bucket_id, expires_at = await self._stocked_line(code, STOCK_MB)
        async with self.sessions.begin() as session:
            row = await a_custody(session, code, STOCK_MB, bucket_id, line_id)
        name = external_id(self.mark, "reserve", row.id)
        reservation = await self.carriers[code].reserve(bucket_id, STOCK_MB, expires_at, name, number)
        async with self.sessions.begin() as session:
            return await custody.book_reservation(session, row.id, reservation)

    async def a_top_up(self, amount_minor: int) -> PaymentRow:
        """Money that really came in: taken by the provider, booked in a wallet."""
        async with self.sessions.begin() as session:
            row = await a_payment_row(session, "top_up", amount_minor)
        name = external_id(self.mark, "top_up", row.id)
        paid = await self.payments.charge(
            customer=await self.payments.create_customer("buyer", fresh("key")), amount_minor=amount_minor,
            currency="CNY", payment_method="pm_card_bypassPending", reference=name, key=name,
            return_url="https://market.example/",
        )  # fmt: skip
        async with self.sessions.begin() as session:
            return await funding.credit_top_up(session, row.id, paid)

    async def a_purse(self, amount_minor: int) -> int:
        return (await self.a_top_up(amount_minor)).account_id

    async def a_hold(self, amount_minor: int) -> PaymentRow:
        """A card hold, authorised and booked."""
        async with self.sessions.begin() as session:
            row = await a_payment_row(session, "card_hold", amount_minor)
        name = external_id(self.mark, "card_hold", row.id)
        held = await self.payments.authorise(
            customer=await self.payments.create_customer("buyer", fresh("key")), amount_minor=amount_minor,
            currency="CNY", payment_method="pm_card_visa", reference=name, key=name,
            return_url="https://market.example/",
        )  # fmt: skip
        async with self.sessions.begin() as session:
            return await funding.book_authorisation(session, row.id, held)

    async def trade(self, trades: int, holds: int = 0) -> list[int]:
        """Trades as the engine leaves them, at all carriers; the first of them paid by card, two to a hold."""
        cards = await _together(self.a_hold(2 * AMOUNT_MINOR) for _ in range(holds))
        payers: list[PaymentRow | None] = [card for card in cards for _ in range(2)]
        payers += [None] * (trades - len(payers))
        rows = [self._a_delivery(number, payer) for number, payer in enumerate(payers)]
        async with self.sessions.begin() as session:
            ledger = await accounts.lock(
                session, {row[name] for row in rows for name in ("money_account_id", "custody_account_id")}
            )
            for row in rows:
                ledger.hold(row["money_account_id"], row["amount_minor"], reference=f"cmd_{row['id']}")
                ledger.hold(row["custody_account_id"], row["quantity"], reference=f"cmd_{row['id']}")
            await accounts.save(session, ledger)
            await session.execute(insert(DeliveryRow), rows)
            await session.execute(insert(InstructionRow), [_instruction("deliver", row) for row in rows])
            for card in cards:
                await funding.finish_hold(session, card.id)
        return [row["id"] for row in rows]

    def _a_delivery(self, number: int, payer: PaymentRow | None) -> dict[str, Any]:
        code = self.dice.choice(list(self.carriers))
        sellers = self.custodies[code]
        row = sellers[number % len(sellers)]
        return {
            "id": next(NEXT), "carrier": code, "custody_id": row.id, "custody_account_id": row.account_id,
            "quantity": self.dice.randint(1, QUANTITY_MB), "amount_minor": AMOUNT_MINOR, "fee_minor": FEE_MINOR,
            "money_account_id": self.dice.choice(self.purses) if payer is None else payer.account_id,
            "payment_id": None if payer is None else payer.id, "proceeds_account_id": self.proceeds[row.id],
            "receiver_line_id": self.dice.choice(self.lines[code]),
        }  # fmt: skip

    async def redeem(self, count: int) -> None:
        """Coins that become data."""
        async with self.sessions.begin() as session:
            coin = await asset(session, "COIN", "coin")
            issue = await accounts.house_account(session, "coin_issue", coin)
            for _ in range(count):
                code, party = self.dice.choice(list(self.carriers)), next(NEXT)
                wallet = await accounts.account_id(session, party, coin, "wallet")
                row = RedemptionRow(
                    party_id=party, key=f"key-{party}", account_id=wallet, line_id=self.dice.choice(self.lines[code]),
                    carrier=code, coins=QUANTITY_MB, expires_at=month_end(), carrier_reference=None, reason=None,
                    ended_at=None,
                )  # fmt: skip
                session.add(row)
                await session.flush()
                ledger = await accounts.lock(session, [wallet, issue])
                ledger.move(Kind.COIN_FUNDED, f"red_{row.id}", source=issue, target=wallet, amount=QUANTITY_MB)
                ledger.hold(wallet, QUANTITY_MB, kind=Kind.COIN_REDEEM_HELD, reference=f"red_{row.id}")
                await accounts.save(session, ledger)
                await funding.instruct(session, "redeem", row.id, code)

    async def hand_out(self, count: int) -> None:
        """A partner's data for its users."""
        code = next(iter(self.carriers))
        line_id, _, bucket_id, _ = await self._stocked_line(code, count * QUANTITY_MB)
        async with self.sessions.begin() as session:
            for _ in range(count):
                party = next(NEXT)
                row = HandoutRow(
                    party_id=party, key=f"key-{party}", line_id=line_id, carrier=code, bucket_id=bucket_id,
                    receiver_line_id=self.dice.choice(self.lines[code]), amount_mb=QUANTITY_MB,
                    carrier_reference=None, reason=None, ended_at=None,
                )  # fmt: skip
                session.add(row)
                await session.flush()
                await funding.instruct(session, "handout", row.id, code)

    async def withdraw(self, count: int, amount_minor: int = 1000) -> None:
        """Withdrawals of money that is really at the provider, to an account that has been through onboarding."""
        destination = await onboard(self.payments, self.http)
        await self.payments.charge(
            customer=await self.payments.create_customer("fund", fresh("key")), amount_minor=count * amount_minor,
            currency="CNY", payment_method="pm_card_bypassPending", reference=fresh("fund"), key=fresh("key"),
            return_url="https://market.example/",
        )  # fmt: skip
        async with self.sessions.begin() as session:
            for _ in range(count):
                await a_payout_row(session, amount_minor, destination)

    async def refund(self, count: int) -> None:
        """Top-ups that go back to their cards."""
        for row in await _together(self.a_top_up(1000) for _ in range(count)):
            async with self.sessions.begin() as session:
                await funding.request_refund(session, row.id)

    async def release(self) -> None:
        """Whatever is not sold in the end goes back to its owners."""
        async with self.sessions.begin() as session:
            for code, rows in self.custodies.items():
                for row in rows:
                    await funding.instruct(session, "release", row.id, code)

    async def scalar(self, query: str) -> Any:
        async with self.sessions() as session:
            return await session.scalar(text(query))

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        async with self.sessions() as session:
            return [tuple(row) for row in await session.execute(text(query))]


def _a_party(party_id: int) -> PartyRow:
    return PartyRow(
        id=party_id, kind="operator", name="House", group_id=party_id, customer_reference=None,
        payout_reference=None, last_signed_in_at=None, rewarded_on=None,
    )  # fmt: skip


def _a_line(code: str, number: str) -> LineRow:
    vault = Vault(SECRET)
    return LineRow(
        party_id=HOUSE, carrier=code, province="GD", plan="prepaid", base_mb=1000,
        number_hash=vault.lookup(number), number_sealed=vault.seal(number), verified_at=None,
    )  # fmt: skip


def _instruction(kind: str, row: dict[str, Any]) -> dict[str, Any]:
    return {"kind": kind, "subject_id": row["id"], "lane": row["carrier"]}


async def _together(calls: Iterable[Awaitable[T]]) -> list[T]:
    """All of these, some at a time."""
    places = asyncio.Semaphore(CALLS_AT_ONCE)

    async def one(call: Awaitable[T]) -> T:
        async with places:
            return await call

    return list(await asyncio.gather(*map(one, calls)))
