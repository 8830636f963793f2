"""A model as the rest of the house sees it: resolved, with the origin of everything known about it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from prefrontal.contracts.decision import DecisionDialect
from prefrontal.contracts.resilience import Balance, Hedge

Origin = Literal["config", "engine", "facts", "discovered", "assumed"]


class PriceWindow(msgspec.Struct, frozen=True, kw_only=True):
    """Prices between two times of day, UTC minutes in [0, 1440); `start` > `end` wraps over midnight."""

    start_minute: int
    end_minute: int
    input_usd: float | None = None
    output_usd: float | None = None
    cache_read_usd: float | None = None
    cache_write_usd: float | None = None


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """USD per million tokens by operation; None is unknown, 0 is free. `windows` override it at times of day."""

    input_usd: float | None = None
    output_usd: float | None = None
    cache_read_usd: float | None = None
    cache_write_usd: float | None = None
    windows: tuple[PriceWindow, ...] = ()
    origin: Origin = "assumed"
    date: str | None = None


class Capability(msgspec.Struct, frozen=True, kw_only=True):
    """One thing a model can do. `value` is True/False or a number or word; `origin` says who says so."""

    value: Any
    origin: Origin


class ThinkingRange(msgspec.Struct, frozen=True, kw_only=True):
    """The thinking budget a model takes, in tokens; `levels` when it takes words instead; `always_on` when it cannot be off."""

    min_tokens: int | None = None
    max_tokens: int | None = None
    default_tokens: int | None = None
    levels: tuple[str, ...] = ()
    default_level: str | None = None
    always_on: bool = False


class DecisionWire(msgspec.Struct, frozen=True, kw_only=True):
    """How a model's own route for typed decisions is spoken.

    dialect None: it has none. path: below the base URL; None: the dialect's usual one. joint: its prompt holds all questions of a
    request, so an answer depends on the others asked with it.
    """

    dialect: DecisionDialect | None = None
    path: str | None = None
    joint: bool = False


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """One model that can be called.

    id: the name clients use. wire_name: what the upstream calls it. profile: name of the provider profile (which wire, which
    conventions). base_url: the endpoint without a trailing slash (None: an engine we start ourselves, `local_path`).
    key: the upstream's secret, never shown. effort_dialect (with overrides `effort_levels`, `budget_min/max_tokens`).
    capabilities: thinking, tools, vision, audio, files, structured_output, embedding, chat, and any other name.
    context_tokens: window; max_output_tokens: hard cap of one answer. latency_ms: declared typical first-token latency.
    self_hosted: no money changes hands. priority: higher is preferred among equals. enabled: False hides it from `auto`.
    deployments: the places that serve it, where there are several: cards of the same id, each with its own address, key, `weight`
    and name in `deployment`; the model's own card then has the first one's. balance, hedge: how they are chosen and doubled.
    cache: whether its answers are cached (None: nobody says). decisions: its route for typed decisions (None: nobody says).
    """

    id: str
    wire_name: str
    profile: str
    base_url: str | None = None
    key: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    local_path: str | None = None
    effort_dialect: str = "fixed"
    effort_levels: tuple[str, ...] = ()
    effort_overrides: dict[str, Any] | None = None
    thinking: ThinkingRange | None = None
    capabilities: dict[str, Capability] = {}
    context_tokens: int | None = None
    context_origin: Origin = "assumed"
    max_output_tokens: int | None = None
    price: Price = Price()
    roles: tuple[str, ...] = ()
    strengths: tuple[str, ...] = ()
    weaknesses: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    priority: int = 0
    memory_bytes: int | None = None
    latency_ms: float | None = None
    quality: float | None = None
    max_concurrency: int | None = None
    max_queue: int | None = None
    self_hosted: bool = False
    licence: str | None = None
    version: str | None = None
    provider: str | None = None
    enabled: bool = True
    auto: bool = True
    origin: Origin = "config"
    tls_verify: bool = True
    tls_ca_file: str | None = None
    timeout_s: float | None = None
    extra_body: dict[str, Any] | None = None
    deployment: str | None = None
    deployments: tuple[ModelCard, ...] = ()
    weight: float = 1.0
    cache: bool | None = None
    decisions: DecisionWire | None = None
    balance: Balance = "least_outstanding"
    hedge: Hedge | None = None

    @property
    def place(self) -> str:
        """What tells this deployment from every other of every model; a model's id where it has only one."""
        return self.id if self.deployment is None else f"{self.id}#{self.deployment}"

    def __repr__(self) -> str:
        """Show the card without its secrets: they must not reach a log or a test report by accident."""
        shown = {name: getattr(self, name) for name in self.__struct_fields__}
        shown["key"] = None if self.key is None else "***"
        shown["headers"] = tuple((name, "***") for name, _ in self.headers)
        return f"ModelCard({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def can(self, capability: str) -> bool | None:
        """Return whether the model has `capability`; None when nobody knows."""
        found = self.capabilities.get(capability)
        return None if found is None else bool(found.value)
