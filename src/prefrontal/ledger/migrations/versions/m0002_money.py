"""Charges, virtual keys and the audit log."""

from prefrontal.ledger.migrations.steps import down, up

revision = "0002"
down_revision = "0001"

POSTGRES = (
    """
    CREATE TABLE charges (
        id TEXT COLLATE "C" PRIMARY KEY,
        at_s DOUBLE PRECISION NOT NULL,
        held BOOLEAN NOT NULL,
        expires_s DOUBLE PRECISION,
        key_id TEXT,
        team TEXT,
        tags TEXT[],
        model TEXT NOT NULL,
        outcome TEXT NOT NULL,
        source TEXT NOT NULL,
        input_tokens BIGINT NOT NULL,
        cache_read_tokens BIGINT NOT NULL,
        cache_write_tokens BIGINT NOT NULL,
        output_tokens BIGINT NOT NULL,
        reasoning_tokens BIGINT NOT NULL,
        cost_pico BIGINT
    )
    """,
    "CREATE INDEX charges_by_time ON charges (at_s)",
    "CREATE INDEX charges_held ON charges (expires_s) WHERE held",
    'CREATE TABLE keys (id TEXT COLLATE "C" PRIMARY KEY, hash BYTEA NOT NULL UNIQUE, name TEXT NOT NULL, body BYTEA NOT NULL)',
    """
    CREATE TABLE audit (
        number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        at_s DOUBLE PRECISION NOT NULL,
        actor TEXT NOT NULL,
        action TEXT NOT NULL,
        target TEXT NOT NULL,
        details TEXT NOT NULL
    )
    """,
    # as on SQLite: what was recorded before charges were kept, a request of several attempts as one
    """
    INSERT INTO charges SELECT id || '/0', started_s, false, NULL, key_id, NULL, NULL, model, status, 'estimated', input_tokens,
        0, 0, output_tokens, 0, round(cost_usd::numeric * 1000000000000)::bigint
    FROM records WHERE model IS NOT NULL AND answered_by = 'model'
    """,
)
TABLES = ("DROP TABLE charges", "DROP TABLE keys", "DROP TABLE audit")


def upgrade() -> None:
    """Make the tables, and charges for the records there are."""
    up(2, postgres=POSTGRES)


def downgrade() -> None:
    """Drop them: keys, their budgets and what was spent are gone; the records stay."""
    down(2, postgres=TABLES, sqlite=TABLES)
