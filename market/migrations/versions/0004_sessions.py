"""The sessions of an instrument."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "session",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("instrument_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("begins_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("window_seconds", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("price_minor", sa.BigInteger(), nullable=True),
        sa.Column("lots", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("kind in ('opening', 'closing')", name=op.f("ck_session_kind_is_known")),
        sa.CheckConstraint("begins_at < ends_at", name=op.f("ck_session_begins_before_it_ends")),
        sa.CheckConstraint("window_seconds between 0 and 3600", name=op.f("ck_session_window_is_bounded")),
        sa.CheckConstraint("ended_at is null or begun_at is not null", name=op.f("ck_session_begun_before_it_ended")),
        sa.ForeignKeyConstraint(["instrument_id"], ["instrument.id"], name=op.f("fk_session_instrument_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_session")),
        sa.UniqueConstraint("instrument_id", "begins_at", name=op.f("uq_session_instrument_id_begins_at")),
    )
    op.add_column("instrument", sa.Column("call_ends_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("instrument", sa.Column("stopped_by", sa.Text(), nullable=True))
    op.add_column("instrument", sa.Column("state_before", sa.Text(), nullable=True))
    op.add_column("instrument", sa.Column("listed_state", sa.Text(), server_default="open", nullable=False))
    # Whoever halted a market before there was a plan was an officer.
    op.execute("update instrument set stopped_by = 'officer' where state in ('halted', 'cancel_only')")
    op.create_check_constraint(
        op.f("ck_instrument_stopped_is_stopped"),
        "instrument",
        "stopped_by is null or stopped_by in ('officer', 'switch') and state in ('halted', 'cancel_only')",
    )
    op.create_check_constraint(
        op.f("ck_instrument_listed_state_is_known"), "instrument", "listed_state in ('open', 'halted')"
    )
