"""The headers of our answers."""

from __future__ import annotations

from prefrontal.errors import LimitExceeded
from prefrontal.serve.heads import error_headers


def test_whole_seconds_are_never_earlier_than_the_exact_time() -> None:
    """A client that knows only ``retry-after`` and keeps to it is not refused once more for a part of a second."""
    shown = dict(error_headers(LimitExceeded("Too many.", retry_after_s=60.23), None))
    assert (shown[b"retry-after"], shown[b"retry-after-ms"]) == (b"61", b"60230")
