"""From an entry of the registry to a `ModelCard`: what the file says, what the engine says, what is known, what is assumed.

The order is always: the file's entry, the engine's own word (a probe), the shipped facts, the profile's defaults. Each
capability keeps the origin it came from. Pure: the environment and the facts are passed in.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from prefrontal.config.check import LOCAL_PROFILE, gguf_path
from prefrontal.config.hedging import hedge_of
from prefrontal.config.schema import EffortEntry, ModelEntry, PriceEntry
from prefrontal.config.sizes import parse_minute, parse_size
from prefrontal.contracts.model import Capability, DecisionWire, ModelCard, Origin, Price, PriceWindow, ThinkingRange
from prefrontal.contracts.reach import is_loopback
from prefrontal.errors import ConfigError
from prefrontal.providers.base import Found
from prefrontal.providers.effort.dialects import Dialects
from prefrontal.providers.effort.resolve import dialect_of
from prefrontal.providers.facts import Facts, ModelFact
from prefrontal.providers.profile import Profile

T = TypeVar("T")
NOTHING_FOUND = Found(id="")


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a card is built from besides its entry. `env` is where profiles look for keys; `models_dir` holds GGUF files."""

    profiles: Mapping[str, Profile]
    facts: Facts
    dialects: Dialects
    env: Mapping[str, str] = {}
    models_dir: Path = Path()

    def __repr__(self) -> str:
        return f"Sources(profiles={len(self.profiles)}, models_dir={self.models_dir})"  # the environment holds keys


def build_card(
    name: str, entry: ModelEntry, sources: Sources, *, found: Found | None = None, origin: Origin = "config"
) -> ModelCard:
    """Return the card of one model. `found` is what its engine said; `origin` is who named the model.

    A model whose profile needs a key and has none comes back with ``enabled=False``.

    Raises:
        ConfigError: the profile, or the effort dialect or level it names, does not exist.
    """
    profile_name = entry.profile or LOCAL_PROFILE
    profile = sources.profiles.get(profile_name)
    if profile is None:
        raise ConfigError(f"unknown profile `{profile_name}`", path=f"models.{name}.profile", rule="unknown_profile")
    seen = found or NOTHING_FOUND
    wire_name = entry.model or name
    fact = _fact(entry, wire_name, profile_name, sources.facts)
    base_url = None if entry.path else _base_url(entry, profile)
    key = _key(entry, profile, base_url, sources.env)
    context, context_origin = _window(entry, seen, fact, profile, origin)
    capabilities = _capabilities(entry, seen, fact, profile, origin)
    card = ModelCard(
        id=name,
        wire_name=wire_name,
        profile=profile_name,
        base_url=base_url,
        key=key,
        headers=tuple((header.lower(), value) for header, value in entry.headers.items()),
        local_path=str(gguf_path(entry.path, sources.models_dir)) if entry.path else None,
        capabilities=capabilities,
        context_tokens=context,
        context_origin=context_origin,
        max_output_tokens=entry.max_output_tokens or seen.max_output_tokens or _of(fact, "max_output_tokens"),
        price=_price(entry.price, fact, free=profile.self_hosted or entry.path is not None, origin=origin),
        strengths=entry.strengths or (fact.strengths if fact else ()),
        weaknesses=entry.weaknesses or (fact.weaknesses if fact else ()),
        memory_bytes=None if entry.memory is None else parse_size(entry.memory),
        self_hosted=profile.self_hosted or entry.path is not None,
        licence=entry.licence or _of(fact, "licence"),
        provider=profile.provider,
        decisions=_decisions(entry, profile),
        enabled=entry.enabled
        and not (profile.auth.required and key is None and (not entry.endpoint or profile.base_url is None)),
        origin=origin,
        **_copied(entry),
    )
    return _with_effort(card, entry.effort or EffortEntry(), seen, fact, profile, sources.dialects)


def _copied(entry: ModelEntry) -> dict[str, Any]:
    """The fields only the file can know."""
    return {
        "roles": entry.roles,
        "tags": entry.tags,
        "priority": entry.priority,
        "latency_ms": entry.latency_ms,
        "quality": entry.quality,
        "max_concurrency": entry.concurrency,
        "max_queue": entry.queue,
        "version": entry.version,
        "auto": entry.auto,
        "tls_verify": entry.tls is None or entry.tls.verify,
        "tls_ca_file": entry.tls.ca_file if entry.tls else None,
        "timeout_s": entry.timeout_s,
        "extra_body": entry.extra_body,
        "cache": entry.cache,
        "balance": entry.balance,
        "hedge": hedge_of(entry.hedge),
    }


def _decisions(entry: ModelEntry, profile: Profile) -> DecisionWire | None:
    """Return how the model's route for decisions is spoken, by the file or else by the profile."""
    if entry.decisions is not None:
        return DecisionWire(dialect=entry.decisions.dialect, path=entry.decisions.path, joint=entry.decisions.joint)
    return None if profile.decision_dialect is None else DecisionWire(dialect=profile.decision_dialect)


def missing_key(entry: ModelEntry, card: ModelCard, profile: Profile) -> str | None:
    """Return the sentence for a model that is out of service only because its key is missing; None when that is not so."""
    if card.enabled or not entry.enabled:
        return None
    return f"not in service: set {' or '.join(profile.auth.env) or 'its key'}, or write `key:`"


def _fact(entry: ModelEntry, wire_name: str, profile: str, facts: Facts) -> ModelFact | None:
    """Return what is known of the model: by the id the entry names, else by its wire name, else by its file's name."""
    if entry.facts:
        return facts.by_id(entry.facts, profile)
    return facts.match(wire_name, profile) or (facts.match(entry.path, profile) if entry.path else None)


def _of(fact: ModelFact | None, field: str) -> Any:
    return None if fact is None else getattr(fact, field)


def _first(*offers: tuple[T | None, Origin]) -> tuple[T | None, Origin]:
    """Return the first value that is known, with who said so."""
    for value, origin in offers:
        if value is not None:
            return value, origin
    return None, "assumed"


def _window(
    entry: ModelEntry, seen: Found, fact: ModelFact | None, profile: Profile, origin: Origin
) -> tuple[int | None, Origin]:
    """Return the context window and who says so; only the file may ask for more than the profile's bound."""
    window, said_by = _first(
        (entry.context_tokens, origin), (seen.context_tokens, "engine"), (_of(fact, "context_tokens"), "facts")
    )
    bound = profile.window_bound_tokens
    if bound is not None and entry.context_tokens is None and window is not None and window > bound:
        return bound, "assumed"
    return window, said_by


def _base_url(entry: ModelEntry, profile: Profile) -> str | None:
    """Return the endpoint; one without a path gets the profile's, so that ``http://host:8000`` works like ``…:8000/v1``."""
    if not entry.endpoint:
        if profile.base_url is None and profile.ports:
            return f"http://127.0.0.1:{profile.ports[0]}{_usual_path(profile)}"
        return profile.base_url.rstrip("/") if profile.base_url else None
    endpoint = entry.endpoint.rstrip("/")
    return endpoint if urlsplit(endpoint).path else endpoint + _usual_path(profile)


def _usual_path(profile: Profile) -> str:
    """Return the path below which the routes of this engine lie."""
    if profile.base_url:
        return urlsplit(profile.base_url).path.rstrip("/")
    return "/v1" if profile.ports and profile.wire == "openai" else ""  # every local engine of this wire serves below /v1


def _key(entry: ModelEntry, profile: Profile, base_url: str | None, env: Mapping[str, str]) -> str | None:
    """Return the provider's key.

    One from the environment is sent only where it belongs: to the host the profile names, for local engines to this machine,
    and for profiles without an address of their own to the endpoint the file gives.
    """
    if entry.key:
        return entry.key
    if base_url is None:
        return None
    host = urlsplit(base_url).hostname or ""
    home = urlsplit(profile.base_url).hostname if profile.base_url else None
    if host != home and (home is not None or (profile.ports and not is_loopback(host))):
        return None
    return next((env[name].strip() for name in profile.auth.env if env.get(name, "").strip()), None)


def _capabilities(
    entry: ModelEntry, seen: Found, fact: ModelFact | None, profile: Profile, origin: Origin
) -> dict[str, Capability]:
    merged = {name: Capability(value=value, origin="assumed") for name, value in profile.capabilities.items()}
    for name, value in (fact.capabilities if fact else {}).items():
        # the weights do not decide this one: the engine's grammar does, where it has one
        known = profile.structured_output != "none" if value == "engine" else value
        merged[name] = Capability(value=known, origin="facts")
    merged.update(seen.capabilities)
    merged.update({name: Capability(value=value, origin=origin) for name, value in entry.capabilities.items()})
    return merged


def _price(entry: PriceEntry | None, fact: ModelFact | None, *, free: bool, origin: Origin) -> Price:
    """Return the price, field by field: the entry's, then the listed one, then nothing for what runs on our own machines."""
    listed = fact.price if fact and fact.price and not free else None
    base = listed or (Price(input_usd=0.0, output_usd=0.0, cache_read_usd=0.0, cache_write_usd=0.0) if free else Price())
    if entry is None:
        return base
    fields = ("input_usd", "output_usd", "cache_read_usd", "cache_write_usd")
    own = {name: getattr(entry, name) for name in fields if getattr(entry, name) is not None}
    windows = tuple(
        PriceWindow(
            start_minute=parse_minute(window.start) % 1440,
            end_minute=parse_minute(window.end),
            **{name: getattr(window, name) for name in fields},
        )
        for window in entry.windows
    )
    return msgspec.structs.replace(base, **own, windows=windows, origin=origin if own or windows else base.origin)


def _with_effort(
    card: ModelCard, entry: EffortEntry, seen: Found, fact: ModelFact | None, profile: Profile, dialects: Dialects
) -> ModelCard:
    """Return `card` with how its thinking is controlled, and the range that follows from it."""
    if entry.dialect not in (None, "fixed") and card.can("thinking") is None:
        vouched = {**card.capabilities, "thinking": Capability(value=True, origin="config")}
        card = msgspec.structs.replace(card, capabilities=vouched)  # who names a dialect says that there is something to steer
    thinks = card.can("thinking")
    dialect = entry.dialect or _of(fact, "effort_dialect") or profile.effort_dialect
    if thinks is False and entry.dialect is None:
        dialect = "fixed"
    from_facts = dict(_of(fact, "effort_overrides") or {}) if dialect == _of(fact, "effort_dialect") else {}
    own = {
        "alias": entry.alias or None,
        "budget_min_tokens": entry.budget_min_tokens,
        "budget_max_tokens": entry.budget_max_tokens,
        "key": entry.template_key,
    }
    overrides = {**from_facts, **{name: value for name, value in own.items() if value is not None}}
    always = card.capabilities.get("thinking") is not None and card.capabilities["thinking"].value == "always_on"
    levels = entry.levels or seen.effort_levels or _of(fact, "effort_levels") or ()
    card = msgspec.structs.replace(
        card,
        effort_dialect=dialect,
        effort_levels=() if dialect == "fixed" else tuple(levels),
        effort_overrides=overrides or None,
        thinking=ThinkingRange(always_on=True) if always else None,
    )
    return msgspec.structs.replace(card, thinking=_range(card, dialects) if thinks is not False else None)


def _range(card: ModelCard, dialects: Dialects) -> ThinkingRange | None:
    """Return the thinking range as the model's own dialect has it; None when nothing is known."""
    dialect = dialect_of(card, dialects)
    if not dialect.levels and dialect.budget is None and not dialect.always_on:
        return card.thinking
    return ThinkingRange(
        min_tokens=dialect.budget.min if dialect.budget else None,
        max_tokens=dialect.budget.max if dialect.budget else None,
        levels=tuple(dialect.levels),
        default_level=dialect.default_level,
        always_on=dialect.always_on,
    )
