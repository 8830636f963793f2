"""What is known about models by name: a shipped catalogue, and the matcher that finds a model in it."""

from __future__ import annotations

import re
from importlib import resources
from typing import Any, Literal

import msgspec

from prefrontal.contracts.model import Price
from prefrontal.providers.effort.dialects import read_yaml
from prefrontal.providers.profile import Evidence

ANY_PROFILE = "*"
"""Key of a serving table for every profile it does not name."""

_TOKEN = re.compile(r"[a-z]+|\d+|#")
_FILE = re.compile(r"\.(?:gguf|safetensors|bin)$")
_SPELLED_POINT = re.compile(r"(?<=\d)p(?=\d)")
_DATE_DIGITS = (4, 6, 8)  # 0528, 250528, 20250528: a number this long right after the name is a date, not part of it


class Arch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The numbers the memory of the attention cache follows from.

    Either kv_heads with head_dim (dense, grouped or multi-head attention) or kv_lora_rank with qk_rope_head_dim (latent
    attention). full_attention_layers: the only ones whose cache grows, in hybrids. window_layers see the last window_tokens.
    """

    layers: int
    kv_heads: int | None = None
    head_dim: int | None = None
    kv_lora_rank: int | None = None
    qk_rope_head_dim: int | None = None
    full_attention_layers: int | None = None
    window_layers: int = 0
    window_tokens: int | None = None


class Can(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Capabilities of the weights; None is unknown. structured_output ``engine``: enforced by the engine's grammar."""

    thinking: Literal["never", "optional", "always_on"] | None = None
    tools: bool | None = None
    vision: bool | None = None
    structured_output: bool | Literal["engine"] | None = None


class ListedPrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A price as listed for one route, USD per million tokens, on `date`. `profile`: reached through this profile it applies.

    `until`: the date on which the route is to end.
    """

    route: str
    date: str
    input_usd: float
    output_usd: float
    cache_read_usd: float | None = None
    profile: str | None = None
    until: str | None = None


class Served(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a model is steered behind one profile."""

    dialect: str
    overrides: dict[str, Any] = {}
    thinking: Literal["never", "optional", "always_on"] | None = None


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model or family of the catalogue, as written."""

    id: str
    patterns: tuple[str, ...]
    can: Can
    evidence: Evidence
    sources: tuple[str, ...] = ()
    hf: str | None = None
    licence: str | None = None
    params_b: float | None = None
    active_b: float | None = None
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    arch: Arch | None = None
    serving: str | None = None
    levels: tuple[str, ...] = ()
    overrides: dict[str, Any] = {}
    strengths: tuple[str, ...] = ()
    weaknesses: tuple[str, ...] = ()
    price: ListedPrice | None = None
    note: str | None = None


class Catalogue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole data file."""

    version: int
    collected: str
    vendors: frozenset[str]
    packaging: frozenset[str]
    serving: dict[str, dict[str, str | Served]]
    models: tuple[Entry, ...]


class ModelFact(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about one model behind one profile.

    id: the catalogue's name. capabilities: thinking (False, True or ``always_on``), tools, vision, structured_output, as far as
    known. effort_*: as a `ModelCard` takes them; effort_dialect None: the catalogue does not say for this profile. price: set
    only when the route it was listed for is the one being used. params_b, active_b: billions of parameters.
    """

    id: str
    capabilities: dict[str, Any]
    evidence: Evidence
    sources: tuple[str, ...]
    licence: str | None
    params_b: float | None
    active_b: float | None
    arch: Arch | None
    context_tokens: int | None
    max_output_tokens: int | None
    effort_dialect: str | None
    effort_levels: tuple[str, ...]
    effort_overrides: dict[str, Any] | None
    strengths: tuple[str, ...]
    weaknesses: tuple[str, ...]
    price: Price | None
    listed_price: ListedPrice | None


class Facts:
    """The catalogue, indexed for matching. Immutable."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._by_first: dict[str, list[tuple[tuple[str, ...], Entry]]] = {}
        for entry in catalogue.models:
            for pattern in entry.patterns:
                tokens = _tokens(pattern)
                self._by_first.setdefault(tokens[0], []).append((tokens, entry))

    @property
    def ids(self) -> tuple[str, ...]:
        """The names of all entries, in the order of the file."""
        return tuple(entry.id for entry in self.catalogue.models)

    def match(self, wire_name: str, profile: str | None) -> ModelFact | None:
        """Return what is known about the model an engine calls `wire_name`, behind `profile`; None when nothing is.

        The name may be a path, a Hugging Face id, an Ollama tag, a GGUF file or a provider's id. The longest pattern that
        the name begins with wins, provided that what follows names no other model.
        """
        tokens = _name_tokens(wire_name)
        while tokens:
            found = self._longest(tokens)
            if found is not None:
                return self._resolved(found, profile)
            if tokens[0] not in self.catalogue.vendors:
                return None
            tokens = tokens[1:]
        return None

    def by_id(self, name: str, profile: str | None) -> ModelFact | None:
        """Return the entry called `name` exactly, behind `profile`; None when there is none."""
        found = next((entry for entry in self.catalogue.models if entry.id == name), None)
        return None if found is None else self._resolved(found, profile)

    def _longest(self, tokens: tuple[str, ...]) -> Entry | None:
        best: Entry | None = None
        best_rank = (0, 0)
        for pattern, entry in self._by_first.get(tokens[0], ()):
            if not _begins(tokens, pattern) or not self._same_model(tokens[len(pattern) :]):
                continue
            rank = (len(pattern), len(pattern) - pattern.count("#"))
            if rank > best_rank:
                best, best_rank = entry, rank
        return best

    def _same_model(self, rest: tuple[str, ...]) -> bool:
        """Whether what follows the pattern only says how the model is packed, dated or offered."""
        if not rest:
            return True
        if rest[0].isdigit() and len(rest[0]) not in _DATE_DIGITS and rest[1:2] not in (("bit",), ("bits",)):
            return False  # another version or size: gpt-5 is not gpt-5.1
        return all(token.isdigit() or token in self.catalogue.packaging for token in rest)

    def _resolved(self, entry: Entry, profile: str | None) -> ModelFact:
        served = self._served(entry, profile)
        thinking = (served.thinking if served else None) or entry.can.thinking
        known = {
            "thinking": {"never": False, "optional": True, "always_on": "always_on"}.get(thinking or ""),
            "tools": entry.can.tools,
            "vision": entry.can.vision,
            "structured_output": entry.can.structured_output,
        }
        overrides = {**entry.overrides, **(served.overrides if served else {})}
        fixed = served is not None and served.dialect == "fixed"
        return ModelFact(
            id=entry.id,
            capabilities={name: value for name, value in known.items() if value is not None},
            evidence=entry.evidence,
            sources=entry.sources,
            licence=entry.licence,
            params_b=entry.params_b,
            active_b=entry.active_b,
            arch=entry.arch,
            context_tokens=entry.context_tokens,
            max_output_tokens=entry.max_output_tokens,
            effort_dialect=served.dialect if served else None,
            effort_levels=() if fixed else entry.levels,
            effort_overrides=None if fixed else overrides or None,
            strengths=entry.strengths,
            weaknesses=entry.weaknesses,
            price=_price(entry.price) if entry.price and profile and entry.price.profile == profile else None,
            listed_price=entry.price,
        )

    def _served(self, entry: Entry, profile: str | None) -> Served | None:
        """How the model is steered behind `profile`; None: the catalogue does not say."""
        if entry.serving is None:
            return Served(dialect="fixed")
        table = self.catalogue.serving[entry.serving]
        found = table.get(profile or ANY_PROFILE, table.get(ANY_PROFILE))
        return Served(dialect=found) if isinstance(found, str) else found


def load_facts() -> Facts:
    """Return the shipped catalogue, read anew at each call (build once, hand around).

    Raises:
        msgspec.ValidationError: the shipped file does not fit the structs (a bug of ours; its path names the field).
    """
    text = resources.files("prefrontal.providers").joinpath("data", "model_facts.yaml").read_text(encoding="utf-8")
    return Facts(msgspec.convert(read_yaml(text), Catalogue))


def _price(listed: ListedPrice) -> Price:
    return Price(
        input_usd=listed.input_usd,
        output_usd=listed.output_usd,
        cache_read_usd=listed.cache_read_usd,
        origin="facts",
        date=listed.date,
    )


def _tokens(text: str) -> tuple[str, ...]:
    """Letters and digits apart, lower case: separators, case and the form of a version do not matter."""
    return tuple(_TOKEN.findall(_SPELLED_POINT.sub(".", text.lower())))


def _name_tokens(wire_name: str) -> tuple[str, ...]:
    """The tokens of the last part of a path or id, without a file's ending."""
    name = wire_name.strip().lower().replace("\\", "/").rstrip("/").rpartition("/")[2]
    return _tokens(_FILE.sub("", name).replace("#", ""))


def _begins(tokens: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    if len(pattern) > len(tokens):
        return False
    return all(want == have or (want == "#" and have.isdigit()) for want, have in zip(pattern, tokens, strict=False))
