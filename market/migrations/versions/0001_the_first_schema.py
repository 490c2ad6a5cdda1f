"""The first schema."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


APPEND_ONLY = ("posting", "trade", "journal", "audit_link")

REFUSE_CHANGE = """
create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only; a correction is a new row', tg_table_name using errcode = 'restrict_violation';
end $$
"""

TRANSFER_BALANCES = """
create function transfer_balances() returns trigger language plpgsql as $$
declare
    astray bigint;
begin
    select asset_id into astray
    from posting join account on account.id = posting.account_id
    where transfer_id = new.transfer_id
    group by asset_id having sum(available_change + held_change) <> 0 limit 1;
    if found then
        raise exception 'transfer % is out of balance', new.transfer_id using errcode = 'check_violation';
    end if;
    return null;
end $$
"""


def upgrade() -> None:
    op.create_table(
        "asset",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("carrier", sa.Text(), nullable=True),
        sa.Column("scope", sa.Text(), nullable=True),
        sa.Column("app_scope", sa.Text(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind in ('money', 'data', 'coin')", name=op.f("ck_asset_kind_is_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_asset")),
        sa.UniqueConstraint("code", name=op.f("uq_asset_code")),
    )
    op.create_table(
        "audit_link",
        sa.Column("chain", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first_seq", sa.BigInteger(), nullable=True),
        sa.Column("last_seq", sa.BigInteger(), nullable=True),
        sa.Column("payload", sa.LargeBinary(), nullable=True),
        sa.Column("former_hash", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("chain", "number", name=op.f("pk_audit_link")),
    )
    op.create_table(
        "delivery",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("carrier", sa.Text(), nullable=True),
        sa.Column("custody_id", sa.BigInteger(), nullable=True),
        sa.Column("custody_account_id", sa.BigInteger(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("money_account_id", sa.BigInteger(), nullable=False),
        sa.Column("payment_id", sa.BigInteger(), nullable=True),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("fee_minor", sa.BigInteger(), nullable=False),
        sa.Column("proceeds_account_id", sa.BigInteger(), nullable=False),
        sa.Column("receiver_line_id", sa.BigInteger(), nullable=True),
        sa.Column("coin_account_id", sa.BigInteger(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("carrier_reference", sa.Text(), nullable=True),
        sa.Column("payment_reference", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status in ('pending', 'delivered', 'settled', 'refunded')", name=op.f("ck_delivery_status_is_known")
        ),
        sa.CheckConstraint(
            "(receiver_line_id is null) <> (coin_account_id is null)", name=op.f("ck_delivery_goes_to_line_or_account")
        ),
        sa.CheckConstraint("fee_minor between 0 and amount_minor", name=op.f("ck_delivery_fee_is_covered")),
        sa.CheckConstraint("quantity > 0 and amount_minor > 0", name=op.f("ck_delivery_amounts_are_positive")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery")),
    )
    op.create_index(
        "ix_delivery_custody", "delivery", ["custody_id"], unique=False, postgresql_where=sa.text("status = 'pending'")
    )
    op.create_index(
        "ix_delivery_open",
        "delivery",
        ["id"],
        unique=False,
        postgresql_where=sa.text("status in ('pending', 'delivered')"),
    )
    op.create_index(
        "ix_delivery_payment",
        "delivery",
        ["payment_id"],
        unique=False,
        postgresql_where=sa.text("payment_id is not null"),
    )
    op.create_table(
        "engine_lease",
        sa.Column("shard", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("backend_pid", sa.BigInteger(), nullable=False),
        sa.Column("stream_id", sa.Text(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("last_trade", sa.BigInteger(), nullable=False),
        sa.Column("last_link", sa.BigInteger(), nullable=False),
        sa.Column("last_hash", sa.LargeBinary(), nullable=False),
        sa.Column("renewed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("shard", name=op.f("pk_engine_lease")),
    )
    op.create_table(
        "handout",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("party_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("line_id", sa.BigInteger(), nullable=False),
        sa.Column("receiver_line_id", sa.BigInteger(), nullable=False),
        sa.Column("carrier", sa.Text(), nullable=False),
        sa.Column("bucket_id", sa.Text(), nullable=False),
        sa.Column("amount_mb", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("carrier_reference", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("status in ('requested', 'done', 'refused')", name=op.f("ck_handout_status_is_known")),
        sa.CheckConstraint("amount_mb > 0", name=op.f("ck_handout_amount_is_positive")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_handout")),
        sa.UniqueConstraint("party_id", "key", name=op.f("uq_handout_party_id_key")),
    )
    op.create_index(op.f("ix_handout_party_id"), "handout", ["party_id"], unique=False)
    op.create_table(
        "instruction",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="ready", nullable=False),
        sa.Column("attempt", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("claimed_by", sa.Text(), nullable=True),
        sa.Column("claim_deadline", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("request_hash", sa.LargeBinary(), nullable=True),
        sa.Column("external_reference", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status in ('ready', 'claimed', 'unknown', 'done', 'refused', 'dead')",
            name=op.f("ck_instruction_status_is_known"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instruction")),
        sa.UniqueConstraint("kind", "subject_id", name=op.f("uq_instruction_kind_subject_id")),
    )
    op.create_index(
        "ix_instruction_dead", "instruction", ["id"], unique=False, postgresql_where=sa.text("status = 'dead'")
    )
    op.create_index(
        "ix_instruction_due",
        "instruction",
        ["lane", "not_before"],
        unique=False,
        postgresql_where=sa.text("status in ('ready', 'claimed', 'unknown')"),
    )
    op.create_table(
        "journal",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("party_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("body_hash", sa.LargeBinary(), nullable=False),
        sa.Column("command", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_journal")),
        sa.UniqueConstraint("party_id", "key", name=op.f("uq_journal_party_id_key")),
    )
    op.create_table(
        "officer",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("login", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("carrier", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("role in ('compliance', 'operations')", name=op.f("ck_officer_role_is_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_officer")),
        sa.UniqueConstraint("login", name=op.f("uq_officer_login")),
    )
    op.create_table(
        "orders",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("instrument_id", sa.BigInteger(), nullable=False),
        sa.Column("party_id", sa.BigInteger(), nullable=False),
        sa.Column("group_id", sa.BigInteger(), nullable=False),
        sa.Column("side", sa.SmallInteger(), nullable=False),
        sa.Column("price_minor", sa.BigInteger(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("open", sa.BigInteger(), nullable=False),
        sa.Column("filled", sa.BigInteger(), nullable=False),
        sa.Column("time_in_force", sa.Text(), nullable=False),
        sa.Column("market", sa.Boolean(), nullable=False),
        sa.Column("post_only", sa.Boolean(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fee_basis_points", sa.BigInteger(), nullable=False),
        sa.Column("fee_minimum_minor", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("proceeds_account_id", sa.BigInteger(), nullable=True),
        sa.Column("line_id", sa.BigInteger(), nullable=True),
        sa.Column("custody_id", sa.BigInteger(), nullable=True),
        sa.Column("payment_id", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("priority", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("state <> 'open' or open > 0", name=op.f("ck_orders_open_orders_want_something")),
        sa.CheckConstraint("state = 'open' or open = 0", name=op.f("ck_orders_ended_orders_want_nothing")),
        sa.CheckConstraint("state in ('open', 'filled', 'cancelled')", name=op.f("ck_orders_state_is_known")),
        sa.CheckConstraint("filled between 0 and quantity - open", name=op.f("ck_orders_never_overfilled")),
        sa.CheckConstraint("open between 0 and quantity", name=op.f("ck_orders_open_is_covered")),
        sa.CheckConstraint("quantity > 0 and price_minor > 0", name=op.f("ck_orders_terms_are_positive")),
        sa.CheckConstraint("side in (1, 2)", name=op.f("ck_orders_side_is_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_orders")),
    )
    op.create_index(
        "ix_orders_due",
        "orders",
        ["expires_at"],
        unique=False,
        postgresql_where=sa.text("state = 'open' and expires_at is not null"),
    )
    op.create_index(
        "ix_orders_open",
        "orders",
        ["instrument_id", "side", "price_minor"],
        unique=False,
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_index("ix_orders_party", "orders", ["party_id", "id"], unique=False)
    op.create_table(
        "party",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("group_id", sa.BigInteger(), nullable=False),
        sa.Column("locale", sa.Text(), server_default="zh_CN", nullable=False),
        sa.Column("customer_reference", sa.Text(), nullable=True),
        sa.Column("payout_reference", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_signed_in_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("rewarded_on", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "kind in ('subscriber', 'partner', 'carrier', 'provider', 'operator')", name=op.f("ck_party_kind_is_known")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_party")),
    )
    op.create_table(
        "posting",
        sa.Column("transfer_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("available_change", sa.BigInteger(), nullable=False),
        sa.Column("held_change", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind >= 20 or available_change + held_change = 0", name=op.f("ck_posting_a_hold_balances")),
        sa.PrimaryKeyConstraint("transfer_id", "account_id", name=op.f("pk_posting")),
    )
    op.create_index("ix_posting_account", "posting", ["account_id", "at", "transfer_id"], unique=False)
    op.create_index(
        "uq_posting_settled_once",
        "posting",
        ["kind", "reference", "account_id"],
        unique=True,
        postgresql_where=sa.text("kind >= 20"),
    )
    op.create_table(
        "provider_event",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("object_id", sa.Text(), nullable=False),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("handled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_provider_event")),
    )
    op.create_table(
        "rule_profile",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("carrier", sa.Text(), nullable=False),
        sa.Column("effective_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("terms", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rule_profile")),
        sa.UniqueConstraint("carrier", "effective_from", name=op.f("uq_rule_profile_carrier_effective_from")),
    )
    op.create_table(
        "surveillance_event",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("party_id", sa.BigInteger(), nullable=False),
        sa.Column("instrument_id", sa.BigInteger(), nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_surveillance_event")),
    )
    op.create_index("ix_surveillance_event_at", "surveillance_event", ["at"], unique=False)
    op.create_table(
        "trade",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("instrument_id", sa.BigInteger(), nullable=False),
        sa.Column("price_minor", sa.BigInteger(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("buy_order_id", sa.BigInteger(), nullable=False),
        sa.Column("sell_order_id", sa.BigInteger(), nullable=False),
        sa.Column("buyer_id", sa.BigInteger(), nullable=False),
        sa.Column("seller_id", sa.BigInteger(), nullable=False),
        sa.Column("taker_side", sa.SmallInteger(), nullable=False),
        sa.Column("fee_minor", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("quantity > 0 and price_minor > 0", name=op.f("ck_trade_terms_are_positive")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trade")),
    )
    op.create_index("ix_trade_buyer", "trade", ["buyer_id", "id"], unique=False)
    op.create_index("ix_trade_instrument", "trade", ["instrument_id", "at", "id"], unique=False)
    op.create_index("ix_trade_seller", "trade", ["seller_id", "id"], unique=False)
    op.create_table(
        "account",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("party_id", sa.BigInteger(), nullable=False),
        sa.Column("asset_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("may_go_negative", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("available", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("held", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("available >= 0 or may_go_negative", name=op.f("ck_account_available_is_not_negative")),
        sa.CheckConstraint("held >= 0", name=op.f("ck_account_held_is_not_negative")),
        sa.ForeignKeyConstraint(["asset_id"], ["asset.id"], name=op.f("fk_account_asset_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
        sa.UniqueConstraint(
            "party_id",
            "asset_id",
            "kind",
            "reference",
            name=op.f("uq_account_party_id_asset_id_kind_reference"),
            postgresql_nulls_not_distinct=True,
        ),
    )
    op.create_table(
        "api_key",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("party_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["party_id"], ["party.id"], name=op.f("fk_api_key_party_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("key_hash", name=op.f("uq_api_key_key_hash")),
    )
    op.create_index(op.f("ix_api_key_party_id"), "api_key", ["party_id"], unique=False)
    op.create_table(
        "instrument",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("asset_id", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("lot_units", sa.BigInteger(), nullable=False),
        sa.Column("tick_minor", sa.BigInteger(), nullable=False),
        sa.Column("floor_minor", sa.BigInteger(), nullable=False),
        sa.Column("ceiling_minor", sa.BigInteger(), nullable=False),
        sa.Column("reference_minor", sa.BigInteger(), nullable=False),
        sa.Column("maximum_lots", sa.BigInteger(), nullable=False),
        sa.Column("fee_basis_points", sa.BigInteger(), nullable=False),
        sa.Column("fee_minimum_minor", sa.BigInteger(), nullable=False),
        sa.Column("opens_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closes_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.Text(), server_default="open", nullable=False),
        sa.CheckConstraint(
            "state in ('open', 'cancel_only', 'halted', 'closed')", name=op.f("ck_instrument_state_is_known")
        ),
        sa.CheckConstraint("fee_basis_points between 0 and 10000", name=op.f("ck_instrument_fee_is_a_share")),
        sa.CheckConstraint(
            "floor_minor > 0 and floor_minor <= ceiling_minor", name=op.f("ck_instrument_band_is_ordered")
        ),
        sa.CheckConstraint(
            "lot_units > 0 and tick_minor > 0 and maximum_lots > 0", name=op.f("ck_instrument_steps_are_positive")
        ),
        sa.CheckConstraint("opens_at < closes_at", name=op.f("ck_instrument_opens_before_it_closes")),
        sa.ForeignKeyConstraint(["asset_id"], ["asset.id"], name=op.f("fk_instrument_asset_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instrument")),
        sa.UniqueConstraint("asset_id", name=op.f("uq_instrument_asset_id")),
        sa.UniqueConstraint("symbol", name=op.f("uq_instrument_symbol")),
    )
    op.create_table(
        "line",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("party_id", sa.BigInteger(), nullable=False),
        sa.Column("carrier", sa.Text(), nullable=False),
        sa.Column("province", sa.Text(), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("base_mb", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), server_default="active", nullable=False),
        sa.Column("number_hash", sa.LargeBinary(), nullable=False),
        sa.Column("number_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("verified_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("plan in ('prepaid', 'postpaid')", name=op.f("ck_line_plan_is_known")),
        sa.CheckConstraint("state in ('active', 'suspended', 'closed')", name=op.f("ck_line_state_is_known")),
        sa.ForeignKeyConstraint(["party_id"], ["party.id"], name=op.f("fk_line_party_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_line")),
        sa.UniqueConstraint("number_hash", name=op.f("uq_line_number_hash")),
    )
    op.create_index(op.f("ix_line_party_id"), "line", ["party_id"], unique=False)
    op.create_table(
        "custody",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("party_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("line_id", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("carrier", sa.Text(), nullable=False),
        sa.Column("bucket_id", sa.Text(), nullable=False),
        sa.Column("quantity_mb", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reservation_id", sa.Text(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "status in ('requested', 'reserved', 'releasing', 'released', 'refused')",
            name=op.f("ck_custody_status_is_known"),
        ),
        sa.CheckConstraint("quantity_mb > 0", name=op.f("ck_custody_quantity_is_positive")),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_custody_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_custody")),
        sa.UniqueConstraint("party_id", "key", name=op.f("uq_custody_party_id_key")),
    )
    op.create_table(
        "payment",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("party_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("captured_minor", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("refunded_minor", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("payment_method", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("provider_id", sa.Text(), nullable=True),
        sa.Column("action_url", sa.Text(), nullable=True),
        sa.Column("capture_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind in ('top_up', 'card_hold')", name=op.f("ck_payment_kind_is_known")),
        sa.CheckConstraint(
            "status in ('requested', 'requires_action', 'authorised', 'succeeded', 'voided', 'declined', 'refunded', 'unknown')",
            name=op.f("ck_payment_status_is_known"),
        ),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_payment_amount_is_positive")),
        sa.CheckConstraint("captured_minor between 0 and amount_minor", name=op.f("ck_payment_capture_is_covered")),
        sa.CheckConstraint("refunded_minor between 0 and captured_minor", name=op.f("ck_payment_refund_is_covered")),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_payment_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment")),
        sa.UniqueConstraint("party_id", "key", name=op.f("uq_payment_party_id_key")),
        sa.UniqueConstraint("provider_id", name=op.f("uq_payment_provider_id")),
    )
    op.create_index(op.f("ix_payment_party_id"), "payment", ["party_id"], unique=False)
    op.create_table(
        "payout",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("party_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("transfer_reference", sa.Text(), nullable=True),
        sa.Column("payout_reference", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status in ('requested', 'transferred', 'paid', 'refused')", name=op.f("ck_payout_status_is_known")
        ),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_payout_amount_is_positive")),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_payout_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payout")),
        sa.UniqueConstraint("party_id", "key", name=op.f("uq_payout_party_id_key")),
    )
    op.create_index(op.f("ix_payout_party_id"), "payout", ["party_id"], unique=False)
    op.create_table(
        "redemption",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("party_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("line_id", sa.BigInteger(), nullable=False),
        sa.Column("carrier", sa.Text(), nullable=False),
        sa.Column("coins", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("carrier_reference", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("status in ('requested', 'done', 'refused')", name=op.f("ck_redemption_status_is_known")),
        sa.CheckConstraint("coins > 0", name=op.f("ck_redemption_coins_are_positive")),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_redemption_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_redemption")),
        sa.UniqueConstraint("party_id", "key", name=op.f("uq_redemption_party_id_key")),
    )
    op.create_index(op.f("ix_redemption_party_id"), "redemption", ["party_id"], unique=False)

    op.execute(sa.schema.CreateSequence(sa.Sequence("transfer_number", start=2**60)))
    op.execute(REFUSE_CHANGE)
    for table in APPEND_ONLY:
        op.execute(
            f"create trigger {table}_is_append_only before update or delete or truncate on {table} "
            "for each statement execute function refuse_change()"
        )
    op.execute(TRANSFER_BALANCES)
    op.execute(
        "create constraint trigger a_transfer_balances after insert on posting deferrable initially deferred "
        "for each row when (new.kind >= 20) execute function transfer_balances()"
    )
