"""Stored responses on Postgres, so that a conversation goes on at any of several gateways."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from prefrontal.clock import Clock
from prefrontal.errors import StoreError
from prefrontal.ledger.conversations import CLEAN_EVERY, MAX_BYTES, MAX_LINKS, RETENTION_S, StoredResponse, whole_chain
from prefrontal.ledger.postgres.pool import Postgres
from prefrontal.ledger.postgres.sql import text

_PUT = (
    "INSERT INTO responses (id, previous_id, owner, created_s, bytes, body) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id)"
    " DO UPDATE SET previous_id = excluded.previous_id, owner = excluded.owner, created_s = excluded.created_s,"
    " bytes = excluded.bytes, body = excluded.body"
)
_CHAIN = (
    "WITH RECURSIVE chain(id, previous_id, body, depth) AS ("
    " SELECT id, previous_id, body, 0 FROM responses WHERE id = $1 AND owner = $2"
    " UNION ALL SELECT r.id, r.previous_id, r.body, chain.depth + 1 FROM responses r JOIN chain ON r.id = chain.previous_id"
    " WHERE r.owner = $2 AND chain.depth < $3) SELECT body FROM chain ORDER BY depth"
)
_EXPIRE = "DELETE FROM responses WHERE created_s < $1"
_SHRINK = (  # all but the newest that fit, and the newest however large it is
    "DELETE FROM responses WHERE id IN (SELECT id FROM (SELECT id, sum(bytes) OVER (ORDER BY created_s DESC, id DESC) AS total,"
    " row_number() OVER (ORDER BY created_s DESC, id DESC) AS place FROM responses) AS old WHERE total > $1 AND place > 1)"
)


class PostgresConversations:
    """Keeps responses in the ledger's database, whose connections it borrows: the ledger closes them."""

    def __init__(
        self, postgres: Postgres, *, clock: Clock, retention_s: float = RETENTION_S, max_bytes: int = MAX_BYTES
    ) -> None:
        self._postgres = postgres
        self._clock = clock
        self._retention_s = retention_s
        self._max_bytes = max_bytes
        self._puts = 0
        self._closed = False
        self._encoder = msgspec.json.Encoder()
        self._decoder = msgspec.json.Decoder(StoredResponse)

    async def put(self, stored: StoredResponse) -> None:
        """See `Conversations.put`. Now and then deletes what is too old or too much."""
        body = self._encoder.encode(stored)
        previous = None if stored.previous_id is None else text(stored.previous_id)
        values = (text(stored.id), previous, text(stored.owner), stored.created_s, len(body), body)
        await self._there().execute(_PUT, *values)
        if self._puts % CLEAN_EVERY == 0:
            await self._postgres.execute(_EXPIRE, self._clock.now() - self._retention_s)
            await self._postgres.execute(_SHRINK, self._max_bytes)
        self._puts += 1

    async def get(self, response_id: str, owner: str) -> StoredResponse | None:
        """See `Conversations.get`."""
        query = "SELECT body FROM responses WHERE id = $1 AND owner = $2"
        row = await self._there().fetchrow(query, text(response_id), text(owner))
        return None if row is None else self._decode(row[0])

    async def chain(self, response_id: str, owner: str) -> list[StoredResponse]:
        """See `Conversations.chain`."""
        rows = await self._there().fetch(_CHAIN, text(response_id), text(owner), MAX_LINKS)
        return whole_chain([self._decode(row[0]) for row in rows])

    async def delete(self, response_id: str, owner: str) -> bool:
        """See `Conversations.delete`."""
        statement = "DELETE FROM responses WHERE id = $1 AND owner = $2"
        return bool(await self._there().execute(statement, text(response_id), text(owner)))

    async def erase(self, owner: str) -> int:
        """See `Conversations.erase`."""
        return await self._there().execute("DELETE FROM responses WHERE owner = $1", text(owner))

    async def ids(
        self, *, owner: str | None = None, user: str | None = None, response_id: str | None = None
    ) -> list[tuple[str, str]]:
        """See `Conversations.ids`."""
        if user is not None:
            rows = await self._there().fetch(
                "SELECT id, owner FROM responses WHERE position($1::bytea IN body) > 0", user.encode()
            )
        elif owner is not None:
            rows = await self._there().fetch("SELECT id, owner FROM responses WHERE owner = $1", text(owner))
        else:
            rows = await self._there().fetch("SELECT id, owner FROM responses WHERE id = $1", text(response_id or ""))
        return [(row[0], row[1]) for row in rows]

    async def forget(self, pairs: Sequence[tuple[str, str]]) -> int:
        """See `Conversations.forget`. Postgres itself keeps old pages until it vacuums."""
        return sum([await self.delete(response_id, owner) for response_id, owner in pairs])

    async def aclose(self) -> None:
        """See `Conversations.aclose`."""
        self._closed = True

    def _there(self) -> Postgres:
        if self._closed:
            raise StoreError("The store of conversations is closed.")
        return self._postgres

    def _decode(self, body: bytes) -> StoredResponse:
        try:
            return self._decoder.decode(body)
        except msgspec.DecodeError as error:
            raise StoreError(f"A stored response cannot be read: {error}.") from error
