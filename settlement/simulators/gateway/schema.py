"""The tables of the gateway's own database."""

TABLES = """
create table if not exists account (
    id bigint generated always as identity primary key,
    phone text not null, scope text not null, app_scope text, valid_until_ms bigint not null,
    transferable boolean not null,
    free_mb bigint not null check (free_mb >= 0), frozen_mb bigint not null check (frozen_mb >= 0)
);
create unique index if not exists account_of_received on account (phone, scope, coalesce(app_scope, ''), valid_until_ms)
    where not transferable;
create table if not exists orders (
    id bigint generated always as identity primary key,
    serial_no text not null unique, kind text not null, status int not null,
    amount_mb bigint not null check (amount_mb > 0), left_mb bigint check (left_mb >= 0),
    phone text not null, from_phone text, account_id bigint references account, freeze_id bigint references orders,
    scope text, valid_until_ms bigint, notify_url text, at_ms bigint not null
);
create table if not exists entry (
    id bigint generated always as identity primary key,
    kind text not null, order_id bigint not null references orders, at_ms bigint not null, changes text not null
);
create index if not exists entry_at on entry (at_ms, id);
"""
