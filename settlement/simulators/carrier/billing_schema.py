"""The tables behind the phone bill."""

TABLES = """
-- What stands on a line's bill is what succeeded, less what was refunded; a reservation counts against the limit too.
CREATE TABLE IF NOT EXISTS bill_payment (
    seq bigint GENERATED ALWAYS AS IDENTITY,
    id text PRIMARY KEY,
    carrier text NOT NULL,
    msisdn text NOT NULL,
    correlator text,
    reference_code text NOT NULL,
    description text NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    currency text NOT NULL,
    status text NOT NULL CHECK (status IN ('reserved', 'succeeded', 'cancelled')),
    created_at timestamptz NOT NULL,
    paid_at timestamptz,
    FOREIGN KEY (carrier, msisdn) REFERENCES line,
    UNIQUE (carrier, correlator),
    CHECK ((status = 'succeeded') = (paid_at IS NOT NULL))
);
CREATE INDEX IF NOT EXISTS bill_payment_by_time ON bill_payment (carrier, created_at, seq);
CREATE INDEX IF NOT EXISTS bill_payment_by_line ON bill_payment (carrier, msisdn, created_at);

-- A payment is refunded as a whole, so at most once.
CREATE TABLE IF NOT EXISTS bill_refund (
    id text PRIMARY KEY,
    payment_id text NOT NULL UNIQUE REFERENCES bill_payment,
    correlator text,
    reference_code text NOT NULL,
    created_at timestamptz NOT NULL
);
"""
