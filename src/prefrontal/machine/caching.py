"""The cache's part in a request: find its answer, wait for an equal request's call, or make the call and keep what it brings."""

from __future__ import annotations

from pathlib import Path

from prefrontal.chat.response import ChatResponse
from prefrontal.clock import Clock
from prefrontal.contracts.cache import CacheNote
from prefrontal.contracts.model import ModelCard
from prefrontal.execute.cache.answers import Kept, ResponseCache
from prefrontal.execute.call import Call
from prefrontal.execute.executor import Executor
from prefrontal.machine.reuse import Lookup, Reused
from prefrontal.machine.run import Run
from prefrontal.machine.sharing import Sharing
from prefrontal.plan.cache_key import CacheKey, key_of
from prefrontal.plan.caching import choose_cache, tenant_of, unkept

MAX_FOLLOWED = 2
"""Calls of others that a request sees fail before it makes one that nobody joins: a bad hour must not queue it up (assumed)."""


class Caching:
    """Holds the cache and the calls that can be joined now."""

    def __init__(self, cache: ResponseCache, *, executor: Executor, clock: Clock) -> None:
        self.cache = cache
        self.sharing = Sharing(executor=executor, clock=clock)
        self._executor = executor
        self._clock = clock

    @staticmethod
    def spoken_of(run: Run) -> bool:
        """Return whether anything about a request speaks of the cache. On the way of every request, so it only looks."""
        config, grant = run.world.config, run.context.grant
        return bool(
            run.context.cache
            or run.request.hints.cache
            or config.cache.mode == "all"
            or run.cards[0].cache
            or (grant is not None and grant.cache)
            or (run.plan is not None and config.routing.channels[run.channel].cache)
        )

    async def look(self, run: Run, call: Call) -> bool:
        """Return whether the request is answered: from the cache, or by a call that another had begun.

        Raises:
            ProviderTimeout: the request's time ran out while it waited for the other's call.
        """
        config, context = run.world.config, run.context
        use = choose_cache(
            config.cache,
            run.request,
            wish=run.request.hints.cache or context.cache,
            grant=context.grant,
            channel=None if run.plan is None else config.routing.channels[run.channel].cache,
            model=call.cards[0].cache,
        )
        if use is None:
            return False
        if use.reason is not None:
            run.cache = CacheNote(status="bypass", reason=use.reason)
            return False
        lookup = Lookup(key=self._key(run, call), keep=use.keep, join=config.cache.single_flight and run.check is None)
        run.lookup, run.cache = lookup, CacheNote(status="miss")
        return use.look and await self._found(run, call, lookup)

    async def _found(self, run: Run, call: Call, lookup: Lookup) -> bool:
        for _ in range(MAX_FOLLOWED):
            kept = await self.cache.find(lookup.key)
            if kept is not None:
                self._hit(run, lookup.key, kept)
                return True
            followed = await self.sharing.follow(run, call, lookup.key.name) if lookup.join else None
            if followed is None:
                return False
            if followed:
                return True
        run.lookup = Lookup(key=lookup.key, keep=lookup.keep, join=False)
        return False

    def _hit(self, run: Run, key: CacheKey, kept: Kept) -> None:
        age_s = round(max(0.0, self._clock.now() - kept.created_s), 3)
        run.cache = CacheNote(status="hit", id=key.name, age_s=age_s, saved_usd=kept.cost_usd)
        run.reused = Reused(usage=kept.usage, dropped=kept.dropped)
        run.response, run.model, run.answered_by = kept.response, kept.model, "cache"

    def _key(self, run: Run, call: Call) -> CacheKey:
        config, context, card = run.world.config, run.context, call.cards[0]
        return key_of(
            run.request,
            card,
            self._executor.fields(call),
            tenant=tenant_of(config.cache, context.key_id, context.grant),
            default_cap=call.default_cap,
            revision=f"{self.cache.revision} {file_revision(card)}",
            data_classes=run.data_classes,
        )

    async def call(self, run: Run, call: Call, lookup: Lookup) -> ModelCard:
        """Make the call, let equal requests join it, and keep its answer; return the model. Raises like `Executor`."""

        async def keep(response: ChatResponse, card: ModelCard) -> None:
            if run.check is None:
                await self._keep(run, response, card.id)
            elif run.streaming:
                run.cache = CacheNote(status="miss", reason="it was passed on before it was checked")

        if run.streaming:
            return await self.sharing.open(run, call, lookup, keep, run.world.config.cache.max_entry_bytes)
        run.response, card = await self.sharing.complete(run, call, lookup, keep)
        return card

    async def keep_checked(self, run: Run) -> None:
        """Keep a whole answer that had to be checked first, now that it was."""
        if run.answered_by == "model" and run.check is not None and run.response is not None and run.model is not None:
            await self._keep(run, run.response, run.model)

    async def _keep(self, run: Run, response: ChatResponse, model: str) -> None:
        lookup = run.lookup
        if lookup is None:
            return
        if not lookup.keep:
            reason: str | None = "the request asks not to keep it"
        elif model != run.cards[0].id:
            reason = f"'{model}' stood in for '{run.cards[0].id}'"
        else:
            reason = unkept(run.request, response)
        reason = reason or await self.cache.keep(lookup.key, self._kept(run, lookup.key, response, model))
        run.cache = CacheNote(status="miss", reason=reason) if reason else CacheNote(status="stored", id=lookup.key.name)

    def _kept(self, run: Run, key: CacheKey, response: ChatResponse, model: str) -> Kept:
        return Kept(
            tenant=key.tenant,
            model=model,
            created_s=self._clock.now(),
            response=response,
            usage=run.journal.usage(),
            cost_usd=run.journal.cost_usd(),
            dropped=run.dropped(),
        )

def file_revision(card: ModelCard) -> str:
    """Return what changes when a local model's file does; nothing for a model somewhere else, whose builds nobody tells."""
    if card.local_path is None:
        return ""
    try:
        found = Path(card.local_path).stat()
    except OSError:
        return ""
    return f"{found.st_size}-{found.st_mtime_ns}"
