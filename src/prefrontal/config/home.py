"""Where things lie: `$PREFRONTAL_HOME` and the configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from prefrontal.config.problems import ConfigProblems, Problem

CONFIG_NAME = "prefrontal.yaml"


class Home(msgspec.Struct, frozen=True, kw_only=True):
    """The places under `$PREFRONTAL_HOME`. Nothing is created here; who writes a place creates it."""

    root: Path

    @property
    def database(self) -> Path:
        """The default database file."""
        return self.root / "prefrontal.db"

    @property
    def models(self) -> Path:
        """The default folder of GGUF files."""
        return self.root / "models"

    @property
    def engrams(self) -> Path:
        """The folder of engrams."""
        return self.root / "engrams"

    @property
    def encoders(self) -> Path:
        """The folder of encoders for engrams."""
        return self.root / "encoders"

    @property
    def config_file(self) -> Path:
        """The configuration that applies when no nearer one exists."""
        return self.root / CONFIG_NAME


def find_home(env: Mapping[str, str]) -> Home:
    """Return `$PREFRONTAL_HOME`, else ``prefrontal`` in `$XDG_DATA_HOME`, else in ``~/.local/share``; `~` is expanded."""
    if env.get("PREFRONTAL_HOME"):
        return Home(root=expand_user(env["PREFRONTAL_HOME"], env))
    data = env.get("XDG_DATA_HOME", "")
    if Path(data).is_absolute():  # the XDG specification says to ignore relative values
        return Home(root=Path(data) / "prefrontal")
    return Home(root=_user_home(env) / ".local" / "share" / "prefrontal")


def expand_user(path: str, env: Mapping[str, str]) -> Path:
    """Return `path` with a leading ``~`` replaced by the home directory named in `env`."""
    if path == "~" or path.startswith("~/"):
        return _user_home(env) / path[2:]
    return Path(path)


def find_config(env: Mapping[str, str], *, flag: str | Path | None = None, cwd: Path | None = None) -> Path | None:
    """Return the file to read, or None when there is none: ``--config``, `$PREFRONTAL_CONFIG`, ``./prefrontal.yaml``, the home's.

    Raises:
        ConfigProblems: a file was named with the flag or the variable and does not exist.
    """
    named = str(flag) if flag else env.get("PREFRONTAL_CONFIG", "")
    if named:
        path = expand_user(named, env)
        if cwd is not None:
            path = cwd / path
        if not path.is_file():
            hint = None if flag else "named by $PREFRONTAL_CONFIG"  # whoever wrote the name themselves knows
            what = "is a folder, not a file" if path.is_dir() else "no such file"
            raise ConfigProblems([Problem(message=what, rule="file", file=str(path), hint=hint)])
        return path
    for path in ((cwd or Path()) / CONFIG_NAME, find_home(env).config_file):
        if path.is_file():
            return path
    return None


def candidates(env: Mapping[str, str], *, flag: str | Path | None = None, cwd: Path | None = None) -> tuple[Path, ...]:
    """Return every place `find_config` looks at, best first: what a watcher has to watch, existing or not."""
    named = str(flag) if flag else env.get("PREFRONTAL_CONFIG", "")
    if named:
        path = expand_user(named, env)
        return (path if cwd is None else cwd / path,)
    return ((cwd or Path()) / CONFIG_NAME, find_home(env).config_file)


def _user_home(env: Mapping[str, str]) -> Path:
    return Path(env["HOME"]) if env.get("HOME") else Path.home()
