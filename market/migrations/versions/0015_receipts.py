"""Receipts of trades."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

RECEIPT_KEY = """
create table receipt_key (
    id text not null,
    public_key bytea not null,
    first_used_at timestamptz not null default now(),
    constraint pk_receipt_key primary key (id)
)
"""
RECEIPT = """
create table receipt (
    trade_id bigint not null,
    side text not null,
    steps bigint not null default 0,
    head_hash bytea,
    first_issued_at timestamptz not null default now(),
    constraint pk_receipt primary key (trade_id, side),
    constraint ck_receipt_side_is_known check (side in ('buy', 'sell')),
    constraint ck_receipt_steps_are_counted check (steps >= 0)
)
"""
RECEIPT_STEP = """
create table receipt_step (
    trade_id bigint not null,
    side text not null,
    number bigint not null,
    kind text not null,
    reference text not null,
    body bytea not null,
    former_hash bytea not null,
    hash bytea not null,
    at timestamptz not null default now(),
    constraint pk_receipt_step primary key (trade_id, side, number),
    constraint fk_receipt_step_trade_id foreign key (trade_id, side) references receipt (trade_id, side)
)
"""
# A receipt names the link that covers its trade's batch, and knows only when that was.
LINK_BY_TIME = "create index ix_audit_link_at on audit_link using brin (at)"


def upgrade() -> None:
    for statement in (RECEIPT_KEY, RECEIPT, RECEIPT_STEP, LINK_BY_TIME):
        op.execute(statement)
