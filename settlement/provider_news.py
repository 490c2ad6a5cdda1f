"""What the provider tells us of members themselves: pages they paid on, cards they saved, accounts they are paid by."""

from collections.abc import Awaitable, Callable, Mapping

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from settlement import checkouts, payout_accounts, saved_cards
from settlement.steps import Outside
from settlement.tables import ProviderEventRow

NOT_OURS = "not ours"

Sessions = async_sessionmaker[AsyncSession]
Told = tuple[set[int], str]
"""Who should hear of it, and what came of the event."""


async def _checkout(sessions: Sessions, outside: Outside, event: ProviderEventRow) -> Told:
    row = await checkouts.follow_event(sessions, outside.payments, outside.mark, event.object_id)
    return (set(), NOT_OURS) if row is None else ({row.party_id}, row.status)


async def _card(sessions: Sessions, outside: Outside, event: ProviderEventRow) -> Told:
    card = await outside.payments.saved_card(event.object_id)
    async with sessions.begin() as session:
        party_id = await saved_cards.take_in(session, card)
    return (set(), NOT_OURS) if party_id is None else ({party_id}, "forgotten" if card.customer is None else "saved")


async def _account(sessions: Sessions, outside: Outside, event: ProviderEventRow) -> Told:
    """Also of a bank account behind it: then the event's own object is not the account."""
    if event.kind != "account.updated" and not event.kind.startswith("account.external_account."):
        return set(), "not needed"
    account_id = event.payload.get("account")
    if not isinstance(account_id, str):
        return set(), NOT_OURS
    account = await outside.payments.account(account_id)
    async with sessions.begin() as session:
        row, is_changed = await payout_accounts.take_in(session, account)
    if row is None:
        return set(), NOT_OURS
    return {row.party_id}, "bank account changed" if is_changed else "read"


NEWS: Mapping[str, Callable[[Sessions, Outside, ProviderEventRow], Awaitable[Told]]] = {
    "checkout": _checkout,
    "payment_method": _card,
    "account": _account,
}
"""By the first word of an event's kind."""
