"""What is kept of one key, one person or one request: to hand it out, and to delete it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from prefrontal.app.outcomes import Outcomes
from prefrontal.app.pseudonyms import DIGITS, KEY_FILE, PREFIX, Pseudonyms
from prefrontal.clock import Clock
from prefrontal.config.home import Home
from prefrontal.config.schema import Config
from prefrontal.contracts.outcome import Outcome
from prefrontal.errors import InvalidRequest, NotFound
from prefrontal.ledger.conversations import Conversations
from prefrontal.ledger.keyring import KeyRing
from prefrontal.ledger.store import Ledger, Subject
from prefrontal.ledger.vault import Audit, Vault

if TYPE_CHECKING:
    from prefrontal.app.library import Prefrontal

KEY_DIGITS = 12
"""By so many digits a key of the configuration is told in records."""

AT_ONCE = 500
"""Records deleted in one transaction, so that nobody waits long for the database (assumed)."""

RESPONSE = "resp_"
REQUEST = "req_"


class Whose(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Exactly one of: a key (name or id), a user (as clients name them, or a pseudonym), a request (its trace)."""

    key: str | None = None
    user: str | None = None
    request: str | None = None


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """What was deleted: records with their content and outcomes, stored responses, and cached answers."""

    records: int = 0
    responses: int = 0
    cached: int = 0


KeyIds = Callable[[str], Awaitable[tuple[str, ...]]]
"""From a key's name or id to the ids its records may have. Raises NotFound, StoreError."""

ClearCache = Callable[[str], Awaitable[int]]
"""Forgets the cached answers of a key's id (empty: of callers without one); returns how many there were."""


class Privacy:
    """Belongs to one event loop. `clear_cache` None: there is no cache to look into."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        conversations: Conversations,
        vault: Vault,
        people: Callable[[tuple[str, ...]], tuple[str, ...]],
        key_ids: KeyIds,
        clock: Clock,
        clear_cache: ClearCache | None = None,
        outcomes: Outcomes | None = None,
    ) -> None:
        self._ledger = ledger
        self._conversations = conversations
        self._vault = vault
        self._people = people
        self._key_ids = key_ids
        self._clock = clock
        self._clear_cache = clear_cache
        self._outcomes = outcomes

    async def erase(self, whose: Whose, actor: str) -> Erased:
        """Delete what is kept, and note in the audit log that it was done, and by whom.

        Charges stay: they hold no words and no person, and the books have to add up. Logs, traces sent to a collector, and what
        providers keep are out of reach.

        Raises:
            InvalidRequest: not exactly one of the three. NotFound: no such key. StoreError.
        """
        subjects = await self._subjects(whose)
        records = responses = cached = 0
        owners: set[str] = set()
        for subject in subjects:
            pairs = await self._conversations.ids(owner=subject.key_id, user=subject.user, response_id=_response_id(subject))
            owners.update(owner for _, owner in pairs)
            responses += await self._conversations.forget(pairs)
            ids = await self._ledger.ids_of(subject)
            for start in range(0, len(ids), AT_ONCE):
                part = ids[start : start + AT_ONCE]
                if self._clear_cache is not None and subject.key_id is None:
                    owners.update([record.key_id or "" for one in part if (record := await self._ledger.get(one)) is not None])
                records += await self._ledger.erase(part)
            if subject.key_id is not None:
                owners.add(subject.key_id)
        if self._clear_cache is not None:
            for owner in owners:  # cached answers do not say for whom they were made, so all of the same key go
                cached += await self._clear_cache(owner)
        found = Erased(records=records, responses=responses, cached=cached)
        details = f"{records} records, {responses} responses, {cached} cached answers"
        target = ", ".join([_named(subject) for subject in subjects])
        await self._vault.note(Audit(at_s=self._clock.now(), actor=actor, action="erase", target=target, details=details))
        return found

    async def export(self, whose: Whose, actor: str) -> AsyncIterator[dict[str, Any]]:
        """Yield everything that is kept, one object a record or stored response, newest record first. Raises like `erase`."""
        subjects = await self._subjects(whose)
        target = ", ".join([_named(subject) for subject in subjects])
        await self._vault.note(Audit(at_s=self._clock.now(), actor=actor, action="export", target=target))
        for subject in subjects:
            for record_id in await self._ledger.ids_of(subject):
                record = await self._ledger.get(record_id)
                if record is not None:
                    yield {"kind": "record", **msgspec.to_builtins(record)}
                    for outcome in await self._told(record_id):
                        yield {"kind": "outcome", **msgspec.to_builtins(outcome)}
            pairs = await self._conversations.ids(owner=subject.key_id, user=subject.user, response_id=_response_id(subject))
            for response_id, owner in pairs:
                stored = await self._conversations.get(response_id, owner)
                if stored is not None:
                    yield {"kind": "response", **msgspec.json.decode(msgspec.json.encode(stored))}

    async def _told(self, record_id: str) -> list[Outcome]:
        store = None if self._outcomes is None else self._outcomes.store
        return [] if store is None else await store.of([record_id])

    async def _subjects(self, whose: Whose) -> tuple[Subject, ...]:
        given = [name for name in Whose.__struct_fields__ if getattr(whose, name)]
        if len(given) != 1:
            raise InvalidRequest("Say exactly one of: key, user, request.", param=given[-1] if given else "user")
        if whose.key is not None:
            return tuple([Subject(key_id=key_id) for key_id in await self._key_ids(whose.key)])
        if whose.user is not None:
            known = whose.user.startswith(PREFIX) and len(whose.user) == len(PREFIX) + DIGITS
            found = (whose.user,) if known else self._people((whose.user,))
            if not found:
                raise InvalidRequest("People are not kept here: there is no key for pseudonyms.", param="user")
            return (Subject(user=found[0]),)
        return (Subject(record_id=whose.request),)


def _response_id(subject: Subject) -> str | None:
    """Return the id of the stored response that a request made, or None."""
    return None if subject.record_id is None else RESPONSE + subject.record_id.removeprefix(REQUEST)


def _named(subject: Subject) -> str:
    return subject.key_id or subject.user or subject.record_id or ""


def privacy_of(pf: Prefrontal) -> Privacy:
    """Return what hands out and deletes, for a running gateway."""

    async def key_ids(name: str) -> tuple[str, ...]:
        return await ids_of_key(pf.money.keys, name)

    async def clear_cache(owner: str) -> int:
        cache = pf.machine.parts.cache
        return 0 if cache is None else await cache.clear(tenant=cached_for(pf.config, owner))

    return Privacy(
        ledger=pf.ledger,
        conversations=pf.conversations,
        vault=pf.money.vault,
        people=pf.machine.parts.users,
        key_ids=key_ids,
        clock=pf.clock,
        clear_cache=clear_cache,
        outcomes=pf.outcomes,
    )


async def ids_of_key(keys: KeyRing, name: str) -> tuple[str, ...]:
    """Return the ids of every key of a name or id, revoked ones too; a key of the configuration goes by its digits.

    Raises:
        NotFound, StoreError.
    """
    found = tuple([key.id for key in await keys.keys() if name in (key.id, key.name)])
    if found:
        return found
    if len(name) == KEY_DIGITS and set(name) <= set("0123456789abcdef"):
        return (name,)
    raise NotFound(f"There is no key '{name}'.", hint="GET /v1/admin/keys or `prefrontal keys list` shows them.")


def cached_for(config: Config, owner: str) -> str | None:
    """Return whose cached answers are those of a key's id; where several keys share answers, None: everybody's."""
    return f"key:{owner}" if config.cache.scope == "key" else None


def people_in(config: Config, home: Home) -> Pseudonyms:
    """Return what gives people their pseudonyms, under a configuration."""
    return Pseudonyms(key=config.records.user_key, file=home.root / KEY_FILE)
