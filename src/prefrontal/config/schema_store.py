"""The part of the tree that says where several gateways keep what they share."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from prefrontal.config.schema_numbers import Count


class Store(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A Postgres database for records, keys, budgets, charges and stored responses; needs the extra `postgres`. Read at start."""

    url: Annotated[
        str | None,
        Meta(
            description="Address, such as `postgresql://prefrontal:${PGPASSWORD}@db.internal:5432/prefrontal?sslmode=require`; "
            "left out: the SQLite file of `records.path`."
        ),
    ] = None
    pool_size: Annotated[
        Count, Meta(description="Connections of one process at most. Assumed: a group of writes and a few readers at once.")
    ] = 8
    statement_timeout_s: Annotated[
        float,
        Meta(gt=0, description="A statement that takes longer is given up, s. Assumed: reports over a year take less."),
    ] = 10.0
    replicas: Annotated[
        Count,
        Meta(description="Gateways on this database: while it is gone, each keeps to its share of the rate limits."),
    ] = 1
