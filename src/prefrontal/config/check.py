"""Checks across settings: names that must exist, addresses, files, ranges that belong together. Pure but for the file probe."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from prefrontal.config.check_deployments import check_deployments
from prefrontal.config.check_egress import check_egress
from prefrontal.config.check_knowledge import check_knowledge
from prefrontal.config.check_money import check_money
from prefrontal.config.check_redis import check_redis
from prefrontal.config.check_routing import check_routing
from prefrontal.config.check_store import check_store
from prefrontal.config.problems import Path as Where
from prefrontal.config.problems import did_you_mean
from prefrontal.config.schema import Config, ModelEntry, PriceEntry
from prefrontal.config.sizes import parse_minute, parse_size
from prefrontal.contracts.reach import is_loopback
from prefrontal.providers.profile import Profile

LOCAL_PROFILE = "llamacpp"
"""The profile of an entry that only names a `path`."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One wrong (`fatal`) or doubtful setting."""

    path: Where
    rule: str
    message: str
    hint: str | None = None
    fatal: bool = True


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What settings may refer to. `policies` None: plug-ins are not known, near misses are refused."""

    profiles: Mapping[str, Profile]
    policies: tuple[str, ...] | None = None
    dialects: tuple[str, ...] | None = None
    tools: tuple[str, ...] | None = None
    facts: tuple[str, ...] | None = None


def check(config: Config, known: Known, *, models_dir: Path, exists: Callable[[Path], bool] = Path.is_file) -> list[Finding]:
    """Return everything that is wrong or doubtful across the settings of `config`."""
    findings: list[Finding] = []

    def note(path: Where, rule: str, message: str, hint: str | None = None, *, fatal: bool = True) -> None:
        findings.append(Finding(path=path, rule=rule, message=message, hint=hint, fatal=fatal))

    for name, entry in config.models.items():
        _check_name(name, note)
        _check_model(("models", name), entry, known, models_dir, exists, note)
    check_routing(config, known.policies, known.tools, note)
    check_money(config, note)
    check_store(config, note)
    check_redis(config, note)
    check_egress(config, note)
    check_knowledge(config, note)
    _check_server(config, note)
    _check_limits(config, note)
    _check_discovery(config, known, note)
    return findings


def follows(finding: Finding, wrong: Iterable[Where]) -> bool:
    """Return whether a finding may only be there because the settings at `wrong` were left out before the check."""
    for path in wrong:
        if path and isinstance(path[-1], int):
            path = path[:-1]  # the items after it have moved
        common = min(len(path), len(finding.path))
        if path[:common] == finding.path[:common]:
            return True
        if finding.rule in _WITHIN and path[:-1] == finding.path[:-1]:
            return True
        if finding.rule in ("unknown_model", "unknown_role") and len(path) == 1:
            return True
    return False


_WITHIN = frozenset({"open_bind", "order", "exclusive"})
"""Rules about two settings of one block."""


def gguf_path(path: str, models_dir: Path) -> Path:
    """Return where a model entry's `path` lies: relative ones start at the models folder."""
    found = Path(path).expanduser() if path.startswith("~") else Path(path)
    return found if found.is_absolute() else models_dir / found


def named_files(models: Mapping[str, ModelEntry], models_dir: Path) -> dict[str, Path]:
    """Return the GGUF file of each enabled entry that names one, by the entry's name."""
    return {name: gguf_path(entry.path, models_dir) for name, entry in models.items() if entry.path and entry.enabled}


def pull_hint(file: Path) -> str:
    """Return what fetches a file that a model entry names, as far as its name tells."""
    return f"fetch it with `prefrontal models pull OWNER/REPO:{file.name}`"


def _check_name(name: str, note: Callable[..., None]) -> None:
    first = name.split("/")[0]
    if name in ("auto", "reflex") or (first in ("auto", "reflex", "role") and "/" in name):
        message = f"`{name}` is a reserved name: clients use it to let the gateway choose"
        note(("models", name), "reserved_name", message, "choose another name")
    elif not name or name != name.strip() or any(ord(letter) < 33 or ord(letter) == 127 for letter in name):
        note(
            ("models", name),
            "name",
            "a model's name may hold no spaces or control characters",
            "use letters, digits and . : - _ /",
        )


def _check_model(
    path: Where, entry: ModelEntry, known: Known, models_dir: Path, exists: Callable[[Path], bool], note: Callable[..., None]
) -> None:
    profile = _check_profile(path, entry, known, note)
    if entry.endpoint is not None:
        _check_endpoint((*path, "endpoint"), entry.endpoint, note)
    elif entry.path is None and profile is not None and profile.base_url is None and not profile.ports and not entry.deployments:
        note(path, "endpoint", f"profile `{entry.profile}` has no address of its own", "add `endpoint: http://host:port/v1`")
    if entry.path is not None and entry.endpoint is not None:
        note((*path, "path"), "exclusive", "`path` and `endpoint` exclude each other", "`path` is for the built-in engine")
    if entry.path is not None and entry.enabled:
        file = gguf_path(entry.path, models_dir)
        if not exists(file):
            hint = f"{pull_hint(file)}; the model is out of service until then"
            note((*path, "path"), "missing_file", f"no such file: {file}", hint, fatal=False)
    check_deployments(path, entry, profile, _check_endpoint, note)
    _check_price((*path, "price"), entry.price, note)
    _check_details(path, entry, known, exists, note)


def _check_profile(path: Where, entry: ModelEntry, known: Known, note: Callable[..., None]) -> Profile | None:
    if entry.profile is None:
        if entry.path is None:
            hint = "add `profile:` (" + ", ".join(sorted(known.profiles)[:6]) + ", …) or the `path:` of a GGUF file"
            note(path, "profile", "says neither which engine speaks for it nor which file to run", hint)
        return None
    if entry.profile not in known.profiles:
        close = did_you_mean(entry.profile, known.profiles)
        note((*path, "profile"), "unknown_profile", f"unknown profile `{entry.profile}`", close)
        return None
    return known.profiles[entry.profile]


def _check_endpoint(path: Where, endpoint: str, note: Callable[..., None]) -> None:
    if not endpoint:
        return  # an empty reference of a disabled model
    parts = urlsplit(endpoint)
    try:
        port = parts.port
    except ValueError:
        note(path, "url", "the port is not a number from 0 to 65535", "write http://host:port/path")
        return
    if parts.scheme not in ("http", "https") or not parts.hostname:
        bare = re.fullmatch(r"[\w.-]+(:\d+)?(/.*)?|\[[0-9a-fA-F:]+\](:\d+)?(/.*)?", endpoint)
        suggestion = f"http://{endpoint}" if bare else "http://host:port/path"
        note(path, "url", "not an http or https URL", f"write {suggestion}")
    elif parts.username or parts.password:
        note(path, "url", "a URL must not hold a password", "put it into `key: ${NAME}`")
    elif parts.query or parts.fragment:
        note(path, "url", "an endpoint has no query and no fragment", "put extra headers into `headers:`")
    elif port == 0:
        note(path, "url", "port 0 cannot be called", "write the port the engine listens on")
    else:
        for tail in ("/chat/completions", "/completions", "/messages", "/api/chat"):
            if parts.path.rstrip("/").endswith(tail):
                hint = f"write {endpoint.rstrip('/').removesuffix(tail)}"
                note(path, "url", f"an endpoint is the base URL, without `{tail}`", hint)
                break


def _check_price(path: Where, price: PriceEntry | None, note: Callable[..., None]) -> None:
    taken: dict[int, int] = {}
    for index, window in enumerate(price.windows if price else ()):
        here = (*path, "windows", index)
        bounds: list[int] = []
        for bound, text in (("from", window.start), ("to", window.end)):
            try:
                bounds.append(parse_minute(text))
            except ValueError:
                note((*here, bound), "time", f'"{text}" is not a time of day', 'write "HH:MM", UTC, "00:00" to "24:00"')
        if len(bounds) < 2:
            continue
        minutes = list(window_minutes(*bounds))
        if not minutes:
            note(here, "time", "the window is empty: it ends when it starts", 'a whole day is "00:00" to "24:00"')
        elif all(minute in taken for minute in minutes):
            note(
                here,
                "unreachable",
                f"never applies: window {taken[minutes[0]]} covers it",
                "the first that fits wins",
                fatal=False,
            )
        taken.update({minute: index for minute in minutes if minute not in taken})


def window_minutes(start: int, end: int) -> Iterator[int]:
    """Yield the minutes of the day from `start` to before `end`, over midnight when it ends before it starts."""
    yield from range(start, end) if start <= end else (*range(start, 1440), *range(end))


def _check_details(
    path: Where, entry: ModelEntry, known: Known, exists: Callable[[Path], bool], note: Callable[..., None]
) -> None:
    if entry.memory is not None:
        try:
            parse_size(entry.memory)
        except ValueError:
            note((*path, "memory"), "size", f'"{entry.memory}" is not a size', "write bytes, or 6GiB, 6GB, 512MiB")
    if entry.tls is not None and entry.tls.ca_file and not exists(Path(entry.tls.ca_file)):
        note((*path, "tls", "ca_file"), "missing_file", f"no such file: {entry.tls.ca_file}")
    for header, value in entry.headers.items():
        if not _is_header(header, value):
            note((*path, "headers", header), "header", "not a header: names are words, values hold no line breaks")
    if entry.key is not None and any(letter in entry.key for letter in "\r\n\0"):
        note((*path, "key"), "key", "the key holds a line break", "check the variable it comes from")
    _check_caps(path, entry, note)
    effort = entry.effort
    if effort is not None and effort.dialect is not None:
        _check_member((*path, "effort", "dialect"), "effort dialect", effort.dialect, known.dialects, note)
    low, high = (effort.budget_min_tokens, effort.budget_max_tokens) if effort else (None, None)
    if low is not None and high is not None and low > high:
        note((*path, "effort", "budget_min_tokens"), "order", f"the smallest budget ({low}) is above the largest ({high})")
    if entry.facts is not None:
        _check_member((*path, "facts"), "facts", entry.facts, known.facts, note)


def _check_caps(path: Where, entry: ModelEntry, note: Callable[..., None]) -> None:
    context, cap = entry.context_tokens, entry.max_output_tokens
    if context is not None and cap is not None and cap > context:
        hint = "the context window holds input and output together"
        note((*path, "max_output_tokens"), "order", f"the longest answer ({cap}) is above the context window ({context})", hint)
    if entry.path is None:
        engine_only = ("slots", "gpu_layers", "pinned", "idle_s")
        for name in (name for name in engine_only if getattr(entry, name) not in (None, False)):
            note((*path, name), "unused", "has no effect without `path`: it is for the built-in engine", fatal=False)


def _is_header(name: str, value: str) -> bool:
    word = name.replace("-", "").replace("_", "")
    return word.isascii() and word.isalnum() and not any(letter in value for letter in "\r\n\0")


def _check_member(path: Where, what: str, name: str, known: Iterable[str] | None, note: Callable[..., None]) -> None:
    if known is not None and name not in known:
        note(path, "unknown_name", f"unknown {what} `{name}`", did_you_mean(name, known))


def _check_server(config: Config, note: Callable[..., None]) -> None:
    server = config.server
    if not is_loopback(server.host) and not server.api_keys:
        hint = "add `server.api_keys: [${NAME}]` or set PREFRONTAL_API_KEY"
        note(
            ("server", "host"),
            "open_bind",
            f"{server.host} can be reached from other machines, and no API key is asked for",
            hint,
        )
    if server.workers > 1 and not config.records.enabled:
        text = "several workers count together in the database, and `records.enabled: false` allows none"
        note(("server", "workers"), "workers_need_records", text, "set records.enabled, or one worker")
    for name, keys in (("api_keys", server.api_keys), ("admin_keys", server.admin_keys)):
        for index, key in enumerate(keys):
            if not key or key != key.strip():
                note(("server", name, index), "key", "a key is empty or has spaces around it", "check the variable it comes from")
    for index, network in enumerate(server.trusted_proxies):
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError:
            note(("server", "trusted_proxies", index), "network", f'"{network}" is no address or network', "write 10.0.0.0/8")
    for index, origin in enumerate(server.cors_origins):
        parts = urlsplit(origin)
        if origin != "*" and (not parts.scheme or not parts.netloc or parts.path):
            note(("server", "cors_origins", index), "url", f'"{origin}" is not an origin', "write https://app.example.com, or *")


def _check_limits(config: Config, note: Callable[..., None]) -> None:
    for name, pair in (("limits", config.limits.retries), ("engine", config.engine.restart)):
        if pair.base_s > pair.max_s:
            path = (name, "retries" if name == "limits" else "restart", "base_s")
            note(path, "order", f"the first wait ({pair.base_s:g} s) is above the longest ({pair.max_s:g} s)")
    times = config.limits.timeouts
    for name in ("connect_s", "first_token_s", "between_tokens_s"):
        if getattr(times, name) > times.total_s:
            path = ("limits", "timeouts", name)
            note(path, "unreachable", f"never fires: it is longer than `total_s` ({times.total_s:g} s)", fatal=False)


def _check_discovery(config: Config, known: Known, note: Callable[..., None]) -> None:
    for name, ports in (config.discovery.ports or {}).items():
        _check_member(("discovery", "ports", name), "profile", name, known.profiles, note)
        for index, port in enumerate(ports):
            if not 1 <= port <= 65535:
                note(("discovery", "ports", name, index), "range", f"{port} is not a port", "ports are 1 to 65535")
