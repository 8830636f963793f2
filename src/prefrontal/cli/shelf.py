"""Where the engrams of this machine lie."""

from __future__ import annotations

from pathlib import Path

from prefrontal.cli.session import Place
from prefrontal.config.home import expand_user, find_home
from prefrontal.errors import InvalidRequest, NotFound
from prefrontal.knowledge.installed import require

ENDING = ".engram"


def folder(place: Place) -> Path:
    """Return the folder of engrams. Raises CapabilityMissing without the extra `knowledge`."""
    require()
    return find_home(place.env).engrams


def located(name: str, place: Place, *, must_exist: bool = True) -> Path:
    """Return the file of an engram: a path as it is, a name in the home's folder.

    Raises InvalidRequest for a name that cannot be one, NotFound for an engram that is not there, CapabilityMissing without the
    extra `knowledge`.
    """
    home = folder(place)
    if "/" in name or name.endswith(ENDING):
        path = expand_user(name, place.env)
        if path.suffix != ENDING:
            raise InvalidRequest(f"The file of an engram ends in {ENDING}: {name}.")
    else:
        from prefrontal.knowledge.cache import NAME

        if not NAME.fullmatch(name):
            raise InvalidRequest(f"{name!r} cannot be the name of an engram.", hint="Letters, digits, dot, dash and underscore.")
        path = home / f"{name}{ENDING}"
    if must_exist and not path.is_file():
        raise NotFound(f"There is no engram {name!r}.", hint=_hint(home, name))
    return path


def names(home: Path) -> list[str]:
    """Return the names of the engrams in a folder, sorted."""
    return sorted(path.name.removesuffix(ENDING) for path in home.glob(f"*{ENDING}")) if home.is_dir() else []


def _hint(home: Path, name: str) -> str:
    known = names(home)
    if known:
        return f"There are: {', '.join(known[:10])}."
    return f"Make it with `prefrontal knowledge ingest FOLDER -e {name}`."
