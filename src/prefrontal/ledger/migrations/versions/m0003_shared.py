"""What several processes share: the books of budgets, which books a charge counts in, and the counters of rate limits."""

from prefrontal.ledger.migrations.steps import down, up

revision = "0003"
down_revision = "0002"

POSTGRES = (
    "ALTER TABLE charges ADD COLUMN lines TEXT[]",
    "CREATE INDEX charges_by_key ON charges (key_id, at_s) WHERE key_id IS NOT NULL",
    # rows that change with every request: room on each page keeps an update from touching the index
    """
    CREATE TABLE books (
        scope TEXT COLLATE "C" NOT NULL,
        span TEXT COLLATE "C" NOT NULL,
        subject TEXT COLLATE "C" NOT NULL,
        start_s DOUBLE PRECISION NOT NULL,
        spent_pico NUMERIC NOT NULL,
        spent_tokens NUMERIC NOT NULL,
        held_pico NUMERIC NOT NULL,
        held_tokens NUMERIC NOT NULL,
        unpriced BIGINT NOT NULL,
        PRIMARY KEY (scope, span, subject, start_s)
    ) WITH (fillfactor = 50)
    """,
    """
    CREATE TABLE rate_slots (
        meter TEXT COLLATE "C" NOT NULL,
        slot BIGINT NOT NULL,
        requests BIGINT NOT NULL,
        tokens BIGINT NOT NULL,
        ends_s DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (meter, slot)
    ) WITH (fillfactor = 50)
    """,
    """
    CREATE TABLE rate_leases (
        meter TEXT COLLATE "C" NOT NULL,
        lease TEXT COLLATE "C" NOT NULL,
        ends_s DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (meter, lease)
    )
    """,
    "CREATE INDEX rate_leases_by_lease ON rate_leases (lease)",
)
DOWN = (
    "DROP TABLE books",
    "DROP TABLE rate_slots",
    "DROP TABLE rate_leases",
    "DROP INDEX charges_by_key",
    "ALTER TABLE charges DROP COLUMN lines",
)


def upgrade() -> None:
    """Make the tables; books are filled from the charges when they are first needed."""
    up(3, postgres=POSTGRES)


def downgrade() -> None:
    """Drop them: nothing is lost that the charges do not say."""
    down(3, postgres=DOWN, sqlite=DOWN)
