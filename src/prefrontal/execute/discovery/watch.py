"""Keeps what is discovered up to date, in the background.

A round looks at the models folder (only files that changed are read), at the environment, and at the local ports. Between two
rounds the folder, and the files the registry names, are looked at every `FOLDER_LOOK_S`: a file that was put there is served
within twice that, once it has stopped growing. What was found is merged by pure functions; `on_change` is called only when the
models differ from before, or a file the registry names came or went.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from prefrontal.clock import Clock
from prefrontal.config import schema
from prefrontal.config.cards import Sources
from prefrontal.contracts.model import ModelCard
from prefrontal.execute.discovery.environment import KeyFound, environment_cards, environment_keys
from prefrontal.execute.discovery.files import Scan, scan_files
from prefrontal.execute.discovery.local import LocalProbe, ProbeReport
from prefrontal.execute.discovery.naming import name_cards, place_of, port_of
from prefrontal.execute.discovery.visit import SeenServer
from prefrontal.execute.transport.base import Transport
from prefrontal.providers.registry import Providers

GRACE_ROUNDS = 2
"""Rounds for which a model outlives the silence of its server. Assumed: an engine that restarts or is busy is back by then."""

FOLDER_LOOK_S = 2.0
"""How often files are looked at. Assumed: whoever drops a file waits that long; a look costs some microseconds a file."""

log = logging.getLogger(__name__)

OnChange = Callable[[tuple[ModelCard, ...]], None]
Print = tuple[tuple[str, int, int], ...]
Place = tuple[str, str]


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A model of a local server, and for how many rounds in a row its server has not answered for it."""

    card: ModelCard
    missed: int = 0


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything found by now, for people: `doctor`, the lines at start, `models list`.

    rounds: how many looks at the ports are complete. seen: what listens at the ports. keys: keys in the environment, without
    the keys. files: models and problems of the models folder.
    """

    rounds: int = 0
    cards: tuple[ModelCard, ...] = ()
    seen: tuple[SeenServer, ...] = ()
    keys: tuple[KeyFound, ...] = ()
    files: Scan = Scan()


def carry_over(before: Sequence[Known], report: ProbeReport) -> tuple[Known, ...]:
    """Return the local models after a round. Pure.

    What the round found counts. A model whose server said nothing, or nothing sensible, stays for `GRACE_ROUNDS` such rounds
    and goes at the next; one that its server no longer lists goes at once, and so does one whose port a Prefrontal has taken.
    Details that a server owes this time are those it gave before.
    """
    old = {place_of(known.card): known for known in before}
    after = []
    for card in report.cards:
        place = place_of(card)
        told = old[place].card if place in report.partial and place in old else card
        after.append(Known(card=told))
    here = {place_of(card) for card in report.cards}
    settled = {server.port for server in report.seen if server.state in ("ready", "empty", "prefrontal")}
    for place, known in old.items():
        if place in here or port_of(known.card.base_url) in settled or known.missed >= GRACE_ROUNDS:
            continue
        after.append(Known(card=known.card, missed=known.missed + 1))
    return tuple(after)


def fingerprint(folder: Path) -> Print:
    """Return what identifies the GGUF files of a folder: name, size and time of change of each. Some microseconds a file."""
    try:
        return _print(folder.glob("*.gguf"))
    except OSError:
        return ()  # it vanished while we looked; the next round sees what is there


def _print(files: Iterable[Path]) -> Print:
    found = [(str(path), path.stat()) for path in files]
    return tuple(sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in found))


class Discovery:
    """Finds models in the background: first at `start`, then every ``settings.interval_s`` of the clock, files more often.

    `on_change` is called with all cards, files first, then servers, then keys, whenever they differ from before; what it
    raises is logged. `named_files` says which files the registry names, at each look; also a change of theirs calls it.
    `own_ports` says, at each round, which ports are ours. `memory_bytes` is the machine's, for the context
    of local engines. Belongs to one event loop.
    """

    def __init__(
        self,
        *,
        transport: Transport,
        providers: Providers,
        sources: Sources,
        clock: Clock,
        settings: schema.Discovery | None = None,
        engine: schema.Engine | None = None,
        on_change: OnChange | None = None,
        named_files: Callable[[], Iterable[Path]] = tuple,
        own_ports: Callable[[], frozenset[int]] = frozenset,
        own_instance: str = "",
        memory_bytes: int | None = None,
    ) -> None:
        self.on_change = on_change
        self._probe = LocalProbe(transport=transport, providers=providers, sources=sources)
        self._sources = sources
        self._clock = clock
        self._settings = settings or schema.Discovery()
        self._engine = engine or schema.Engine()
        self._named_files = named_files
        self._own_ports = own_ports
        self._own_instance = own_instance
        self._memory_bytes = memory_bytes
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._looked = asyncio.Event()
        self._scanned: tuple[Print, Path, schema.Engine] | None = None
        self._glimpsed: Print = ()
        self._named: Print = ()
        self._local: tuple[Known, ...] = ()
        self._found = Findings()

    @property
    def cards(self) -> tuple[ModelCard, ...]:
        """The models discovered by now; their names differ from each other."""
        return self._found.cards

    @property
    def findings(self) -> Findings:
        """Everything found by now."""
        return self._found

    async def start(self) -> None:
        """Take in files and keys at once, without the network, and look at the ports in the background from now on."""
        async with self._lock:
            self._named = self._named_print()
            await self._offline()
            self._publish()
        self._restart()

    async def looked(self) -> None:
        """Wait until the ports have been looked at once since `start`; cheaper than `refresh`, which looks again."""
        await self._looked.wait()

    async def refresh(self) -> Findings:
        """Look at everything now, nothing remembered, and return what there is."""
        await self._round(fresh=True)
        return self._found

    def configure(self, settings: schema.Discovery, engine: schema.Engine, models_dir: Path) -> None:
        """Apply new settings; when they differ a round begins at once."""
        if (settings, engine, models_dir) == (self._settings, self._engine, self._sources.models_dir):
            return
        self._settings, self._engine = settings, engine
        self._sources = msgspec.structs.replace(self._sources, models_dir=models_dir)
        if self._task is not None:
            self._restart()

    async def close(self) -> None:
        """Stop looking. What was found stays readable. May be called twice."""
        self._closed = True
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def _restart(self) -> None:
        if self._closed:
            return
        if self._task is not None:
            self._task.cancel()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="discovery")

    async def _run(self) -> None:
        while True:
            await self._attempt(self._round(fresh=False))
            self._looked.set()
            await self._watch_files(until=self._clock.monotonic() + self._settings.interval_s)

    async def _watch_files(self, *, until: float) -> None:
        """Look at the files until it is time for the next round."""
        while (left_s := until - self._clock.monotonic()) > 0:
            await self._clock.sleep(min(FOLDER_LOOK_S, left_s))
            if self._clock.monotonic() < until:
                await self._attempt(self._glimpse())

    async def _attempt(self, look: Awaitable[None]) -> None:
        try:
            await look
        except Exception:  # an edge: one bad look must not end discovery
            log.exception("looking for models failed")

    async def _glimpse(self) -> None:
        """Take in files that are other ones than before and have not changed since the last look."""
        here = fingerprint(self._sources.models_dir) if self._settings.enabled is not False else ()
        named = self._named_print()
        before, self._glimpsed = self._glimpsed, (*here, *named)
        if self._glimpsed != before:
            return  # still being written, perhaps
        async with self._lock:
            if self._settings.enabled is not False and self._scanned is not None and self._scanned[0] != here:
                await self._offline()
                self._publish()
            if named != self._named:
                self._named = named
                self._tell()

    def _named_print(self) -> Print:
        return _print(file for file in self._named_files() if file.is_file())

    async def _round(self, *, fresh: bool) -> None:
        async with self._lock:
            if fresh:
                self._scanned = None
            await self._offline()
            report = ProbeReport()
            if self._settings.enabled is not False:
                report = await self._probe.probe(
                    self._settings, own_ports=self._own_ports(), own_instance=self._own_instance, fresh=fresh
                )
            self._local = () if self._settings.enabled is False else carry_over(self._local, report)
            self._found = msgspec.structs.replace(self._found, seen=report.seen, rounds=self._found.rounds + 1)
            self._publish()

    async def _offline(self) -> None:
        """Bring files and keys up to date."""
        wanted = self._settings.enabled is not False
        files = await self._files() if wanted else Scan()
        keys = environment_keys(self._sources, today=self._today()) if wanted and self._settings.env_keys else ()
        self._found = msgspec.structs.replace(self._found, files=files, keys=keys)

    async def _files(self) -> Scan:
        state = (fingerprint(self._sources.models_dir), self._sources.models_dir, self._engine)
        if state == self._scanned:
            return self._found.files
        scan = await asyncio.to_thread(  # headers are megabytes: not on the loop
            scan_files, self._sources.models_dir, self._engine, self._sources, memory_bytes=self._memory_bytes
        )
        for problem in scan.problems:
            log.warning("left out %s: %s", problem.path, problem.message)
        self._scanned = state
        return scan

    def _publish(self) -> None:
        """Name what there is; tell when it differs."""
        keyed = environment_cards(self._sources, today=self._today()) if self._found.keys else ()
        local = [known.card for known in self._local]
        cards = name_cards([*self._found.files.cards, *_unnamed(local), *keyed])
        before = self._found.cards
        self._found = msgspec.structs.replace(self._found, cards=cards)
        if _by_name(cards) == _by_name(before):
            return
        if self._looked.is_set():  # what is there at the start is said by whoever starts
            _log_difference(_by_name(before), _by_name(cards))
        self._tell()

    def _tell(self) -> None:
        if self.on_change is None:
            return
        try:
            self.on_change(self._found.cards)
        except Exception:  # an edge: whoever listens must not stop discovery
            log.exception("models were discovered, but could not be taken in")

    def _today(self) -> str:
        return datetime.fromtimestamp(self._clock.now(), UTC).date().isoformat()


def _unnamed(cards: Sequence[ModelCard]) -> list[ModelCard]:
    """Return the cards under their engines' own names, since who clashes with whom may have changed."""
    return [msgspec.structs.replace(card, id=card.wire_name) for card in cards]


def _by_name(cards: Sequence[ModelCard]) -> Mapping[str, ModelCard]:
    return {card.id: card for card in cards}


def _log_difference(before: Mapping[str, ModelCard], after: Mapping[str, ModelCard]) -> None:
    for word, names in (("found", after.keys() - before.keys()), ("gone", before.keys() - after.keys())):
        if names:
            log.info("%s: %s", word, ", ".join(sorted(names)))
