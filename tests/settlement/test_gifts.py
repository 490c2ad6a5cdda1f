"""Coins redeemed and data handed out: the carrier does it once, or nothing has changed."""

import pytest

from settlement import accounts
from settlement.gifts import reference_of
from settlement.ledger import Kind
from settlement.tables import HandoutRow, RedemptionRow
from tests.carrier.simulator import month_end, only_bucket
from tests.settlement.making import NEXT, Balance, asset, balance, imbalance, instruct
from tests.settlement.world import World


async def a_redemption(world: World, suffix: str, coins: int = 200) -> RedemptionRow:
    line, party = world.a_line(suffix, remaining_mb=0), next(NEXT)
    async with world.sessions.begin() as session:
        coin = await asset(session, "COIN", "coin")
        wallet = await accounts.account_id(session, party, coin, "wallet")
        issue = await accounts.house_account(session, "coin_issue", coin)
        row = RedemptionRow(
            party_id=party, key="key", account_id=wallet, line_id=line, carrier="CMCC", coins=coins,
            expires_at=month_end(), carrier_reference=None, reason=None, ended_at=None,
        )  # fmt: skip
        session.add(row)
        await session.flush()
        ledger = await accounts.lock(session, [wallet, issue])
        ledger.move(Kind.COIN_EARNED, f"test_{row.id}", source=issue, target=wallet, amount=coins)
        ledger.hold(wallet, coins, kind=Kind.COIN_REDEEM_HELD, reference=reference_of(row.id))
        await accounts.save(session, ledger)
        await instruct(session, "redeem", row.id, "CMCC")
    return row


@pytest.mark.parametrize(
    ("suffix", "end", "left"), [("0000", "done", 0), ("9001", "refused", 200), ("9003", "done", 0)]
)
async def test_coins_become_data_or_stay_coins(world: World, suffix: str, end: str, left: int) -> None:
    row = await a_redemption(world, suffix)

    async with world.working():
        await world.status("redeem", row.id, end)

    async with world.sessions() as session:
        ended = await session.get_one(RedemptionRow, row.id)
        assert ended.status == end
        assert await balance(session, row.account_id) == Balance(left, 0)
        assert await imbalance(session) == {}
    received = await world.carrier.buckets(world.numbers[row.line_id])
    assert sum(bucket.remaining_mb for bucket in received) == 200 - left


@pytest.mark.parametrize(("suffix", "end", "received"), [("0000", "done", 150), ("9001", "refused", 0)])
async def test_a_partners_data_is_handed_out_once(world: World, suffix: str, end: str, received: int) -> None:
    sender, receiver = world.a_line(remaining_mb=500), world.a_line(suffix, remaining_mb=0)
    bucket = await only_bucket(world.carrier, world.numbers[sender])
    async with world.sessions.begin() as session:
        row = HandoutRow(
            party_id=next(NEXT), key="key", line_id=sender, receiver_line_id=receiver, carrier="CMCC",
            bucket_id=bucket.id, amount_mb=150, carrier_reference=None, reason=None, ended_at=None,
        )  # fmt: skip
        session.add(row)
        await session.flush()
        await instruct(session, "handout", row.id, "CMCC")

    async with world.working():
        await world.status("handout", row.id, end)

    async with world.sessions() as session:
        assert (await session.get_one(HandoutRow, row.id)).status == end
    buckets = await world.carrier.buckets(world.numbers[receiver])
    assert sum(one.remaining_mb for one in buckets) == received
