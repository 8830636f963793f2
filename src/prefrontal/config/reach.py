"""From the settings about hosts to the rules of one request. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from prefrontal.config.schema_egress import Egress, EgressRule
from prefrontal.contracts.reach import HostRule, Reach


def general_rule(egress: Egress) -> HostRule | None:
    """Return the rule that holds for everything; None: every host may be contacted."""
    mode = egress.mode or ("open" if egress.allow is None else "allow")
    return None if mode == "open" else HostRule(mode=mode, hosts=egress.allow or (), why="egress")


def reach_of(egress: Egress, classes: Iterable[str], keys: Iterable[str | None]) -> Reach | None:
    """Return the rules of a request of these data classes, made with a key of these names; None: it may go anywhere.

    Every class must be a key of `egress.by_data_class`: who calls this has said so to its caller before.
    """
    rules: list[HostRule] = []
    general = general_rule(egress)
    if general is not None:
        rules.append(general)
    rules += [_rule(egress.by_data_class[name], f"the data class '{name}'") for name in classes]
    rules += [_rule(egress.by_key[name], f"the key '{name}'") for name in keys if name is not None and name in egress.by_key]
    narrowing = tuple([rule for rule in rules if rule.mode != "open"])
    return Reach(rules=narrowing) if narrowing else None


def _rule(entry: EgressRule, why: str) -> HostRule:
    return HostRule(mode=entry.mode, hosts=entry.allow, why=why)
