"""Authorisations and credits as instructions, saved cards."""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

ASKED = """
alter table payment
    add column customer text,
    add column return_url text,
    add column checkout_id text,
    add constraint uq_payment_checkout_id unique (checkout_id)
"""
# What was asked for before there was an instruction for it is asked about, and never sent again without its customer.
UNANSWERED = """
insert into instruction (kind, subject_id, lane, status, attempt, last_sent_at, reason)
select case kind when 'top_up' then 'credit' else 'authorise' end, id, 'provider', 'unknown', 60, created_at,
    'it was asked for without an instruction'
from payment where status in ('requested', 'unknown') and provider_id is null
"""
UNCONFIRMED = """
insert into instruction (kind, subject_id, lane, not_before)
select 'abandon', id, 'provider', created_at + interval '24 hours'
from payment where status = 'requires_action' and provider_id is not null
"""
PAYER = "create index ix_payment_customer on payment (customer)"
SAVED_CARD = """
create table saved_card (
    id text not null,
    party_id bigint not null,
    brand text not null,
    last4 text not null,
    expiry_month bigint not null,
    expiry_year bigint not null,
    saved_at timestamptz not null default now(),
    removed_at timestamptz,
    constraint pk_saved_card primary key (id),
    constraint ck_saved_card_last4_is_four_digits check (last4 ~ '^[0-9]{4}$')
)
"""
CARDS_OF_PARTY = "create index ix_saved_card_party on saved_card (party_id) where removed_at is null"
STATEMENTS = (ASKED, UNANSWERED, UNCONFIRMED, PAYER, SAVED_CARD, CARDS_OF_PARTY)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
