"""The equation of each currency: what the provider holds is what our books say, less what is under way and listed."""

from dataclasses import dataclass

import asyncpg

from settlement.payments.port import Payments
from settlement.reconciliation.differences import Difference
from settlement.reconciliation.documents import OUTWARD
from settlement.reconciliation.window import Window

TRIES = 3
"""How often the provider is asked for its balance when our books move meanwhile."""

_BOOKS = """
select asset.code as currency,
    coalesce(-sum(available + held) filter (where account.kind = 'provider'), 0)::bigint as books,
    coalesce(sum(available + held) filter (where account.kind = 'card'), 0)::bigint as authorised,
    coalesce((select sum(amount_minor) from payout where currency = asset.code and status = 'transferred'), 0)::bigint
        as leaving
from account join asset on asset.id = asset_id where asset.kind = 'money' group by asset.code order by 1
"""
_LISTED = """
select unit, sum(case when kind = any ($1) then -1 else 1 end * (coalesce(theirs, 0)
    - case when cause in ('missing_there', 'amount_differs', 'done_twice') then coalesce(ours, 0) else 0 end))::bigint
from break_item where counterparty = 'provider' and status in ('open', 'explained')
    and cause not in ('balance_differs', 'ledger_differs') and kind not like 'dispute_fee%'
group by unit
"""
"""What the listed breaks take from the provider's side or add to it; what was adjusted is in our books, fees apart."""
_FEES = """
select coalesce(sum(fees), 0)::bigint from (
    select sum(fee) as fees from theirs where at >= $1
    union all
    select sum((total->>'fees')::bigint) from (
        select distinct on (day) day, totals from reconciliation
        where scope = 'all' and status = 'done' and day <> $2 order by day, id desc
    ) newest, jsonb_array_elements(totals) total where total->>'counterparty' = 'provider' and newest.day < $2
) kept
"""
"""All that the provider has kept for itself: of this day from its lines, of the days before from their runs."""
_FEES_BOOKED = """
select coalesce(-sum(available + held), 0)::bigint from account join asset on asset.id = asset_id
where account.kind = 'provider_fees' and asset.code = $1
"""
_UNCLEARED = """
select account.id, account.kind, account.reference, asset.code, available + held as amount, coalesce((
        select max(posting.at) from posting where posting.account_id = account.id), $1) as at
from account join asset on asset.id = asset_id
where available + held <> 0 and (
    account.kind = 'suspense'
    or account.kind = 'card' and exists (
        select from payment where payment.account_id = account.id
            and status in ('voided', 'declined', 'succeeded', 'refunded'))
    or account.kind = 'buy_in' and exists (select from buy_in where account_id = account.id and status = 'ended')
    or account.kind = 'custody' and exists (
        select from custody where custody.account_id = account.id and status in ('released', 'refused'))
)
"""


@dataclass(frozen=True, slots=True)
class Balance:
    """One currency, in minor units: ``provider`` is what they hold, ``books`` what our ledger says they should.

    In transit are holds on cards that were not captured yet, which they don't have, and
    withdrawals that have left them and are not at the bank. ``fees`` are those that they
    kept and nobody has booked yet; ``listed`` is what the open breaks come to.
    """

    currency: str
    provider: int
    books: int
    in_transit: int
    fees: int
    listed: int

    @property
    def expected(self) -> int:
        return self.books - self.in_transit - self.fees + self.listed

    @property
    def unexplained(self) -> int:
        return self.provider - self.expected

    def difference(self, window: Window) -> Difference:
        """The break that an unexplained amount is."""
        detail = f"books {self.books}, in transit {self.in_transit}, fees {self.fees}, listed {self.listed}"
        unit, at = self.currency, window.now
        return Difference(
            "balance", unit, None, "balance_differs", detail, unit, at, ours=self.expected, theirs=self.provider
        )


async def with_provider(
    connection: asyncpg.Connection, payments: Payments, window: Window, currency: str
) -> list[Balance]:
    """The equation of each currency, when the window reaches the present, as the provider only tells of that.

    The breaks of this run are written before, as they are part of it.

    Raises:
        PaymentError: the provider did not say.
    """
    if not window.reaches_now:
        return []
    for _ in range(TRIES):
        books = await connection.fetch(_BOOKS)
        held = await payments.balance()
        if books == await connection.fetch(_BOOKS):
            break
    listed = dict(await connection.fetch(_LISTED, list(OUTWARD)))
    fees = await connection.fetchval(_FEES, window.since, window.day)
    booked = await connection.fetchval(_FEES_BOOKED, currency)
    return [
        Balance(
            currency=row["currency"],
            provider=held.get(row["currency"], 0),
            books=row["books"],
            in_transit=row["authorised"] + row["leaving"],
            fees=fees - booked if row["currency"] == currency else 0,
            listed=listed.get(row["currency"], 0),
        )
        for row in books
    ]


async def uncleared(connection: asyncpg.Connection, window: Window) -> list[Difference]:
    """Accounts that money or data only passes through, and that are not empty after it has."""
    return [
        Difference(
            f"account_{row['kind']}",
            f"acc_{row['id']}",
            row["id"],
            "not_cleared",
            f"{row['kind']} {row['reference'] or ''}".strip(),
            row["code"],
            row["at"],
            row["amount"],
        )
        for row in await connection.fetch(_UNCLEARED, window.now)
    ]
