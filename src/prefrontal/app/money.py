"""Budgets, limits and keys of one process: what the configuration says of them, and what admins may do."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import msgspec

from prefrontal.app.stores import Stores
from prefrontal.clock import Chance, Clock
from prefrontal.config.schema import Config
from prefrontal.contracts.money import EACH, Budget, OnExhaustion, Rate, RateWindow, UnknownPrice, Window, to_pico
from prefrontal.contracts.resilience import Priority
from prefrontal.errors import Conflict, InvalidRequest, NotFound
from prefrontal.ledger.keyring import KeyRing
from prefrontal.ledger.keys import PREFIX, VirtualKey, digest_of, shown_of
from prefrontal.ledger.rules import BudgetState, Rules
from prefrontal.ledger.treasury import Treasury
from prefrontal.ledger.vault import Audit, Roles, SpendQuery, SpendRow

SECRET_BYTES = 32
"""Randomness of a key (specified: 256 bits)."""

MAX_NAME = 200
"""Longest name, team or tag, in characters (assumed: they stand in tables)."""


class KeyBudget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A budget of one key; see `budgets` in the configuration."""

    window: Window = "month"
    usd: float | None = None
    tokens: int | None = None
    on_exhaustion: OnExhaustion = "deny"
    unknown_price: UnknownPrice = "deny"


class KeyRate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rate limit of one key; see `limits.rates` in the configuration."""

    window: RateWindow = "minute"
    requests: int | None = None
    tokens: int | None = None
    concurrency: int | None = None


class KeyDraft(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an admin says of a key that is to be made."""

    name: str
    team: str | None = None
    tags: tuple[str, ...] = ()
    models: tuple[str, ...] | None = None
    tools: tuple[str, ...] | None = None
    engrams: tuple[str, ...] = ()
    channel: str | None = None
    store_content: bool = True
    data_class: str | None = None
    priority: Priority = "normal"
    cache: bool | None = None
    budgets: tuple[KeyBudget, ...] = ()
    rates: tuple[KeyRate, ...] = ()
    expires_s: float | None = None


class KeyChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an admin wants changed in a key; what is left out stays."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    team: str | msgspec.UnsetType | None = msgspec.UNSET
    tags: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    models: tuple[str, ...] | msgspec.UnsetType | None = msgspec.UNSET
    tools: tuple[str, ...] | msgspec.UnsetType | None = msgspec.UNSET
    engrams: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    channel: str | msgspec.UnsetType | None = msgspec.UNSET
    store_content: bool | msgspec.UnsetType = msgspec.UNSET
    data_class: str | msgspec.UnsetType | None = msgspec.UNSET
    priority: Priority | msgspec.UnsetType = msgspec.UNSET
    cache: bool | msgspec.UnsetType | None = msgspec.UNSET
    budgets: tuple[KeyBudget, ...] | msgspec.UnsetType = msgspec.UNSET
    rates: tuple[KeyRate, ...] | msgspec.UnsetType = msgspec.UNSET
    expires_s: float | msgspec.UnsetType | None = msgspec.UNSET


class Issued(msgspec.Struct, frozen=True, kw_only=True):
    """A key that was just made, with its secret, which nobody can read again."""

    key: VirtualKey
    secret: str


class Money:
    """Everything of one process that has to do with money. Belongs to one event loop."""

    def __init__(
        self, *, stores: Stores, clock: Clock, chance: Chance, draw: Callable[[int], str] = secrets.token_urlsafe
    ) -> None:
        """`draw` makes the random part of secrets, from so many bytes."""
        self._clock = clock
        self._chance = chance
        self._draw = draw
        self.vault = stores.vault
        self.treasury = Treasury(clock=clock, vault=stores.vault, shared=stores.shared, board=stores.board)
        self.keys = KeyRing(vault=self.vault, treasury=self.treasury, clock=clock)

    async def configure(self, config: Config, roles: Roles, members: Roles | None = None) -> None:
        """Let the budgets and rates of `config` hold. Raises StoreError; the old ones stay then.

        Of several at once the last holds, so rules like those of now take their turn behind others that are being added up.
        """
        await self.treasury.configure(rules_of(config), roles, members)

    # -- for admins ----------------------------------------------------------------------------------------------------

    async def issue(self, draft: KeyDraft, actor: str) -> Issued:
        """Make a key. Raises InvalidRequest, Conflict (an active key has the name), StoreError."""
        await self._check_name(draft.name, None)
        secret = PREFIX + self._draw(SECRET_BYTES)
        now_s = self._clock.now()
        key = VirtualKey(
            id=self._chance.identifier("key_", now_s),
            name=draft.name,
            hash=digest_of(secret).hex(),
            shown=shown_of(secret),
            created_s=now_s,
            team=draft.team,
            tags=draft.tags,
            models=draft.models,
            tools=draft.tools,
            engrams=draft.engrams,
            channel=draft.channel,
            store_content=draft.store_content,
            data_class=draft.data_class,
            priority=draft.priority,
            cache=draft.cache,
            budgets=_budgets(draft.budgets),
            rates=_rates(draft.rates),
            expires_s=draft.expires_s,
        )
        check_key(key)
        await self.keys.save(key, Audit(at_s=now_s, actor=actor, action="key.create", target=key.id, details=key.name))
        return Issued(key=key, secret=secret)

    async def change(self, name: str, change: KeyChange, actor: str) -> VirtualKey:
        """Change a key, by id or name. Raises NotFound, InvalidRequest, Conflict, StoreError."""
        key = await self.key(name)
        fields = {field: getattr(change, field) for field in KeyChange.__struct_fields__}
        fields = {field: value for field, value in fields.items() if value is not msgspec.UNSET}
        if "name" in fields:
            await self._check_name(fields["name"], key.id)
        if "budgets" in fields:
            fields["budgets"] = _budgets(fields["budgets"])
        if "rates" in fields:
            fields["rates"] = _rates(fields["rates"])
        changed = msgspec.structs.replace(key, **fields)
        check_key(changed)
        details = ", ".join(sorted(fields))
        audit = Audit(at_s=self._clock.now(), actor=actor, action="key.change", target=key.id, details=details)
        await self.keys.save(changed, audit)
        return changed

    async def revoke(self, name: str, actor: str) -> VirtualKey:
        """Revoke a key, by id or name; one revoked before stays as it is. Raises NotFound, StoreError."""
        key = await self.key(name)
        if key.revoked_s is not None:
            return key
        now_s = self._clock.now()
        revoked = msgspec.structs.replace(key, revoked_s=now_s)
        await self.keys.save(revoked, Audit(at_s=now_s, actor=actor, action="key.revoke", target=key.id, details=key.name))
        return revoked

    async def key(self, name: str) -> VirtualKey:
        """Return a key by id or name; of several of one name the active one, else the newest. Raises NotFound, StoreError."""
        keys = await self.keys.keys()
        found = [key for key in keys if name in (key.id, key.name)]
        if not found:
            raise NotFound(f"There is no key '{name}'.", hint="GET /v1/admin/keys or `prefrontal keys list` shows them.")
        return max(found, key=lambda key: (key.id == name, key.revoked_s is None, key.created_s))

    async def budgets(self) -> list[BudgetState]:
        """Return every budget as it stands. Raises StoreError."""
        payers = await self.keys.payers()
        for payer in payers:
            if payer.budgets:
                await self.treasury.admit_key(payer)
        return await self.treasury.standing(payers)

    async def report(self, query: SpendQuery) -> list[SpendRow]:
        """Return what was spent. Raises StoreError."""
        return await self.vault.report(query)

    async def _check_name(self, name: str, own: str | None) -> None:
        if any(key.name == name and key.id != own and key.revoked_s is None for key in await self.keys.keys()):
            raise Conflict(f"An active key is called '{name}' already.", param="name", hint="Revoke it or choose another name.")


def rules_of(config: Config) -> Rules:
    """Return the budgets and rates of a configuration."""
    budgets = [
        Budget(
            name=entry.name or _named(entry.scope, entry.of, entry.window),
            scope=entry.scope,
            of=EACH if entry.scope == "global" else entry.of,
            window=entry.window,
            limit_pico=None if entry.usd is None else to_pico(entry.usd),
            limit_tokens=entry.tokens,
            on_exhaustion=entry.on_exhaustion,
            unknown_price=entry.unknown_price,
        )
        for entry in config.budgets
    ]
    rates = [
        Rate(
            name=rate.name or _named(rate.scope, rate.of, rate.window),
            scope=rate.scope,
            of=EACH if rate.scope == "global" else rate.of,
            window=rate.window,
            requests=rate.requests,
            tokens=rate.tokens,
            concurrency=rate.concurrency,
        )
        for rate in config.limits.rates
    ]
    return Rules(budgets=tuple(budgets), rates=tuple(rates))


def check_key(key: VirtualKey) -> None:
    """Return when a key makes sense. Raises InvalidRequest with the field."""
    for field, text in (("name", key.name), ("team", key.team), *[("tags", tag) for tag in key.tags]):
        if text is not None and (not text.strip() or len(text) > MAX_NAME or not text.isprintable()):
            raise InvalidRequest(f"'{field}' must be 1 to {MAX_NAME} printable characters.", param=field)
    for index, budget in enumerate(key.budgets):
        amounts = (budget.limit_pico, budget.limit_tokens)
        if amounts == (None, None) or any(amount is not None and amount < 0 for amount in amounts):
            raise InvalidRequest("A budget needs `usd`, `tokens` or both, not below 0.", param=f"budgets[{index}]")
    for index, rate in enumerate(key.rates):
        bounds = (rate.requests, rate.tokens, rate.concurrency)
        if bounds == (None, None, None) or any(bound is not None and bound < 1 for bound in bounds):
            raise InvalidRequest("A rate needs `requests`, `tokens` or `concurrency`, at least 1.", param=f"rates[{index}]")


def _budgets(entries: tuple[KeyBudget, ...]) -> tuple[Budget, ...]:
    return tuple(
        [
            Budget(
                name=f"key per {entry.window}",
                scope="key",
                window=entry.window,
                limit_pico=None if entry.usd is None else to_pico(entry.usd),
                limit_tokens=entry.tokens,
                on_exhaustion=entry.on_exhaustion,
                unknown_price=entry.unknown_price,
            )
            for entry in entries
        ]
    )


def _rates(entries: tuple[KeyRate, ...]) -> tuple[Rate, ...]:
    return tuple(
        [
            Rate(
                name=f"key per {entry.window}",
                scope="key",
                window=entry.window,
                requests=entry.requests,
                tokens=entry.tokens,
                concurrency=entry.concurrency,
            )
            for entry in entries
        ]
    )


def _named(scope: str, of: str, window: str) -> str:
    return f"{scope} per {window}" if of == EACH or scope == "global" else f"{scope} {of} per {window}"
