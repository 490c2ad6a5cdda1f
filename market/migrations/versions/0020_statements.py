"""Orders that end at a time are found by it: to end them, and to warn their owners an hour before."""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

STATEMENTS: tuple[str, ...] = (
    "create index ix_open_order_expires_at on open_order (expires_at) where expires_at is not null",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
