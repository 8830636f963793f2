"""The one way to a configuration: file, then environment, then flags; checked as a whole, never half."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from prefrontal.config.check import Finding, Known, check, follows
from prefrontal.config.decode import decode, to_problem
from prefrontal.config.expand import Overlay, expand, lay_environment, lay_flags
from prefrontal.config.home import expand_user, find_config, find_home
from prefrontal.config.problems import ConfigProblems, Problem
from prefrontal.config.problems import Path as Where
from prefrontal.config.schema import Config, builtin_channels
from prefrontal.config.yaml_source import Source, parse_yaml

MAX_FILE_BYTES = 8_388_608  # assumed: a registry of ten thousand models


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration that may be used. `file` None: no file was found. `warnings`: doubtful settings. `hash` names the tree.

    blank: the text it was read from sets nothing, as an emptied file or one of comments alone.
    """

    config: Config
    file: Path | None = None
    warnings: tuple[Problem, ...] = ()
    hash: str = ""
    blank: bool = False


def load(
    *,
    env: Mapping[str, str],
    known: Known,
    flag: str | Path | None = None,
    flags: Mapping[str, Any] | None = None,
    cwd: Path | None = None,
) -> Loaded:
    """Return the configuration of this machine: the file found (`home.find_config`), the environment over it, flags over both.

    Raises:
        ConfigProblems: the file cannot be read or used; holds every problem that was found.
    """
    file = find_config(env, flag=flag, cwd=cwd)
    text = "" if file is None else read_text(file)
    return load_text(text, env=env, known=known, file=file, flags=flags)


def load_text(
    text: str, *, env: Mapping[str, str], known: Known, file: Path | None = None, flags: Mapping[str, Any] | None = None
) -> Loaded:
    """Return the configuration written in `text`, as `load` does; `file` names it in messages.

    Raises:
        ConfigProblems: the text cannot be used.
    """
    source = parse_yaml(text, None if file is None else str(file))
    overlay = Overlay(_with_channels(source.raw))
    lay_environment(overlay, env)
    lay_flags(overlay, flags or {})
    expand(overlay, env)
    _first_key(overlay, env)
    place = _placer(source, overlay)
    problems = list(overlay.problems)
    problems += [place(path, rule="missing_env", message=message, hint=hint) for path, message, hint in overlay.missing]
    wrong = [path for path, _, _ in overlay.missing]

    def note(path: Where, rule: str, message: str, hint: str | None) -> None:
        problems.append(place(path, rule=rule, message=message, hint=hint))
        wrong.append(path)

    config = decode(overlay.raw, note)
    if config is None:
        raise ConfigProblems(_in_order(problems))
    findings = check(config, known, models_dir=models_dir(config, env))
    problems += [_placed(place, finding) for finding in findings if finding.fatal and not follows(finding, wrong)]
    if problems:
        raise ConfigProblems(_in_order(problems))
    warnings = tuple(_placed(place, finding) for finding in findings)
    return Loaded(config=config, file=file, warnings=warnings, hash=config_hash(config), blank=not source.raw)


def read_text(file: Path) -> str:
    """Return the text of a configuration file.

    Raises:
        ConfigProblems: it is missing, unreadable, too large or not UTF-8.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ConfigProblems([Problem(message=f"cannot be read: {error.strerror}", rule="file", file=str(file))]) from error
    if len(data) > MAX_FILE_BYTES:
        message = f"too large: {len(data)} bytes, at most {MAX_FILE_BYTES}"
        raise ConfigProblems([Problem(message=message, rule="file", file=str(file), hint="is it the right file?")])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        problem = Problem(message="not UTF-8 text", rule="encoding", file=str(file), line=line, hint="save the file as UTF-8")
        raise ConfigProblems([problem]) from error


def models_dir(config: Config, env: Mapping[str, str]) -> Path:
    """Return the folder of GGUF files: `engine.models_dir`, else the home's."""
    folder = config.engine.models_dir
    return expand_user(folder, env) if folder else find_home(env).models


def config_hash(config: Config) -> str:
    """Return 16 hex digits that name the tree: equal trees have equal hashes, whatever file they came from."""
    return hashlib.sha256(msgspec.json.encode(config, order="deterministic")).hexdigest()[:16]


def _with_channels(raw: dict[str, Any]) -> dict[str, Any]:
    """Return `raw` with the built-in channels below what the file says of channels, key by key."""
    routing = raw.get("routing")
    channels = routing.get("channels") if isinstance(routing, dict) else None
    if not isinstance(routing, dict) or not isinstance(channels, dict):
        return raw
    builtin = {
        name: {key: value for key, value in msgspec.to_builtins(channel).items() if value not in (None, [], "")}
        for name, channel in builtin_channels().items()
    }
    merged: dict[str, Any] = dict(builtin)
    for name, settings in channels.items():
        below = builtin.get(name, {})
        merged[name] = {**below, **settings} if isinstance(settings, dict) else below if settings is None else settings
    return {**raw, "routing": {**routing, "channels": merged}}


def _first_key(overlay: Overlay, env: Mapping[str, str]) -> None:
    """Put `$PREFRONTAL_API_KEY` before the keys of the file."""
    key = env.get("PREFRONTAL_API_KEY", "").strip()
    server = overlay.raw.get("server") or {}
    if not key or not isinstance(server, dict):
        return
    keys = server.get("api_keys") or []
    if isinstance(keys, list):
        others = [item for item in keys if item != key]
        overlay.raw = {**overlay.raw, "server": {**server, "api_keys": [key, *others]}}


def _placer(source: Source, overlay: Overlay) -> Callable[..., Problem]:
    def place(path: Where, **said: Any) -> Problem:
        return to_problem(source.file, source.lines, overlay.origins, path, **said)

    return place


def _placed(place: Callable[..., Problem], finding: Finding) -> Problem:
    return place(finding.path, rule=finding.rule, message=finding.message, hint=finding.hint)


def _in_order(problems: list[Problem]) -> list[Problem]:
    """Return the problems in the order of the file, each once."""
    unique = list(dict.fromkeys(problems))
    return sorted(unique, key=lambda problem: (problem.line is None, problem.line or 0))
