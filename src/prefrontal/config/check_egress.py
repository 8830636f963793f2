"""Checks of the rules about hosts: that the classes somebody names exist, and that a list of hosts is read at all."""

from __future__ import annotations

from collections.abc import Callable

from prefrontal.config.problems import Path, did_you_mean
from prefrontal.config.schema import Config
from prefrontal.contracts.reach import is_loopback


def check_egress(config: Config, note: Callable[..., None]) -> None:
    """Call `note` for each rule about hosts that is wrong or does nothing."""
    egress = config.egress
    _class(config, ("egress", "data_class"), egress.data_class, note)
    for name, channel in config.routing.channels.items():
        _class(config, ("routing", "channels", name, "data_class"), channel.data_class, note)
    rules: list[tuple[Path, str | None, tuple[str, ...] | None]] = [(("egress",), egress.mode, egress.allow)]
    for table in ("by_data_class", "by_key"):
        for name, rule in getattr(egress, table).items():
            rules.append((("egress", table, name), rule.mode, rule.allow))
    for path, mode, hosts in rules:
        _hosts((*path, "allow"), hosts or (), note)
        if hosts and mode in ("open", "local_only"):
            note((*path, "allow"), "unused", f"is not read with `mode: {mode}`", fatal=False)
    _hosts(("egress", "fetch", "private_hosts"), egress.fetch.private_hosts, note)
    endpoint = config.telemetry.endpoint
    if egress.mode == "local_only" and endpoint is not None and "://" in endpoint:
        host = endpoint.split("://", 1)[1].split("/", 1)[0].rsplit("@", 1)[-1].rsplit(":", 1)[0]
        if not is_loopback(host):
            text = "`egress.mode: local_only` lets nothing be sent there"
            note(("telemetry", "endpoint"), "unreachable", text, "name a collector on this machine", fatal=False)


def _class(config: Config, path: Path, name: str | None, note: Callable[..., None]) -> None:
    known = config.egress.by_data_class
    if name is not None and name not in known:
        hint = did_you_mean(name, known) or "define it under `egress.by_data_class`"
        note(path, "unknown_name", f"unknown data class `{name}`", hint)


def _hosts(path: Path, hosts: tuple[str, ...], note: Callable[..., None]) -> None:
    for index, host in enumerate(hosts):
        if not host or "/" in host or any(letter.isspace() for letter in host) or "*" in host.removeprefix("*."):
            note((*path, index), "host", f'"{host}" is not a host', "write api.example.com, or *.example.com")
