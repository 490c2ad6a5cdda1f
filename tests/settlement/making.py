"""Things that settlement tests need: assets, wallets, custodies, payments and trades, made with a few words."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from settlement import accounts
from settlement.ledger import Kind
from settlement.ledger_tables import AccountRow, AssetRow, PostingRow
from settlement.payments.values import Payment, PaymentStatus
from settlement.tables import CustodyRow, DeliveryRow, InstructionRow, PaymentRow, PayoutRow

NEXT = count(1000)
SOON = datetime.now(UTC) + timedelta(days=20)


def a_payment(**changes: object) -> Payment:
    payment = Payment(
        id=f"pi_{next(NEXT)}",
        status=PaymentStatus.SUCCEEDED,
        amount_minor=1000,
        capturable_minor=0,
        captured_minor=1000,
        refunded_minor=0,
        currency="CNY",
        capture_before=None,
        next_action_url=None,
        decline_code=None,
        reference="",
    )
    return replace(payment, **changes)  # type: ignore[arg-type]


def a_hold(**changes: object) -> Payment:
    held: dict[str, object] = {"status": PaymentStatus.HELD, "capturable_minor": 1000, "captured_minor": 0}
    return a_payment(**{**held, **changes})


async def asset(session: AsyncSession, code: str, kind: str, carrier: str | None = None) -> int:
    found = await session.scalar(select(AssetRow.id).where(AssetRow.code == code))
    if found is None:
        row = AssetRow(code=code, kind=kind, carrier=carrier, scope=None, app_scope=None, expires_at=None)
        session.add(row)
        await session.flush()
        found = row.id
    return found


async def money(session: AsyncSession) -> int:
    return await asset(session, "CNY", "money")


async def a_wallet(session: AsyncSession, amount_minor: int = 0, party_id: int | None = None) -> int:
    """A wallet with some money in it, brought in by the provider."""
    cny = await money(session)
    wallet = await accounts.account_id(session, party_id or next(NEXT), cny, "wallet")
    if amount_minor:
        provider = await accounts.house_account(session, "provider", cny)
        ledger = await accounts.lock(session, [wallet, provider])
        reference = f"test_{next(NEXT)}"
        ledger.move(Kind.TOPPED_UP, reference, source=provider, target=wallet, amount=amount_minor)
        await accounts.save(session, ledger)
    return wallet


async def a_payment_row(session: AsyncSession, kind: str = "top_up", amount_minor: int = 1000) -> PaymentRow:
    """A payment that nothing has been heard of yet, with the account that it is for."""
    party, cny = next(NEXT), await money(session)
    row = PaymentRow(
        party_id=party,
        key=f"key-{party}",
        kind=kind,
        account_id=await accounts.account_id(
            session, party, cny, "wallet" if kind == "top_up" else "card", "" if kind == "top_up" else str(party)
        ),
        amount_minor=amount_minor,
        currency="CNY",
        payment_method="pm_card_visa",
        provider_id=None,
        action_url=None,
        capture_before=None,
        reason=None,
    )
    session.add(row)
    await session.flush()
    return row


async def a_custody(
    session: AsyncSession,
    carrier: str = "CMCC",
    quantity_mb: int = 1000,
    bucket_id: str = "bucket",
    line_id: int = 1,
) -> CustodyRow:
    """A custody that the carrier has been asked for."""
    party = next(NEXT)
    data = await asset(session, f"{carrier}-CN-2611", "data", carrier)
    row = CustodyRow(
        party_id=party,
        key=f"key-{party}",
        line_id=line_id,
        account_id=await accounts.account_id(session, party, data, "custody", str(party)),
        carrier=carrier,
        bucket_id=bucket_id,
        quantity_mb=quantity_mb,
        reservation_id=None,
        expires_at=SOON,
    )
    session.add(row)
    await session.flush()
    return row


@dataclass(frozen=True)
class Balance:
    available: int
    held: int


async def balance(session: AsyncSession, account_id: int) -> Balance:
    row = (
        await session.execute(select(AccountRow.available, AccountRow.held).where(AccountRow.id == account_id))
    ).one()
    return Balance(*row)


async def hold(session: AsyncSession, account_id: int, amount: int) -> None:
    ledger = await accounts.lock(session, [account_id])
    ledger.hold(account_id, amount, reference=f"cmd_{next(NEXT)}")
    await accounts.save(session, ledger)


async def imbalance(session: AsyncSession) -> dict[int, int]:
    """What each asset's accounts come to, where it isn't zero; and accounts that are not the sum of their postings."""
    total = func.sum(AccountRow.available + AccountRow.held)
    rows = await session.execute(select(AccountRow.asset_id, total).group_by(AccountRow.asset_id).having(total != 0))
    wrong = {asset_id: int(value) for asset_id, value in rows}
    sums = (
        select(
            PostingRow.account_id,
            func.sum(PostingRow.available_change).label("available"),
            func.sum(PostingRow.held_change).label("held"),
        )
        .group_by(PostingRow.account_id)
        .subquery()
    )
    astray = await session.scalars(
        select(AccountRow.id)
        .outerjoin(sums, sums.c.account_id == AccountRow.id)
        .where(
            (AccountRow.available != func.coalesce(sums.c.available, 0))
            | (AccountRow.held != func.coalesce(sums.c.held, 0))
        )
    )
    return wrong | {-account_id: 1 for account_id in astray}


async def a_trade(
    session: AsyncSession,
    custody: CustodyRow,
    *,
    quantity: int = 100,
    amount_minor: int = 500,
    fee_minor: int = 25,
    money_account_id: int | None = None,
    payment_id: int | None = None,
    receiver_line_id: int = 2,
) -> DeliveryRow:
    """A trade as the engine leaves it: both holds made, the delivery and its instruction written."""
    buyer = money_account_id or await a_wallet(session, amount_minor)
    seller = await a_wallet(session, party_id=custody.party_id)
    await hold(session, buyer, amount_minor)
    await hold(session, custody.account_id, quantity)
    row = DeliveryRow(
        id=next(NEXT),
        carrier=custody.carrier,
        custody_id=custody.id,
        custody_account_id=custody.account_id,
        quantity=quantity,
        money_account_id=buyer,
        payment_id=payment_id,
        amount_minor=amount_minor,
        fee_minor=fee_minor,
        proceeds_account_id=seller,
        receiver_line_id=receiver_line_id,
        coin_account_id=None,
        reason=None,
        carrier_reference=None,
        payment_reference=None,
        delivered_at=None,
        ended_at=None,
    )
    session.add(row)
    await instruct(session, "deliver", row.id, custody.carrier)
    return row


async def instruct(session: AsyncSession, kind: str, subject_id: int, lane: str) -> None:
    session.add(
        InstructionRow(
            kind=kind,
            subject_id=subject_id,
            lane=lane,
            claimed_by=None,
            claim_deadline=None,
            last_sent_at=None,
            request_hash=None,
            external_reference=None,
            reason=None,
            ended_at=None,
        )
    )
    await session.flush()


async def a_payout_row(session: AsyncSession, amount_minor: int, destination: str) -> PayoutRow:
    """A withdrawal whose money has been set aside."""
    party = next(NEXT)
    wallet = await a_wallet(session, amount_minor, party)
    row = PayoutRow(
        party_id=party,
        key=f"key-{party}",
        account_id=wallet,
        amount_minor=amount_minor,
        currency="CNY",
        destination=destination,
        transfer_reference=None,
        payout_reference=None,
        reason=None,
        ended_at=None,
    )
    session.add(row)
    await session.flush()
    ledger = await accounts.lock(session, [wallet])
    ledger.hold(wallet, amount_minor, kind=Kind.PAYOUT_HELD, reference=f"wdr_{row.id}")
    await accounts.save(session, ledger)
    await instruct(session, "transfer", row.id, "provider")
    return row
