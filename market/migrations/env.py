"""Runs the migrations over asyncpg, one caller at a time."""

import asyncio

from alembic import context
from sqlalchemy import Connection, pool, text
from sqlalchemy.ext.asyncio import create_async_engine

import market.alert_tables  # noqa: F401 - the tables register themselves
import market.attention_tables  # noqa: F401 - the same
import market.autopilot_tables  # noqa: F401 - the same
import market.basket_tables  # noqa: F401 - the same
import market.carrier_charge_tables  # noqa: F401 - the same
import market.case_tables  # noqa: F401 - the same
import market.data_tables  # noqa: F401 - the same
import market.destiny_tables  # noqa: F401 - the same
import market.fee_tables  # noqa: F401 - the same
import market.gift_link_tables  # noqa: F401 - the same
import market.household_tables  # noqa: F401 - the same
import market.line_tables  # noqa: F401 - the same
import market.payout_tables  # noqa: F401 - the same
import market.receipt_tables  # noqa: F401 - the same
import market.session_tables  # noqa: F401 - the same
import market.tables  # noqa: F401 - the same
import market.trust_tables  # noqa: F401 - the same
import market.usage_tables  # noqa: F401 - the same
import settlement.buy_in_tables  # noqa: F401 - the same
import settlement.card_tables  # noqa: F401 - the same
import settlement.carrier_stop_tables  # noqa: F401 - the same
import settlement.data_gift_tables  # noqa: F401 - the same
import settlement.escalation_tables  # noqa: F401 - the same
import settlement.lane_tables  # noqa: F401 - the same
import settlement.ledger_tables  # noqa: F401 - the same
import settlement.line_event_tables  # noqa: F401 - the same
import settlement.notice_tables  # noqa: F401 - the same
import settlement.payment_tables  # noqa: F401 - the same
import settlement.phone_bill_tables  # noqa: F401 - the same
import settlement.push_tables  # noqa: F401 - the same
import settlement.reconciliation.tables  # noqa: F401 - the same
import settlement.reopening_tables  # noqa: F401 - the same
import settlement.tables  # noqa: F401 - the same
from settlement.base import Base

MIGRATION_LOCK = 0x5F10
"""Key of the advisory lock that makes a second caller wait."""


def _run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=Base.metadata, transaction_per_migration=False)
    with context.begin_transaction():
        connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        context.run_migrations()


async def _migrate() -> None:
    engine = create_async_engine(context.config.attributes["database_url"], poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(_run)
        await connection.commit()
    await engine.dispose()


asyncio.run(_migrate())
