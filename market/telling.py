"""What members are told by themselves: how their trades ended; and the texts that go to their phones."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import text, update

from market import notices
from market.announcing import announce
from market.custody import SHANGHAI
from market.engine.commands import party_channel
from market.rounds import Rounds, beside
from market.venue import Venue
from settlement.carriers.errors import CarrierError
from settlement.notice_tables import NoticeRow

log = structlog.get_logger()

Words = Callable[[str, Mapping[str, object], str], str]
"""Makes a sentence of a notice's kind, facts and the reader's language."""

LOOK_SECONDS = 3.0
TEXT_SECONDS = 15.0
FORGET_SECONDS = 3_600.0
BEHIND = timedelta(minutes=2)
"""A commit may come later than its own time says, so that much is read again."""
FIRST_BEHIND = timedelta(days=1)
TEXTS_A_DAY = 5
TEXTS_AT_ONCE = 50
ALWAYS = ("bank_changed",)
"""What is about the safety of money is texted to everybody, at any hour."""
STALE = timedelta(hours=24)
"""What could not be texted for so long is not texted any more."""

_ENDED = text("""
insert into notice (party_id, kind, about, facts, once)
select side.party_id,
    case when delivery.status = 'refunded' then case side.name when 'buy' then 'refunded' else 'not_sold' end
         else case side.name when 'buy' then 'bought' else 'sold' end
            || case when delivery.coin_account_id is null then '' else '_coins' end end,
    '/trades/trd_' || delivery.id,
    jsonb_build_object('quantity_mb', delivery.quantity, 'coins', delivery.quantity,
        'amount_minor', delivery.amount_minor, 'net_minor', delivery.amount_minor - delivery.fee_minor),
    'trade-' || delivery.id
from delivery join trade on trade.id = delivery.id
cross join lateral (values (trade.buyer_id, 'buy'), (trade.seller_id, 'sell')) side (party_id, name)
join party on party.id = side.party_id and party.kind = 'subscriber'
where delivery.ended_at > :since and delivery.ended_at <= :until and delivery.status in ('settled', 'refunded')
on conflict do nothing returning party_id
""")


async def tell_of_trades(venue: Venue, since: datetime, until: datetime) -> int:
    """Tell both sides of every trade that ended in a span of time, once; says how many were told."""
    async with venue.sessions.begin() as session:
        told = list(await session.scalars(_ENDED, {"since": since, "until": until}))
    await announce(venue.redis, *map(party_channel, sorted(set(told))))
    return len(told)


# The hours are the carriers' clock; a text that waits for the end of the quiet ones keeps nobody else's waiting.
_TEXTS = text("""
with due as (
    select notice.id, notice.kind, notice.facts,
        notice.at > :stale and (coalesce(setting.texts, false) or notice.kind = any(:always)) as wanted,
        row_number() over (partition by notice.party_id order by notice.id) + (
            select count(*) from notice sent
            where sent.party_id = notice.party_id and sent.text_state = 'sent' and sent.at > :yesterday
        ) as of_the_day, line.carrier, line.number_sealed, party.locale
    from (select * from notice where text_state = 'due' order by id limit 500 for update skip locked) notice
    join party on party.id = notice.party_id left join alert_setting setting on setting.party_id = notice.party_id
    left join lateral (
        select carrier, number_sealed from line
        where line.party_id = notice.party_id and state = 'active' and verified_at is not null order by id limit 1
    ) line on true
    where not coalesce(setting.texts, false) or notice.at <= :stale or notice.kind = any(:always) or not case
        when quiet_from <= quiet_until then :hour >= quiet_from and :hour < quiet_until
        else :hour >= quiet_from or :hour < quiet_until end
    order by notice.id limit :limit
)
update notice set text_state = case
    when wanted and carrier is not null and (of_the_day <= :most or notice.kind = any(:always)) then 'sent'
    else 'dropped' end
from due where due.id = notice.id
returning notice.id, due.kind, due.facts, due.carrier, due.number_sealed, due.locale, notice.text_state
""")


async def send_texts(venue: Venue, words: Words, now: datetime) -> int:
    """Text what is due and may be texted now; says how many texts went out.

    A text is marked as sent before it is sent: one that gets lost is better than one that wakes somebody twice.
    """
    values = {
        "stale": now - STALE, "yesterday": now - timedelta(days=1), "hour": now.astimezone(SHANGHAI).hour,
        "limit": TEXTS_AT_ONCE, "most": TEXTS_A_DAY, "always": list(ALWAYS),
    }  # fmt: skip
    async with venue.sessions.begin() as session:
        rows = [row for row in await session.execute(_TEXTS, values) if row.text_state == "sent"]
    for row in rows:
        await _send(venue, row.id, row.carrier, row.number_sealed, words(row.kind, row.facts, row.locale))
    return len(rows)


async def _send(venue: Venue, notice_id: int, carrier: str, sealed: bytes, sentence: str) -> None:
    port = venue.carriers.get(carrier)
    try:
        if port is not None and port.capabilities.messages:
            await port.send_sms(venue.vault.open(sealed), sentence)
            return
    except CarrierError as error:
        log.info("text_not_sent", notice=notice_id, error=type(error).__name__)
    async with venue.sessions.begin() as session:
        await session.execute(update(NoticeRow).where(NoticeRow.id == notice_id).values(text_state="failed"))


async def _forget(venue: Venue) -> None:
    async with venue.sessions.begin() as session:
        await notices.forget(session)


def watching(venue: Venue, words: Words) -> AbstractAsyncContextManager[None]:
    """Tell beside whatever else a program does."""
    read_to = datetime.now(UTC) - FIRST_BEHIND

    async def tell(venue: Venue) -> None:
        nonlocal read_to
        until = datetime.now(UTC)
        await tell_of_trades(venue, read_to - BEHIND, until)
        read_to = until

    return beside(
        venue,
        Rounds("notices of trades", tell, LOOK_SECONDS),
        Rounds("texts", lambda venue: send_texts(venue, words, datetime.now(UTC)), TEXT_SECONDS),
        Rounds("old notices", _forget, FORGET_SECONDS),
    )
