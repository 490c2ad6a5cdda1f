"""Open and ended orders apart; what sessions, bands and carriers' rules need."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TERMS = """
    id bigint not null,
    instrument_id bigint not null,
    party_id bigint not null,
    group_id bigint not null,
    side smallint not null,
    price_minor bigint not null,
    quantity bigint not null,
    {progress} bigint not null,
    time_in_force text not null,
    market boolean not null,
    post_only boolean not null,
    self_trade text not null,
    expires_at timestamptz,
    traits jsonb,
    fee_basis_points bigint not null,
    fee_minimum_minor bigint not null,
    account_id bigint not null,
    proceeds_account_id bigint,
    line_id bigint,
    custody_id bigint,
    payment_id bigint,
    version bigint not null,
    priority bigint not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
"""
OPEN_ORDER = f"""
create table open_order (
    {TERMS.format(progress="open")}
    constraint pk_open_order primary key (id),
    constraint ck_open_order_open_is_covered check (open > 0 and open <= quantity and price_minor > 0 and side in (1, 2))
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05)
"""
ENDED_ORDER = f"""
create table ended_order (
    {TERMS.format(progress="filled")}
    state text not null,
    reason text,
    constraint pk_ended_order primary key (id),
    constraint ck_ended_order_state_is_known check (
        state = 'filled' and filled = quantity or state = 'cancelled' and filled >= 0 and filled < quantity
    )
)
"""
SHARED = """
id, instrument_id, party_id, group_id, side, price_minor, quantity, {progress}, time_in_force, market, post_only,
self_trade, expires_at, traits, fee_basis_points, fee_minimum_minor, account_id, proceeds_account_id, line_id, custody_id,
payment_id, {state}, version, priority, created_at, updated_at
"""
ORDERS = f"""
create view orders as
select {SHARED.format(progress="open, quantity - open as filled", state="'open'::text as state, null::text as reason")}
from open_order
union all
select {SHARED.format(progress="0::bigint as open, filled", state="state, reason")} from ended_order
"""  # noqa: S608 - our own words
COPIED = """
insert into {table} ({columns}) select {columns} from (select *, 'cancel_newest' as self_trade, null::jsonb as traits
from former_orders) former where {condition}
"""


def upgrade() -> None:
    op.execute("alter table orders rename to former_orders")
    op.execute(OPEN_ORDER)
    op.execute(ENDED_ORDER)
    open_columns = SHARED.format(progress="open", state="").replace(", ,", ",")
    ended_columns = SHARED.format(progress="filled", state="state, reason")
    op.execute(COPIED.format(table="open_order", columns=open_columns, condition="state = 'open'"))
    op.execute(COPIED.format(table="ended_order", columns=ended_columns, condition="state <> 'open'"))
    op.drop_table("former_orders")
    op.execute(ORDERS)
    op.create_index("ix_open_order_book", "open_order", ["instrument_id", "side", "price_minor"])
    op.create_index("ix_open_order_party", "open_order", ["party_id", "id"])
    op.create_index("ix_ended_order_party", "ended_order", ["party_id", "id"])

    op.execute(
        "create trigger ended_order_is_append_only before update or delete or truncate on ended_order "
        "for each statement execute function refuse_change()"
    )

    op.execute("alter table account set (fillfactor = 50)")
    op.add_column("audit_link", sa.Column("state_hash", sa.BigInteger(), nullable=True))
    op.add_column("instrument", sa.Column("band_basis_points", sa.BigInteger(), nullable=True))
    op.add_column("instrument", sa.Column("paused_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("instrument", sa.Column("rule_profile_id", sa.BigInteger(), nullable=True))
    op.add_column("instrument", sa.Column("shard", sa.SmallInteger(), nullable=True))
    op.drop_constraint(op.f("ck_instrument_state_is_known"), "instrument", type_="check")
    op.create_check_constraint(
        op.f("ck_instrument_state_is_known"),
        "instrument",
        "state in ('pre_open', 'auction', 'open', 'paused', 'cancel_only', 'halted', 'closed')",
    )
    op.create_check_constraint(
        op.f("ck_instrument_band_is_a_share"), "instrument", "band_basis_points between 1 and 10000"
    )
