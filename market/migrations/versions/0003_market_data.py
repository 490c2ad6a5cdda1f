"""Candles and the price index."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "candle",
        sa.Column("instrument_id", sa.BigInteger(), nullable=False),
        sa.Column("width_minutes", sa.SmallInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("open_minor", sa.BigInteger(), nullable=False),
        sa.Column("high_minor", sa.BigInteger(), nullable=False),
        sa.Column("low_minor", sa.BigInteger(), nullable=False),
        sa.Column("close_minor", sa.BigInteger(), nullable=False),
        sa.Column("lots", sa.BigInteger(), nullable=False),
        sa.Column("turnover_minor", sa.BigInteger(), nullable=False),
        sa.Column("trades", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("width_minutes in (1, 15, 60, 1440)", name=op.f("ck_candle_width_is_known")),
        sa.CheckConstraint(
            "low_minor <= least(open_minor, close_minor) and high_minor >= greatest(open_minor, close_minor)",
            name=op.f("ck_candle_prices_are_ordered"),
        ),
        sa.CheckConstraint("lots > 0 and trades > 0 and low_minor > 0", name=op.f("ck_candle_something_was_traded")),
        sa.ForeignKeyConstraint(["instrument_id"], ["instrument.id"], name=op.f("fk_candle_instrument_id")),
        sa.PrimaryKeyConstraint("instrument_id", "width_minutes", "at", name=op.f("pk_candle")),
    )
    op.create_index(
        "ix_candle_day_changed",
        "candle",
        ["updated_at"],
        unique=False,
        postgresql_where=sa.text("width_minutes = 1440"),
    )
    op.create_table(
        "candle_mark",
        sa.Column("instrument_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("trade_id", sa.BigInteger(), nullable=False),
        sa.Column("last_minor", sa.BigInteger(), nullable=True),
        sa.Column("is_final", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["instrument_id"], ["instrument.id"], name=op.f("fk_candle_mark_instrument_id")),
        sa.PrimaryKeyConstraint("instrument_id", name=op.f("pk_candle_mark")),
    )
    op.create_index(
        "ix_candle_mark_going_on",
        "candle_mark",
        ["instrument_id"],
        unique=False,
        postgresql_where=sa.text("not is_final"),
    )
    # Those that closed before candles were kept are made once, like all others.
    op.execute("insert into candle_mark select id, 'epoch', 0, null, false from instrument")
    op.create_table(
        "price_index",
        sa.Column("carrier", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("median_minor", sa.BigInteger(), nullable=False),
        sa.Column("average_minor", sa.BigInteger(), nullable=False),
        sa.Column("volume_mb", sa.BigInteger(), nullable=False),
        sa.Column("trades", sa.BigInteger(), nullable=False),
        sa.Column("dropped_trades", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("median_minor > 0 and average_minor > 0", name=op.f("ck_price_index_prices_are_positive")),
        sa.CheckConstraint(
            "volume_mb > 0 and trades > 0 and dropped_trades >= 0", name=op.f("ck_price_index_something_was_traded")
        ),
        sa.PrimaryKeyConstraint("carrier", "day", "currency", name=op.f("pk_price_index")),
    )
    op.create_index(op.f("ix_price_index_updated_at"), "price_index", ["updated_at"], unique=False)
