"""The configuration in use, and how a new one takes its place while requests run.

A new file is read, checked and built as a whole; only then one reference is swapped. Who took `ConfigHolder.current` keeps a
consistent tree and registry for as long as it needs them. A broken file changes nothing but the status.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from prefrontal.clock import Clock
from prefrontal.config.changes import Change, diff
from prefrontal.config.load import Loaded
from prefrontal.config.problems import ConfigProblems, Problem
from prefrontal.config.schema import Config
from prefrontal.errors import ConfigError

log = logging.getLogger(__name__)
R = TypeVar("R")


class Current(msgspec.Struct, Generic[R], frozen=True, kw_only=True):
    """One generation: the tree, the registry built from it, and where both came from. `loaded_at_s` is Unix time."""

    config: Config
    registry: R
    hash: str
    generation: int
    loaded_at_s: float
    file: Path | None = None
    warnings: tuple[Problem, ...] = ()


class ConfigStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What ``GET /v1/config/status`` answers. `ok`: the newest file is the one in use. Times are Unix seconds.

    last_error: the problems of the newest file when it was refused; the generation before it goes on serving.
    changes: what the last accepted reload changed. restart_needed: changed settings that wait for the next start.
    """

    ok: bool
    hash: str
    generation: int
    loaded_at_s: float
    file: str | None = None
    last_error: tuple[Problem, ...] = ()
    last_error_at_s: float | None = None
    failures: int = 0
    changes: tuple[Change, ...] = ()
    restart_needed: tuple[str, ...] = ()
    warnings: tuple[Problem, ...] = ()


Listener = Callable[[Any, Any, tuple[Change, ...]], None]
"""Called after each swap with the old `Current`, the new one, and the changes of the tree (none: only the registry is new)."""


class ConfigHolder(Generic[R]):
    """Holds the current generation. `build` makes the registry of a tree; it runs before the swap and may refuse the tree."""

    def __init__(self, loaded: Loaded, *, build: Callable[[Config], R], load: Callable[[], Loaded], clock: Clock) -> None:
        """Build the first generation.

        Raises:
            ConfigError: `build` refused the tree.
        """
        self._build = build
        self._load = load
        self._clock = clock
        self._lock = asyncio.Lock()
        self._listeners: list[Listener] = []
        self._first = loaded.config
        self._changes: tuple[Change, ...] = ()
        self._error: tuple[Problem, ...] = ()
        self._error_at_s: float | None = None
        self._failures = 0
        self._blank = loaded.blank
        self._current = self._generation(loaded, 1)

    @property
    def current(self) -> Current[R]:
        """The generation in use. Take it once a request."""
        return self._current

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` after each swap; returns what undoes that. A listener that fails is logged and stops nothing."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def apply(self, loaded: Loaded) -> tuple[Change, ...]:
        """Put `loaded` in place of the current generation and return what changed; the same tree again changes nothing.

        Raises:
            ConfigError: `build` refused the tree; the current generation stays.
        """
        old = self._current
        changes = tuple(diff(old.config, loaded.config))
        if changes:
            self._swap(self._generation(loaded, old.generation + 1), changes)
            self._changes = changes
        elif loaded.file != old.file or loaded.warnings != old.warnings:
            self._current = msgspec.structs.replace(old, file=loaded.file, warnings=loaded.warnings)
        self._error, self._error_at_s = (), None
        self._blank = loaded.blank
        return changes

    def rebuild(self) -> None:
        """Build the registry of the current tree again: discovery found or lost a model. The generation number stays.

        Raises:
            ConfigError: `build` refused; the current registry stays.
        """
        old = self._current
        self._swap(msgspec.structs.replace(old, registry=self._build(old.config)), ())

    async def reload_now(self) -> ConfigStatus:
        """Read the configuration again and apply it, off the event loop where it takes time; never raises for a bad file."""
        async with self._lock:
            try:
                loaded = await asyncio.to_thread(self._load)
                self._not_lost(loaded)
                changes = self.apply(loaded)
            except ConfigError as error:
                self._refuse(error)
            except Exception as error:  # an edge: whatever is wrong with a new configuration, the last good one stays
                log.exception("a configuration could not be applied")
                self._refuse(ConfigError(f"The configuration could not be applied ({type(error).__name__}).", rule="internal"))
            else:
                if changes:
                    log.info("configuration generation %d: %d changes", self._current.generation, len(changes))
            return self.status()

    def status(self) -> ConfigStatus:
        """Return how things stand."""
        current = self._current
        return ConfigStatus(
            ok=not self._error,
            hash=current.hash,
            generation=current.generation,
            loaded_at_s=current.loaded_at_s,
            file=None if current.file is None else str(current.file),
            last_error=self._error,
            last_error_at_s=self._error_at_s,
            failures=self._failures,
            changes=self._changes,
            restart_needed=tuple(change.path for change in diff(self._first, current.config) if change.restart),
            warnings=current.warnings,
        )

    def _not_lost(self, loaded: Loaded) -> None:
        """Refuse to take a file that is gone, or suddenly says nothing, for a wish to have no configuration."""
        file = self._current.file
        if loaded.file is None and file is not None:
            message, hint = "the file is gone; what it said stays in use", None
        elif loaded.blank and not self._blank and loaded.file == file:
            message = "the file is empty; what it said stays in use"
            hint = "write `version: 1` for a configuration of defaults alone"
        else:
            return
        raise ConfigProblems([Problem(message=message, rule="file", file=str(file), hint=hint)])

    def _generation(self, loaded: Loaded, number: int) -> Current[R]:
        return Current(
            config=loaded.config,
            registry=self._build(loaded.config),
            hash=loaded.hash,
            generation=number,
            loaded_at_s=self._clock.now(),
            file=loaded.file,
            warnings=loaded.warnings,
        )

    def _swap(self, new: Current[R], changes: tuple[Change, ...]) -> None:
        old, self._current = self._current, new
        for listener in tuple(self._listeners):
            try:
                listener(old, new, changes)
            except Exception:  # an edge: the swap has happened, and the other listeners must hear of it
                log.exception("a listener to configuration changes failed")

    def _refuse(self, error: ConfigError) -> None:
        found = error.problems if isinstance(error, ConfigProblems) else (_as_problem(error),)
        if found != self._error:  # a file that stays broken is said once
            log.error("configuration refused, generation %d stays in use:\n%s", self._current.generation, error)
        self._error = found
        self._error_at_s = self._clock.now()
        self._failures += 1


def _as_problem(error: ConfigError) -> Problem:
    return Problem(message=error.message, rule=error.rule or "config", path=error.path or "", file=error.file, hint=error.hint)
