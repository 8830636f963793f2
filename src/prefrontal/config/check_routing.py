"""Checks of roles, fallbacks, task routes, channels and decision types: that what they name exists and can be reached."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from zoneinfo import ZoneInfo

from prefrontal.config.problems import Path, did_you_mean, nearest
from prefrontal.config.schema import BUILTIN_POLICIES, KNOWN_ROLES, Config
from prefrontal.contracts.assessment import TASK_TYPES

Note = Callable[..., None]


def check_routing(config: Config, policies: Iterable[str] | None, tools: Iterable[str] | None, note: Note) -> None:
    """Call `note` for each wrong or unreachable rule. `policies`, `tools` None: which plug-ins exist is not known."""
    names = _Names(config, note)
    for role, models in config.roles.items():
        if not role or any(letter in role for letter in " /\t"):
            note(("roles", role), "name", "a role's name may hold no spaces and no slash")
        names.models(("roles", role), models)
        usable = [name for name in models if name in config.models and config.models[name].enabled]
        if models and not usable and all(name in config.models for name in models):
            note(("roles", role), "unreachable", "all models of this role are disabled", fatal=False)
    routing = config.routing
    _policy(("routing", "policy"), routing.policy, policies, note)
    names.model(("routing", "primary"), routing.primary)
    names.targets(("routing", "fallback"), routing.fallback)
    if routing.primary is not None and "primary_with_fallback" not in _policies_used(config):
        hint = "set `routing.policy: primary_with_fallback`"
        note(("routing", "primary"), "unreachable", "no rule uses the policy that reads it", hint, fatal=False)
    if routing.effort.min > routing.effort.max:
        message = f"the least effort ({routing.effort.min:g}) is above the most ({routing.effort.max:g})"
        note(("routing", "effort", "min"), "order", message)
    _task_routes(config, policies, names, note)
    _channels(config, policies, names, note)
    _reflexes(config, tools, note)
    for name, entry in config.decisions.types.items():
        names.models(("decisions", "types", name, "models"), entry.models)
    for lens, reads in config.lenses.items():
        for field, named in (("model", reads.model), ("secondary", reads.secondary)):
            if named is not None and named.startswith("role/"):
                names.role(("lenses", lens, field), named.removeprefix("role/"))
            else:
                names.model(("lenses", lens, field), named)


def _task_routes(config: Config, policies: Iterable[str] | None, names: _Names, note: Note) -> None:
    for task, route in config.routing.task_routing.items():
        path = ("routing", "task_routing", task)
        if task not in TASK_TYPES:
            note(path, "unknown_task", f"unknown task type `{task}`", did_you_mean(task, TASK_TYPES))
        names.models((*path, "models"), route.models)
        names.role((*path, "role"), route.role)
        _policy((*path, "policy"), route.policy, policies, note)
        if route.role is None and not route.models and route.policy is None and route.effort is None:
            note(path, "unreachable", "says nothing: give it a role, models, a policy or an effort", fatal=False)


def _channels(config: Config, policies: Iterable[str] | None, names: _Names, note: Note) -> None:
    for channel, settings in config.routing.channels.items():
        path = ("routing", "channels", channel)
        if not channel or any(letter in channel for letter in " /\t"):
            note(path, "name", "a channel's name may hold no spaces and no slash")
        names.models((*path, "models"), settings.models)
        for index, role in enumerate(settings.roles):
            names.role((*path, "roles", index), role)
        _policy((*path, "policy"), settings.policy, policies, note)


def _reflexes(config: Config, tools: Iterable[str] | None, note: Note) -> None:
    reflexes = config.routing.reflexes
    try:
        ZoneInfo(reflexes.timezone or "UTC")
    except (KeyError, ValueError, OSError):
        hint = "use an IANA name such as Europe/Berlin"
        note(("routing", "reflexes", "timezone"), "timezone", f'unknown time zone "{reflexes.timezone}"', hint)
    for index, tool in enumerate(reflexes.tools or ()):
        if tools is not None and tool not in tools:
            note(("routing", "reflexes", "tools", index), "unknown_name", f"unknown tool `{tool}`", did_you_mean(tool, tools))


def _policies_used(config: Config) -> set[str | None]:
    routing = config.routing
    used = {routing.policy, *(route.policy for route in routing.task_routing.values())}
    return used | {channel.policy for channel in routing.channels.values()}


def _policy(path: Path, policy: str | None, known: Iterable[str] | None, note: Note) -> None:
    if policy is None or policy in BUILTIN_POLICIES:
        return
    if known is not None:
        if policy not in known:
            note(path, "unknown_policy", f"unknown policy `{policy}`", did_you_mean(policy, known))
    elif nearest(policy, BUILTIN_POLICIES, at_most=1):
        note(path, "unknown_policy", f"unknown policy `{policy}`", did_you_mean(policy, BUILTIN_POLICIES))


class _Names:
    """Checks references to models and roles."""

    def __init__(self, config: Config, note: Note) -> None:
        self._config = config
        self._note = note
        self._roles = {*config.roles, *(role for entry in config.models.values() for role in entry.roles)}

    def model(self, path: Path, name: str | None) -> None:
        """Check one reference to a model."""
        if name is None:
            return
        entry = self._config.models.get(name)
        if entry is None:
            hint = did_you_mean(name, self._config.models)
            self._note(path, "unknown_model", f"unknown model `{name}`", hint or "models found by discovery cannot be named here")
        elif not entry.enabled:
            self._note(path, "unreachable", f"model `{name}` is disabled", fatal=False)

    def models(self, path: Path, names: Iterable[str]) -> None:
        """Check a list of references to models."""
        seen: set[str] = set()
        for index, name in enumerate(names):
            self.model((*path, index), name)
            self._twice((*path, index), name, seen)

    def role(self, path: Path, role: str | None) -> None:
        """Check one reference to a role: it has models, or it is a known one that may get some."""
        if role is None or role in self._roles:
            return
        if role in KNOWN_ROLES:
            if not _is_builtin(path, role):
                message = f"no model has the role `{role}`"
                self._note(path, "unreachable", message, f"add `roles: {{{role}: [MODEL]}}`", fatal=False)
            return
        self._note(path, "unknown_role", f"unknown role `{role}`", did_you_mean(role, {*self._roles, *KNOWN_ROLES}))

    def targets(self, path: Path, names: Iterable[str]) -> None:
        """Check a list of model names and ``role/NAME``."""
        seen: set[str] = set()
        for index, name in enumerate(names):
            if name.startswith("role/"):
                self.role((*path, index), name.removeprefix("role/"))
            else:
                self.model((*path, index), name)
            self._twice((*path, index), name, seen)

    def _twice(self, path: Path, name: str, seen: set[str]) -> None:
        if name in seen:
            self._note(path, "unreachable", f"`{name}` is already listed above", fatal=False)
        seen.add(name)


def _is_builtin(path: Path, role: str) -> bool:
    """Return whether the built-in `code` channel asks for the role: nobody wrote that, so nobody is warned."""
    return path[:3] == ("routing", "channels", "code") and role in ("coding", "coding_large_context")
