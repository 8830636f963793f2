"""Who fetches images and files that requests name by URL, under the rules that hold at the moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from prefrontal.clock import Clock
from prefrontal.config.schema_egress import Egress
from prefrontal.execute.egress import egress_guard

if TYPE_CHECKING:
    from prefrontal.execute.fetch import Fetcher


def open_fetcher(clock: Clock, settings: Callable[[], Egress]) -> Fetcher:
    """Return the fetcher; it opens nothing before it is used. The HTTP client is loaded here and not with the package."""
    from prefrontal.execute.fetch import Fetcher

    return Fetcher(clock=clock, allow=egress_guard(settings), settings=lambda: settings().fetch)
