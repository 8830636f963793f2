"""Where cached decisions lie, and what admins may do with them."""

from __future__ import annotations

import importlib.util
from collections.abc import Awaitable, Callable, Mapping

from prefrontal.clock import Clock
from prefrontal.config.home import Home, expand_user
from prefrontal.config.registry import Registry
from prefrontal.config.reload import ConfigHolder
from prefrontal.decisions.memo import Memo, Shelf
from prefrontal.decisions.recall import Likeness, Recall
from prefrontal.decisions.shelves import SqliteShelf

FILE = "decisions.db"


def open_recall(
    holder: ConfigHolder[Registry],
    closers: list[Callable[[], Awaitable[object]]],
    *,
    env: Mapping[str, str],
    home: Home,
    clock: Clock,
) -> Recall:
    """Return the cache of decisions: in a file unless that is not wanted; a group of gateways moves it to what they share.

    Its bounds follow the configuration; where it lies is settled at start. Nothing is opened before the first use.
    """
    settings = holder.current.config.decisions.cache
    shelf: Shelf | None = None
    if settings.persist:
        shelf = SqliteShelf(expand_user(settings.path, env) if settings.path else home.root / FILE)
    memo = Memo(settings, clock=clock, shelf=shelf)
    closers.append(memo.aclose)
    holder.listen(lambda _old, new, _changes: memo.configure(new.config.decisions.cache))
    return Recall(memo, _likeness())


def _likeness() -> Likeness | None:
    """Return what finds states that mean the same; None where what it needs is not installed."""
    if importlib.util.find_spec("numpy") is None or importlib.util.find_spec("snowballstemmer") is None:
        return None
    from prefrontal.decisions.alike import Alike

    return Alike()
