"""Request records, and on Postgres stored responses, which have a file of their own on SQLite."""

from prefrontal.ledger.migrations.steps import down, up

revision = "0001"
down_revision = None

POSTGRES = (
    # ids are ordered by their bytes everywhere, whatever the language of the database
    """
    CREATE TABLE records (
        id TEXT COLLATE "C" PRIMARY KEY,
        started_s DOUBLE PRECISION NOT NULL,
        status TEXT NOT NULL,
        answered_by TEXT NOT NULL,
        requested_model TEXT NOT NULL,
        model TEXT,
        channel TEXT NOT NULL,
        key_id TEXT,
        input_tokens BIGINT NOT NULL,
        output_tokens BIGINT NOT NULL,
        cost_usd DOUBLE PRECISION,
        duration_ms DOUBLE PRECISION NOT NULL
    )
    """,
    "CREATE INDEX records_by_time ON records (started_s, model, cost_usd)",
    # JSON as bytes: jsonb would change numbers and refuse the character zero
    'CREATE TABLE bodies (id TEXT COLLATE "C" PRIMARY KEY, body BYTEA NOT NULL, content BYTEA)',
    """
    CREATE TABLE responses (
        id TEXT COLLATE "C" PRIMARY KEY,
        previous_id TEXT COLLATE "C",
        owner TEXT NOT NULL,
        created_s DOUBLE PRECISION NOT NULL,
        bytes BIGINT NOT NULL,
        body BYTEA NOT NULL
    )
    """,
    "CREATE INDEX responses_by_age ON responses (created_s, bytes)",
    "CREATE INDEX responses_by_owner ON responses (owner)",
)


def upgrade() -> None:
    """Make the tables."""
    up(1, postgres=POSTGRES)


def downgrade() -> None:
    """Drop them."""
    down(
        1,
        postgres=("DROP TABLE records", "DROP TABLE bodies", "DROP TABLE responses"),
        sqlite=("DROP TABLE records", "DROP TABLE bodies"),
    )
