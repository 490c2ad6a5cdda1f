"""The operator puts parties into groups of the fee schedule."""

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

STATEMENTS = (
    "alter table party add column fee_group text",
    """
    alter table fee_schedule
        add column party_group text,
        drop constraint uq_fee_schedule_effective_from,
        add constraint uq_fee_schedule_effective_from
            unique nulls not distinct (effective_from, party_kind, party_group, carrier, symbol),
        add constraint ck_fee_schedule_one_group check (party_kind is null or party_group is null)
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
