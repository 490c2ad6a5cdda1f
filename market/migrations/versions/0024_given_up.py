"""Buyers who don't want to wait any longer."""

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

STATEMENTS = (
    "alter table delivery add column given_up_at timestamptz",
    "create index ix_delivery_given_up on delivery (id) where given_up_at is not null and status = 'pending'",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
