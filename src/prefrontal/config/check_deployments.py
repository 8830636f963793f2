"""What must hold between the deployments of one model."""

from __future__ import annotations

from collections.abc import Callable

from prefrontal.config.schema_models import ModelEntry
from prefrontal.providers.profile import Profile

Where = tuple[str | int, ...]


def check_deployments(
    path: Where,
    entry: ModelEntry,
    profile: Profile | None,
    check_endpoint: Callable[[Where, str, Callable[..., None]], None],
    note: Callable[..., None],
) -> None:
    """Report deployments without an address or a name of their own, keys that are none, and settings that exclude each other."""
    if entry.path is not None and (entry.deployments or entry.keys):
        note((*path, "path"), "exclusive", "a file runs on the built-in engine, which has no deployments", "leave out `path`")
    if entry.key is not None and entry.keys:
        note((*path, "key"), "exclusive", "`key` and `keys` exclude each other", "put all of them into `keys`")
    _check_keys((*path, "keys"), entry.keys, note)
    names: dict[str, int] = {}
    for index, one in enumerate(entry.deployments):
        here = (*path, "deployments", index)
        name = one.name or f"d{index + 1}"
        if name in names:
            note((*here, "name"), "unique", f"deployment {names[name]} is called `{name}` too", "names tell deployments apart")
        elif not name.isprintable() or not name.strip() or "#" in name:
            note((*here, "name"), "name", "a name is printable and holds no #", "use letters, digits and - _")
        names.setdefault(name, index)
        if one.endpoint:
            check_endpoint((*here, "endpoint"), one.endpoint, note)
        elif entry.endpoint is None and profile is not None and profile.base_url is None and not profile.ports:
            note(here, "endpoint", "neither the deployment nor the model says where it is", "add `endpoint: http://host:port/v1`")
        if one.key is not None and one.keys:
            note((*here, "key"), "exclusive", "`key` and `keys` exclude each other", "put all of them into `keys`")
        _check_keys((*here, "keys"), one.keys, note)
    only = len(entry.deployments) < 2 and not entry.keys and not any(one.keys for one in entry.deployments)
    hedge = entry.hedge
    if only and hedge is not None and hedge.to == "deployment":
        hint = "give it `deployments`, or hedge `to: model`"
        note((*path, "hedge"), "unused", "there is no other deployment for a second attempt", hint, fatal=False)


def _check_keys(path: Where, keys: tuple[str, ...], note: Callable[..., None]) -> None:
    for index, key in enumerate(keys):
        if any(letter in key for letter in "\r\n\0"):
            note((*path, index), "key", "the key holds a line break", "check the variable it comes from")
        elif key and key in keys[:index]:
            note((*path, index), "unique", "the same key stands in the list twice", fatal=False)
