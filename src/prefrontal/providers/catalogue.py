"""The shipped profiles: ``data/profiles.yaml`` as structs. Read anew by each call; whoever needs them keeps the result."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import msgspec
import yaml

from prefrontal.errors import ConfigError
from prefrontal.providers.profile import Profile

FILE = "profiles.yaml"


def load_profiles(text: str | None = None) -> dict[str, Profile]:
    """Return the profiles by name. `text` replaces the shipped file.

    Raises:
        ConfigError: the text is no YAML, or a profile has an unknown or wrong field; `path` names it.
    """
    if text is None:
        text = files("prefrontal.providers").joinpath("data", FILE).read_text(encoding="utf-8")
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        raw = yaml.load(text, Loader=loader)  # noqa: S506 - a safe loader, the C one where PyYAML has it
    except yaml.YAMLError as error:
        raise ConfigError(f"The profiles are not valid YAML: {error}.", file=FILE, rule="yaml") from None
    rows = raw.get("profiles") if isinstance(raw, dict) else None
    if not isinstance(rows, dict):
        raise ConfigError("The file has no map of profiles.", file=FILE, path="profiles", rule="type")
    return {str(name): _profile(str(name), row) for name, row in rows.items()}


def _profile(name: str, row: object) -> Profile:
    try:
        profile = msgspec.convert(row, Profile)
    except msgspec.ValidationError as error:
        text, _, where = str(error).partition(" - at `$")
        path = f"profiles.{name}{where.rstrip('`')}"
        raise ConfigError(text + ".", file=FILE, path=path, rule="type") from None
    return msgspec.structs.replace(profile, name=name)
