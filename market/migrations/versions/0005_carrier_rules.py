"""What matching by carriers' rules needs."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

COUNTS = ("sent_today", "received_today", "received_today_mb", "sent_month", "received_month", "received_month_mb")
MOVED = """
insert into line_usage (line_id, day, sent_today, received_today, received_today_mb, sent_month, received_month,
    received_month_mb)
select line_id, (now() at time zone 'Asia/Shanghai')::date - date '1970-01-01',
    count(*) filter (where sent and today), count(*) filter (where not sent and today),
    coalesce(sum(quantity) filter (where not sent and today), 0),
    count(*) filter (where sent), count(*) filter (where not sent),
    coalesce(sum(quantity) filter (where not sent), 0)
from (
    select part.line_id, part.sent, quantity,
        delivery.created_at >= date_trunc('day', now(), 'Asia/Shanghai') as today
    from delivery left join custody on custody.id = custody_id
    cross join lateral (values (custody.line_id, true), (receiver_line_id, false)) as part (line_id, sent)
    where delivery.carrier is not null and part.line_id is not null
        and delivery.created_at >= date_trunc('month', now(), 'Asia/Shanghai')
) transfer group by line_id
"""
"""What was traded in this month before the engine kept count."""


def upgrade() -> None:
    op.create_table(
        "line_usage",
        sa.Column("line_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("plan", sa.Text(), nullable=True),
        sa.Column("province", sa.Text(), nullable=True),
        sa.Column("day", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in COUNTS),
        sa.PrimaryKeyConstraint("line_id", name=op.f("pk_line_usage")),
    )
    op.execute("alter table line_usage set (fillfactor = 70)")
    op.execute(MOVED)
    op.create_table(
        "enactment",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("instrument_id", sa.BigInteger(), nullable=False),
        sa.Column("rule_profile_id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_enactment")),
    )
    op.create_index("ix_enactment_instrument", "enactment", ["instrument_id", "at"], unique=False)
    op.execute(
        "create trigger rule_profile_is_append_only before update or delete or truncate on rule_profile "
        "for each statement execute function refuse_change()"
    )
