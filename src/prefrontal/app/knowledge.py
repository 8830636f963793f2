"""The engrams of this home, asked beside everything else: searches run on threads, so that no request waits for another's."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from prefrontal.app.knowledge_jobs import Jobs
from prefrontal.app.vectors import Vectors
from prefrontal.clock import Chance, Clock
from prefrontal.config.schema_knowledge import Knowledge as Settings
from prefrontal.contracts.knowledge import Found, KnowledgeNote, Wanted
from prefrontal.errors import CapabilityMissing, NotFound, PrefrontalError, StoreError
from prefrontal.knowledge.installed import require

if TYPE_CHECKING:
    from prefrontal.knowledge.cache import EngramCache
    from prefrontal.knowledge.dense.encoder import Encoder
    from prefrontal.knowledge.dense.hybrid import Mode
    from prefrontal.knowledge.search.filters import Filter
    from prefrontal.knowledge.search.searcher import Searcher

T = TypeVar("T")

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Questions that are looked up at the same time (assumed): the threads of the process do other things, too."""


class Knowledge:
    """Searches the engrams of a folder. Nothing is loaded before the first question. Belongs to one event loop."""

    def __init__(self, folder: Path, *, clock: Clock, chance: Chance) -> None:
        self.folder = folder
        self.jobs = Jobs(folder, clock=clock, chance=chance)
        self.vectors = Vectors(folder, clock=clock)
        self._clock = clock
        self._settings = Settings()
        self._cache: EngramCache | None = None
        self._lock = threading.Lock()
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._key = secrets.token_bytes(32)  # of the marks around passages: whoever writes a passage must not guess them

    def configure(self, settings: Settings) -> Coroutine[Any, Any, None]:
        """Let settings hold from now on; return what opens the engrams that are to be open, for the background."""
        self._settings = settings
        self.vectors.configure(settings)
        if self._cache is not None:
            self._cache.most_bytes = settings.cache_bytes
        return self._in_background()

    async def _in_background(self) -> None:
        """Open what is to be open; then keep dense vectors in step with the engrams, until other settings hold."""
        await self.preload()
        await self.vectors.keep()

    async def preload(self) -> None:
        """Open the engrams that are to be open from the start, and find their thresholds; what cannot be opened is logged."""
        names = self._settings.preload
        if names:
            try:
                known = await asyncio.to_thread(lambda: self._opened().names())
            except PrefrontalError as error:
                log.warning("no engram was opened: %s", error.text)
                return
            for name in known if "*" in names else names:
                try:
                    await self._asked(name, _warm)
                except PrefrontalError as error:
                    log.warning("the engram %s was not opened: %s", name, error.text)

    @property
    def opened(self) -> tuple[str, ...]:
        """Names of the engrams that are open, the one asked longest ago first."""
        return () if self._cache is None else self._cache.opened

    async def find(self, question: str, wanted: Wanted) -> Found:
        """Return the passages for a question that fit, delimited, or none with the reason.

        Raises NotFound, StoreError for an engram that the caller named, CapabilityMissing without the extra `knowledge`.
        """

        def look() -> Found:
            from prefrontal.app.passages import passages

            return passages(self._opened(), question, wanted, self._settings, key=self._key)

        async with self._gate:
            try:
                return await asyncio.to_thread(look)
            except CapabilityMissing as error:
                if wanted.asked:
                    raise
                return Found(note=KnowledgeNote(engrams=(), reason=error.message))
            except StoreError as error:
                raise StoreError(_without(self.folder, error.message), hint=error.hint) from error

    async def engrams(self) -> list[dict[str, Any]]:
        """Return what can be searched: name, version, files, passages. A damaged engram is listed with its problem.

        Raises CapabilityMissing without the extra `knowledge`.
        """
        return await asyncio.to_thread(self._list)

    async def engram(self, name: str) -> dict[str, Any]:
        """Return one of them with its shape and types of files. Raises NotFound, StoreError, CapabilityMissing."""
        return await self._asked(name, lambda searcher: _described(name, searcher, self.vectors.problem(name)))

    async def search(
        self, name: str, query: str, *, k: int = 10, where: Filter | None = None, text: bool = True, mode: Mode = "auto"
    ) -> dict[str, Any]:
        """Return the `k` best passages of an engram with citations and the words that matched.

        mode: by words (`lexical`), dense vectors, both (`hybrid`), or `auto`: both where the engram has vectors that help, and
        words where it has none or its encoder fails, which `note` says. `evidence` is how much of the query the best passage
        holds, in [0, 1]. Raises NotFound for an unknown engram, InvalidRequest for a bad `k`, mode or filter, StoreError for a
        damaged engram, CapabilityMissing without the extra `knowledge`, or when `dense` or `hybrid` is asked for without vectors.
        """
        began = self._clock.monotonic()
        encoder, way, note = await self._way(name, mode)
        vector: Any = None
        if encoder is not None:
            try:
                vector = (await asyncio.to_thread(encoder.encode, [query]))[0]
            except PrefrontalError as error:
                if mode != "auto":
                    raise
                encoder, note = None, error.message

        def ask(searcher: Searcher) -> dict[str, Any]:
            from prefrontal.app.dense import found
            from prefrontal.knowledge.present import shown

            if encoder is None:
                hits, used = searcher.search(query, k=k, where=where, text=text), "lexical"
            else:
                hits, used = found(searcher, encoder, query, vector, mode=way, k=k, where=where, text=text)
            return {
                "engram": name,
                "version": searcher.index.version,
                "query": query,
                "mode": used,
                "results": shown(hits, searcher.engram, name),
                "evidence": round(searcher.evidence(query, hits[:1]), 4),
                "took_ms": round(1000 * (self._clock.monotonic() - began), 3),
            } | ({"note": note} if note else {})

        return await self._asked(name, ask)

    async def _way(self, name: str, mode: Mode) -> tuple[Encoder | None, Mode, str]:
        """Return the encoder to ask, or None to go by words, with how to search, and why `auto` cannot use vectors."""
        named = None if mode == "lexical" else self.vectors.encoder_of(name)
        encoder: Encoder | None = None
        note = ""
        if named is not None:
            try:
                encoder = await self.vectors.encoder(name, named)
            except PrefrontalError as error:
                if mode != "auto":
                    raise
                note = error.message

        def ask(searcher: Searcher) -> Mode:
            from prefrontal.app.dense import resolved

            return resolved(searcher, encoder, mode)

        way = "lexical" if mode == "lexical" else await self._asked(name, ask)
        return (None if way == "lexical" else encoder), way, note

    async def aclose(self) -> None:
        """Stop the jobs and let go of all engrams."""
        await self.jobs.aclose()
        if self._cache is not None:
            await asyncio.to_thread(self._cache.close)

    async def _asked(self, name: str, question: Callable[[Searcher], T]) -> T:
        def run() -> T:
            try:
                with self._opened().using(name) as searcher:
                    return question(searcher)
            except StoreError as error:  # callers are told which engram, not where it lies
                raise StoreError(_without(self.folder, error.message), hint=error.hint) from error

        async with self._gate:
            return await asyncio.to_thread(run)

    def _list(self) -> list[dict[str, Any]]:
        cache = self._opened()
        return [_entry(cache.folder, name) for name in cache.names()]

    def _opened(self) -> EngramCache:
        require()
        from prefrontal.knowledge.cache import EngramCache

        with self._lock:
            if self._cache is None:
                self._cache = EngramCache(self.folder, most_bytes=self._settings.cache_bytes)
            return self._cache


def _warm(searcher: Searcher) -> None:
    from prefrontal.knowledge.evidence import threshold

    threshold(searcher)


def _entry(folder: Path, name: str) -> dict[str, Any]:
    from prefrontal.knowledge.store.engram import Engram

    entry: dict[str, Any] = {"id": name, "object": "engram", "version": 0, "passages": 0, "problem": None}
    try:
        with Engram(folder / f"{name}.engram") as engram:
            root = engram.node()
            return entry | {"version": engram.version, "passages": root.chunks if root else 0}
    except NotFound:  # removed since it was listed
        return entry | {"problem": "it is gone"}
    except PrefrontalError as error:
        return entry | {"problem": _without(folder, error.message)}


def _without(folder: Path, text: str) -> str:
    return text.replace(f"{folder}/", "")


def _described(name: str, searcher: Searcher, problem: str | None = None) -> dict[str, Any]:
    from prefrontal.app.dense import standing

    engram = searcher.engram
    types: Counter[str] = Counter()
    size = 0
    for file in engram.files():
        types[file.type] += 1
        size += file.stat.size
    versions = engram.versions()
    return {
        "id": name,
        "object": "engram",
        "version": engram.version,
        "uid": engram.meta.uid,
        "created_s": engram.meta.created_s,
        "updated_s": versions[-1].at_s if versions else engram.meta.created_s,
        "files": sum(types.values()),
        "passages": searcher.index.count,
        "content_bytes": size,
        "types": dict(types.most_common()),
        "vectors": {
            "dim": searcher.shape.dim,
            "nonzeros": searcher.shape.nonzeros,
            "mode": searcher.shape.mode,
            "seed": searcher.shape.seed,
        },
        "dense": standing(searcher),
        "dense_problem": problem,
    }
