"""The simulated carrier's tables. Creating them twice does no harm."""

LOCK_ID = 0x5CA44135

TABLES = """
-- A line that distributes is a company's: what is settled to it may be passed on once.
CREATE TABLE IF NOT EXISTS line (
    carrier text NOT NULL,
    msisdn text NOT NULL,
    name text NOT NULL,
    id_document text NOT NULL,
    plan_name text NOT NULL,
    payment text NOT NULL CHECK (payment IN ('prepaid', 'postpaid')),
    province text NOT NULL,
    status text NOT NULL CHECK (status IN ('active', 'suspended')),
    sim_changed_at timestamptz,
    distributes boolean NOT NULL DEFAULT false,
    PRIMARY KEY (carrier, msisdn)
);

-- Transferable data may be reserved and given away, distributable data only given away.
CREATE TABLE IF NOT EXISTS bucket (
    id text PRIMARY KEY,
    carrier text NOT NULL,
    msisdn text NOT NULL,
    scope text NOT NULL,
    app_scope text,
    expires_at timestamptz NOT NULL,
    remaining_mb bigint NOT NULL CHECK (remaining_mb >= 0),
    reserved_mb bigint NOT NULL CHECK (reserved_mb >= 0),
    total_mb bigint NOT NULL CHECK (total_mb >= 0),
    transferable boolean NOT NULL,
    distributable boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL,
    FOREIGN KEY (carrier, msisdn) REFERENCES line,
    CHECK (NOT (transferable AND distributable))
);

-- A database from before there were distribution accounts.
ALTER TABLE line ADD COLUMN IF NOT EXISTS distributes boolean NOT NULL DEFAULT false;
ALTER TABLE line ADD COLUMN IF NOT EXISTS subscriber_since timestamptz;
ALTER TABLE line ADD COLUMN IF NOT EXISTS left_at timestamptz;
-- What its subscriber uses on a usual day, and the newest day whose usage has been taken.
ALTER TABLE line ADD COLUMN IF NOT EXISTS daily_mb bigint NOT NULL DEFAULT 0;
ALTER TABLE line ADD COLUMN IF NOT EXISTS used_on date;
ALTER TABLE bucket ADD COLUMN IF NOT EXISTS distributable boolean NOT NULL DEFAULT false;
ALTER TABLE IF EXISTS entry DROP CONSTRAINT IF EXISTS entry_action_id_fkey;
ALTER TABLE bucket DROP CONSTRAINT IF EXISTS bucket_carrier_msisdn_scope_app_scope_expires_at_transferab_key;

CREATE UNIQUE INDEX IF NOT EXISTS bucket_of_a_kind
    ON bucket (carrier, msisdn, scope, app_scope, expires_at, transferable, distributable) NULLS NOT DISTINCT;

-- open_mb is what is still set aside; a live reservation is a confirmed one.
CREATE TABLE IF NOT EXISTS reservation (
    seq bigint GENERATED ALWAYS AS IDENTITY,
    id text PRIMARY KEY,
    carrier text NOT NULL,
    msisdn text NOT NULL,
    bucket_id text NOT NULL REFERENCES bucket,
    external_id text,
    digest text NOT NULL,
    answer text NOT NULL,
    open_mb bigint NOT NULL CHECK (open_mb >= 0),
    status text NOT NULL CHECK (status IN ('confirmed', 'completed', 'cancelled', 'expired')),
    expires_at timestamptz NOT NULL,
    requested_at timestamptz NOT NULL,
    CHECK (status = 'confirmed' OR open_mb = 0)
);
CREATE INDEX IF NOT EXISTS reservation_by_external_id ON reservation (carrier, external_id);
CREATE INDEX IF NOT EXISTS reservation_by_bucket ON reservation (bucket_id);
CREATE INDEX IF NOT EXISTS reservation_by_expiry ON reservation (expires_at) WHERE status = 'confirmed';

CREATE TABLE IF NOT EXISTS movement (
    seq bigint GENERATED ALWAYS AS IDENTITY,
    id text PRIMARY KEY,
    carrier text NOT NULL,
    resource text NOT NULL CHECK (resource IN ('adjustBalance', 'transferBalance', 'topupBalance')),
    external_id text,
    digest text NOT NULL,
    answer text NOT NULL,
    amount_mb bigint NOT NULL CHECK (amount_mb > 0),
    sender_msisdn text,
    receiver_msisdn text,
    requested_at timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS movement_by_external_id ON movement (carrier, external_id);
-- Not by carrier first: a plan made while there are no movements yet would look up external identifiers by it.
DROP INDEX IF EXISTS movement_by_resource;
CREATE INDEX IF NOT EXISTS movement_in_order ON movement (resource, carrier, seq);

-- The journal: every change of a balance is an action with its entries, and the entries of an action sum to zero.
CREATE TABLE IF NOT EXISTS action (
    seq bigint GENERATED ALWAYS AS IDENTITY,
    id text PRIMARY KEY,
    carrier text NOT NULL,
    kind text NOT NULL,
    subject_id text,
    external_id text,
    amount_mb bigint NOT NULL CHECK (amount_mb >= 0),
    msisdn text,
    receiver_msisdn text,
    at timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS action_by_time ON action (carrier, at);
CREATE INDEX IF NOT EXISTS action_by_external_id ON action (carrier, external_id);

-- Written with its action by one statement. bucket_id is null for the carrier's own side, from which data is issued and
-- into which it is used up.
CREATE TABLE IF NOT EXISTS entry (
    action_id text NOT NULL,
    position smallint NOT NULL,
    bucket_id text,
    account text NOT NULL CHECK (account IN ('remaining', 'reserved', 'issued')),
    change_mb bigint NOT NULL,
    before_mb bigint,
    after_mb bigint,
    PRIMARY KEY (action_id, position),
    CHECK ((bucket_id IS NULL) = (account = 'issued')),
    CHECK (after_mb = before_mb + change_mb)
);

CREATE TABLE IF NOT EXISTS sms (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    carrier text NOT NULL,
    msisdn text NOT NULL,
    sender text NOT NULL,
    text text NOT NULL,
    at timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS sms_by_line ON sms (carrier, msisdn, id);

CREATE TABLE IF NOT EXISTS otp (
    id text PRIMARY KEY,
    carrier text NOT NULL,
    msisdn text NOT NULL,
    salt text NOT NULL,
    code_hash text NOT NULL,
    wrong_tries smallint NOT NULL DEFAULT 0,
    used boolean NOT NULL DEFAULT false,
    sent_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS otp_by_line ON otp (carrier, msisdn, sent_at);

CREATE TABLE IF NOT EXISTS network_token (
    token_hash text PRIMARY KEY,
    carrier text NOT NULL,
    msisdn text NOT NULL,
    expires_at timestamptz NOT NULL
);

-- Who is told what happens to a number.
CREATE TABLE IF NOT EXISTS subscription (
    id text PRIMARY KEY,
    carrier text NOT NULL,
    msisdn text NOT NULL,
    sink text NOT NULL,
    token text NOT NULL,
    at timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS subscription_by_line ON subscription (carrier, msisdn);

CREATE TABLE IF NOT EXISTS profile (carrier text PRIMARY KEY, settings text NOT NULL);
CREATE TABLE IF NOT EXISTS fault_count (
    carrier text NOT NULL,
    fault text NOT NULL,
    times bigint NOT NULL,
    PRIMARY KEY (carrier, fault)
);
CREATE TABLE IF NOT EXISTS fault_once (carrier text NOT NULL, key text NOT NULL, PRIMARY KEY (carrier, key));
"""
