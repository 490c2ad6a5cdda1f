"""Debts are found by their kind alone.

An index that says which accounts are below zero has to follow every change of every balance: no account could be
changed in place any more.
"""

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

STATEMENTS = (
    "drop index ix_account_debt",
    "create index ix_account_debt on account (party_id, asset_id) where kind = 'debt'",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
