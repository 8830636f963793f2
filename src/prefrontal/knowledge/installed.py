"""Whether the libraries that engrams need are there."""

from __future__ import annotations

from importlib.util import find_spec

from prefrontal.errors import CapabilityMissing

NEEDED = ("numpy", "snowballstemmer", "pathspec", "charset_normalizer")


def require() -> None:
    """Return when engrams can be used. Raises CapabilityMissing, naming what is missing and the command that helps."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise CapabilityMissing(
            f"Engrams need libraries that are not installed: {', '.join(missing)}.", hint="pip install 'prefrontal[knowledge]'"
        )
