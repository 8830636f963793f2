"""Responses kept because their clients asked for it, so that a later request can go on from one by its id.

They lie in a file of their own: whoever wants no conversations on disk can delete it, and its size never touches the records. One
thread owns the connection; each write is one transaction, and several processes may use the file at once.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from prefrontal.chat.request import Message
from prefrontal.clock import Clock
from prefrontal.errors import StoreError
from prefrontal.ledger.sqlite import write_ahead

T = TypeVar("T")

RETENTION_S = 30 * 86_400.0
"""How long a response is kept (specified: OpenAI's API keeps them 30 days)."""

MAX_BYTES = 512 * 1024 * 1024
"""Bytes kept in all; beyond them the oldest go first (assumed: a hundred thousand long answers, few images)."""

MAX_LINKS = 1000
"""Responses one conversation may be made of (assumed: no model reads longer ones)."""

KEPT_IN_MEMORY = 1000
"""Responses kept where nothing may be written to disk (assumed: some MB)."""

CLEAN_EVERY = 100
"""Writes between two looks at age and size (assumed)."""

BUSY_S = 10.0
"""How long a statement waits for another process (assumed)."""

_TABLE = """
CREATE TABLE IF NOT EXISTS responses (
    id TEXT PRIMARY KEY,
    previous_id TEXT,
    owner TEXT NOT NULL,
    created_s REAL NOT NULL,
    bytes INTEGER NOT NULL,
    body BLOB NOT NULL
)
"""
_SCHEMA = (
    _TABLE,
    "CREATE INDEX IF NOT EXISTS responses_by_age ON responses (created_s, bytes)",
    "CREATE INDEX IF NOT EXISTS responses_by_owner ON responses (owner)",
)
_CHAIN = (
    "WITH RECURSIVE chain(id, previous_id, body, depth) AS ("
    " SELECT id, previous_id, body, 0 FROM responses WHERE id = ? AND owner = ?"
    " UNION ALL SELECT r.id, r.previous_id, r.body, chain.depth + 1 FROM responses r JOIN chain ON r.id = chain.previous_id"
    " WHERE r.owner = ? AND chain.depth < ?) SELECT id, previous_id, body FROM chain ORDER BY depth"
)


class StoredResponse(msgspec.Struct, frozen=True, kw_only=True):
    """One response with what a later one needs of it.

    owner: the key it belongs to; no other sees it. messages: the turn's input and its answer, as blocks, without instructions.
    response: the object as the client got it, JSON. users: the people it was made for, by pseudonym. data_classes: of its turns;
    they hold for whatever goes on from it.
    """

    id: str
    previous_id: str | None = None
    owner: str = ""
    created_s: float = 0.0
    messages: tuple[Message, ...] = ()
    response: msgspec.Raw = msgspec.Raw(b"{}")
    users: tuple[str, ...] = ()
    data_classes: tuple[str, ...] = ()


class Conversations(Protocol):
    """Keeps responses by id and owner, within bounds. All methods raise StoreError when the store cannot be used."""

    async def put(self, stored: StoredResponse) -> None:
        """Return when the response is kept: whoever is told its id may use it at once."""
        ...

    async def get(self, response_id: str, owner: str) -> StoredResponse | None:
        """Return a response; None when it is not there, or is another's."""
        ...

    async def chain(self, response_id: str, owner: str) -> list[StoredResponse]:
        """Return the response and those it goes on from, oldest first, at most `MAX_LINKS`; empty when one of them is gone."""
        ...

    async def delete(self, response_id: str, owner: str) -> bool:
        """Delete a response; return whether it was there."""
        ...

    async def erase(self, owner: str) -> int:
        """Delete everything of an owner; return how many there were."""
        ...

    async def ids(
        self, *, owner: str | None = None, user: str | None = None, response_id: str | None = None
    ) -> list[tuple[str, str]]:
        """Return id and owner of everything of an owner, of a person, or of one id; exactly one is given."""
        ...

    async def forget(self, pairs: Sequence[tuple[str, str]]) -> int:
        """Delete responses by id and owner, so that nothing of them is left in the files; return how many there were."""
        ...

    async def aclose(self) -> None:
        """Close; a second call does nothing."""
        ...


def whole_chain(found: list[StoredResponse]) -> list[StoredResponse]:
    """Return a chain (newest first) oldest first, or nothing when it does not reach its beginning."""
    if not found or (found[-1].previous_id is not None and len(found) <= MAX_LINKS):
        return []
    return found[::-1]


class MemoryConversations:
    """Keeps the newest responses of this process; nothing touches a disk."""

    def __init__(self, keep: int = KEPT_IN_MEMORY) -> None:
        self._keep = keep
        self._found: OrderedDict[str, StoredResponse] = OrderedDict()

    async def put(self, stored: StoredResponse) -> None:
        """See `Conversations.put`."""
        self._found[stored.id] = stored
        while len(self._found) > self._keep:
            self._found.popitem(last=False)

    async def get(self, response_id: str, owner: str) -> StoredResponse | None:
        """See `Conversations.get`."""
        found = self._found.get(response_id)
        return found if found is not None and found.owner == owner else None

    async def chain(self, response_id: str, owner: str) -> list[StoredResponse]:
        """See `Conversations.chain`."""
        found: list[StoredResponse] = []
        following: str | None = response_id
        while following is not None and len(found) <= MAX_LINKS:
            link = await self.get(following, owner)
            if link is None:
                return []
            found.append(link)
            following = link.previous_id
        return whole_chain(found)

    async def delete(self, response_id: str, owner: str) -> bool:
        """See `Conversations.delete`."""
        if await self.get(response_id, owner) is None:
            return False
        del self._found[response_id]
        return True

    async def erase(self, owner: str) -> int:
        """See `Conversations.erase`."""
        gone = [found.id for found in self._found.values() if found.owner == owner]
        for response_id in gone:
            del self._found[response_id]
        return len(gone)

    async def ids(
        self, *, owner: str | None = None, user: str | None = None, response_id: str | None = None
    ) -> list[tuple[str, str]]:
        """See `Conversations.ids`."""
        return [
            (one.id, one.owner)
            for one in self._found.values()
            if one.id == response_id or (owner is not None and one.owner == owner) or user in one.users
        ]

    async def forget(self, pairs: Sequence[tuple[str, str]]) -> int:
        """See `Conversations.forget`."""
        return sum([await self.delete(response_id, owner) for response_id, owner in pairs])

    async def aclose(self) -> None:
        """Nothing to close."""


class SqliteConversations:
    """Keeps responses in one SQLite file, which is made at the first use."""

    def __init__(self, path: Path, *, clock: Clock, retention_s: float = RETENTION_S, max_bytes: int = MAX_BYTES) -> None:
        self._path = path
        self._clock = clock
        self._retention_s = retention_s
        self._max_bytes = max_bytes
        self._thread: ThreadPoolExecutor | None = None
        self._db: sqlite3.Connection | None = None
        self._puts = 0
        self._closed = False
        self._encoder = msgspec.json.Encoder()
        self._decoder = msgspec.json.Decoder(StoredResponse)

    async def put(self, stored: StoredResponse) -> None:
        """See `Conversations.put`. Now and then deletes what is too old or too much."""
        body = self._encoder.encode(stored)
        row = (stored.id, stored.previous_id, stored.owner, stored.created_s, len(body), body)
        clean = self._puts % CLEAN_EVERY == 0
        self._puts += 1
        now_s = self._clock.now()

        def write(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT OR REPLACE INTO responses (id, previous_id, owner, created_s, bytes, body) VALUES (?,?,?,?,?,?)", row
            )
            if clean:
                self._clean(db, now_s)

        await self._do(write, writes=True)

    def _clean(self, db: sqlite3.Connection, now_s: float) -> None:
        db.execute("DELETE FROM responses WHERE created_s < ?", (now_s - self._retention_s,))
        (total,) = db.execute("SELECT coalesce(sum(bytes), 0) FROM responses").fetchone()
        while total > self._max_bytes:
            oldest = db.execute("SELECT id, bytes FROM responses ORDER BY created_s LIMIT 100").fetchall()
            if len(oldest) < 2:
                return  # the newest is kept however large it is
            for response_id, size in oldest[: max(1, len(oldest) - 1)]:
                db.execute("DELETE FROM responses WHERE id = ?", (response_id,))
                total -= size
                if total <= self._max_bytes:
                    return

    async def get(self, response_id: str, owner: str) -> StoredResponse | None:
        """See `Conversations.get`."""
        query = "SELECT body FROM responses WHERE id = ? AND owner = ?"
        row = await self._do(lambda db: db.execute(query, (response_id, owner)).fetchone())
        return None if row is None else self._decode(row[0])

    async def chain(self, response_id: str, owner: str) -> list[StoredResponse]:
        """See `Conversations.chain`."""
        values = (response_id, owner, owner, MAX_LINKS)
        rows = await self._do(lambda db: db.execute(_CHAIN, values).fetchall())
        return whole_chain([self._decode(body) for _, _, body in rows])

    async def delete(self, response_id: str, owner: str) -> bool:
        """See `Conversations.delete`."""
        query = "DELETE FROM responses WHERE id = ? AND owner = ?"
        return bool(await self._do(lambda db: db.execute(query, (response_id, owner)).rowcount, writes=True))

    async def erase(self, owner: str) -> int:
        """See `Conversations.erase`."""
        return await self._do(lambda db: db.execute("DELETE FROM responses WHERE owner = ?", (owner,)).rowcount, writes=True)

    async def ids(
        self, *, owner: str | None = None, user: str | None = None, response_id: str | None = None
    ) -> list[tuple[str, str]]:
        """See `Conversations.ids`."""
        if user is not None:
            query, value = "SELECT id, owner FROM responses WHERE instr(body, CAST(? AS BLOB)) > 0", user
        elif owner is not None:
            query, value = "SELECT id, owner FROM responses WHERE owner = ?", owner
        else:
            query, value = "SELECT id, owner FROM responses WHERE id = ?", response_id or ""
        rows = await self._do(lambda db: db.execute(query, (value,)).fetchall())
        return [(row[0], row[1]) for row in rows]

    async def forget(self, pairs: Sequence[tuple[str, str]]) -> int:
        """See `Conversations.forget`."""
        statement = "DELETE FROM responses WHERE id = ? AND owner = ?"
        if not pairs:
            return 0
        gone = await self._do(lambda db: db.executemany(statement, pairs).rowcount, writes=True)
        await self._do(lambda db: db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
        return gone

    async def aclose(self) -> None:
        """See `Conversations.aclose`."""
        self._closed = True
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.get_running_loop().run_in_executor(thread, self._close)
            thread.shutdown(wait=True)

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _decode(self, body: bytes) -> StoredResponse:
        try:
            return self._decoder.decode(body)
        except msgspec.DecodeError as error:
            raise StoreError(f"A stored response cannot be read: {error}.") from error

    async def _do(self, work: Callable[[sqlite3.Connection], T], *, writes: bool = False) -> T:
        """Run `work` on the store's thread, in a transaction when it writes."""
        if self._closed:
            raise StoreError("The store of conversations is closed.")
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prefrontal-conversations")

        def run() -> T:
            db = self._db = self._db or self._open()
            if not writes:
                return work(db)
            db.execute("BEGIN IMMEDIATE")
            try:
                found = work(db)
                db.execute("COMMIT")
            except BaseException:
                db.execute("ROLLBACK")
                raise
            return found

        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, run)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"The store of conversations cannot be used: {error}.", retry_after_s=1.0) from error

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=BUSY_S)
        try:
            write_ahead(db)
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten, not only given up
            for statement in _SCHEMA:
                db.execute(statement)
            self._path.chmod(0o600)  # conversations are for nobody else on the machine
        except BaseException:
            db.close()
            raise
        return db
