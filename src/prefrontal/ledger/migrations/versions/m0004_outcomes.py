"""What turned out to be right about answers, and the calibrators fitted to it."""

from prefrontal.ledger.migrations.steps import down, up

revision = "0004"
down_revision = "0003"

POSTGRES = (
    """
    CREATE TABLE outcomes (
        record_id TEXT COLLATE "C" NOT NULL,
        question INTEGER NOT NULL,
        option_index INTEGER,
        model TEXT,
        reward DOUBLE PRECISION,
        origin TEXT NOT NULL,
        at_s DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (record_id, question)
    )
    """,
    'CREATE TABLE calibrators (id TEXT COLLATE "C" PRIMARY KEY, made_s DOUBLE PRECISION NOT NULL, body BYTEA NOT NULL)',
)
TABLES = ("DROP TABLE outcomes", "DROP TABLE calibrators")


def upgrade() -> None:
    """Make the tables."""
    up(4, postgres=POSTGRES)


def downgrade() -> None:
    """Drop them: labels and calibrators are gone; records and what was answered stay."""
    down(4, postgres=TABLES, sqlite=TABLES)
