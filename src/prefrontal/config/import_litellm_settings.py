"""LiteLLM's router, proxy and general settings: what of them has a place here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from prefrontal.config.import_litellm_money import take_proxy_money

_STRATEGIES = {
    "simple-shuffle": "round_robin",
    "least-busy": "round_robin",
    "usage-based-routing": "round_robin",
    "usage-based-routing-v2": "round_robin",
    "latency-based-routing": "fastest",
    "cost-based-routing": "cheapest",
}
_DUMMY_KEYS = {"none", "empty", "dummy", "anything", "not-needed", "no-key", "sk-no-key-required", "fake-key", ""}
IMPLIED = {
    "drop_params": "not needed, what a model does not take is always left out here, and reported",
    "set_verbose": "not carried, `logging.level: debug` says more",
    "json_logs": "not carried, `logging.format: json` is the same",
}
"""What is said of settings whose effect is had by other means."""


def carry_settings(raw: Mapping[str, Any], config: dict[str, Any], groups: Mapping[str, list[str]], notes: list[str]) -> None:
    """Add to `config` what the three settings blocks mean here; whatever has no place gets a note."""
    router = _block(raw, "router_settings", notes)
    proxy = _block(raw, "litellm_settings", notes)
    general = _block(raw, "general_settings", notes)
    _fallbacks(router, proxy, config, groups, notes)
    _strategy(router, config, notes)
    _limits(router, proxy, config)
    take_proxy_money(proxy, general, config, notes)
    _keys(general, config, notes)
    for name, block in (("router_settings", router), ("litellm_settings", proxy), ("general_settings", general)):
        notes += [f"{name}.{key}: {IMPLIED.get(key, 'not carried')}" for key in block]
    known = {"model_list", "router_settings", "litellm_settings", "general_settings"}
    notes += [f"{key}: not carried" for key in raw if key not in known]


def reference(value: Any, fallback: str, where: str, notes: list[str]) -> str | None:
    """Return a secret as a reference: ``os.environ/NAME`` keeps its name; one written out gets the name `fallback` and a note."""
    text = str(value)
    if text.startswith("os.environ/"):
        return "${" + text.removeprefix("os.environ/") + "}"
    if text.lower() in _DUMMY_KEYS:
        return None
    notes.append(f"{where}: the secret was written in the file; put it into the environment variable {fallback}")
    return "${" + fallback + "}"


def expand_environ(value: Any) -> Any:
    """Return `value` with ``os.environ/NAME`` written our way."""
    if isinstance(value, str) and value.startswith("os.environ/"):
        return "${" + value.removeprefix("os.environ/") + "}"
    return value


def _block(raw: Mapping[str, Any], name: str, notes: list[str]) -> dict[str, Any]:
    block = raw.get(name) or {}
    if not isinstance(block, dict):
        notes.append(f"{name}: not carried, it is not a mapping")
        return {}
    return dict(block)


def _fallbacks(
    router: dict[str, Any], proxy: dict[str, Any], config: dict[str, Any], groups: Mapping[str, list[str]], notes: list[str]
) -> None:
    """One chain for all models stands here for their chains per model: the order of first mention."""
    rows = [*(router.pop("fallbacks", None) or []), *(proxy.pop("fallbacks", None) or [])]
    pairs = [pair for row in rows if isinstance(row, dict) for pair in row.items()]
    defaults = [*(router.pop("default_fallbacks", None) or []), *(proxy.pop("default_fallbacks", None) or [])]
    chain: list[str] = []
    for name in [*(name for _, names in pairs for name in names or []), *defaults]:
        if name not in groups:
            notes.append(f"fallbacks: `{name}` is not in model_list")
        chain += [model for model in groups.get(name, []) if model not in chain]
    if chain:
        config.setdefault("routing", {})["fallback"] = chain
    if chain and pairs:
        became = f"{len(pairs)} chains became one" if len(pairs) > 1 else f"the chain of {pairs[0][0]} became one for all"
        notes.append(f"fallbacks: {became}, {' → '.join(chain)}, used after any model")
    by_window = [block.pop("context_window_fallbacks", None) for block in (router, proxy)]
    if any(by_window):
        notes.append("context_window_fallbacks: not needed, `auto` only considers models whose window is large enough")


def _strategy(router: dict[str, Any], config: dict[str, Any], notes: list[str]) -> None:
    strategy = router.pop("routing_strategy", None)
    if strategy is None:
        return
    policy = _STRATEGIES.get(str(strategy))
    if policy is None:
        notes.append(f"router_settings.routing_strategy: `{strategy}` has no counterpart")
        return
    config.setdefault("routing", {})["policy"] = policy
    if str(strategy) not in ("latency-based-routing", "cost-based-routing", "simple-shuffle"):
        notes.append(f"router_settings.routing_strategy: `{strategy}` became `{policy}`, the nearest")


def _limits(router: dict[str, Any], proxy: dict[str, Any], config: dict[str, Any]) -> None:
    limits: dict[str, Any] = {}

    def take(block: str, setting: str, names: tuple[str, ...], convert: Callable[[Any], Any]) -> None:
        for source in (router, proxy):
            for name in names:
                value = source.pop(name, None)
                if isinstance(value, int | float) and not isinstance(value, bool):
                    limits.setdefault(block, {}).setdefault(setting, convert(value))

    take("retries", "attempts", ("num_retries",), lambda value: min(10, max(1, int(value) + 1)))
    take("timeouts", "total_s", ("timeout", "request_timeout"), float)
    take("breaker", "failures", ("allowed_fails",), lambda value: max(1, int(value)))
    take("breaker", "open_s", ("cooldown_time",), float)
    if limits:
        config.setdefault("limits", {}).update(limits)


def _keys(general: dict[str, Any], config: dict[str, Any], notes: list[str]) -> None:
    key = general.pop("master_key", None)
    if key is None:
        return
    found = reference(key, "PREFRONTAL_ADMIN_KEY", "general_settings.master_key", notes)
    if found is not None:
        config["server"] = {"api_keys": [found], "admin_keys": [found]}
