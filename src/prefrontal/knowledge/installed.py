"""Whether the libraries that engrams need are there, and the words for an engram that is not. Loads nothing."""

from __future__ import annotations

from importlib.util import find_spec

from prefrontal.errors import CapabilityMissing, NotFound

NEEDED = ("numpy", "snowballstemmer", "pathspec", "charset_normalizer")


def require() -> None:
    """Return when engrams can be used. Raises CapabilityMissing, naming what is missing and the command that helps."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise CapabilityMissing(
            f"Engrams need libraries that are not installed: {', '.join(missing)}.", hint="pip install 'prefrontal[knowledge]'"
        )


def unknown_engram(name: str) -> NotFound:
    """Return the error for an engram that does not exist, or not for who asks: nobody can tell the two apart."""
    return NotFound(f"There is no engram '{name}'.", hint="`prefrontal knowledge list` shows those there are.")
