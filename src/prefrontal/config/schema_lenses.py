"""The part of the tree that describes lenses: small models that set the parameters of large ones."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from prefrontal.config.schema_numbers import Count0, Positive

PresetName = Literal["balanced", "fast", "cheap", "reliable"]


class Preset(msgspec.Struct, frozen=True, kw_only=True):
    """How much care a lens takes.

    timeout_s: bound of one call. retries: further calls to the same model. deadline_s: bound of it all; then the formula answers.
    tiers: of `decisions.tiers`, whose models are asked where the entry names none.
    """

    timeout_s: float
    retries: int
    deadline_s: float
    tiers: tuple[Literal["routine", "contextual", "complex"], ...]


PRESETS: dict[PresetName, Preset] = {
    "balanced": Preset(timeout_s=5.0, retries=2, deadline_s=8.0, tiers=("routine", "contextual")),
    "fast": Preset(timeout_s=3.0, retries=1, deadline_s=3.0, tiers=("routine",)),
    "cheap": Preset(timeout_s=8.0, retries=2, deadline_s=12.0, tiers=("routine",)),
    "reliable": Preset(timeout_s=5.0, retries=3, deadline_s=15.0, tiers=("contextual", "complex")),
}
"""Timeouts and retries specified (the design behind seed 004); deadlines assumed: a hung engine costs at most that, once."""


class LensEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one lens reads. Every lens works without an entry."""

    preset: Annotated[
        PresetName, Meta(description="Timeout, retries, deadline and tiers together: see docs/lenses.md.")
    ] = "balanced"
    model: Annotated[
        str | None,
        Meta(
            description="The model that reads, or `role/NAME`. Left out: those of the preset's `decisions.tiers`, else of the "
            "roles `decision` or `router`, else the cheapest there is."
        ),
    ] = None
    secondary: Annotated[
        str | None, Meta(description="Asked when the first gives nothing; of another provider, it also stands in for an outage.")
    ] = None
    timeout_s: Annotated[Positive | None, Meta(description="Bound of one call, s; left out: the preset's.")] = None
    retries: Annotated[Count0 | None, Meta(description="Further calls to the same model; left out: the preset's.")] = None
    deadline_s: Annotated[
        Positive | None, Meta(description="After so long the formula answers, s; left out: the preset's.")
    ] = None
    cache: Annotated[bool, Meta(description="Whether the reading of an equal request is used again, for the same key.")] = True
    cache_ttl_s: Annotated[Positive, Meta(description="How long a reading is kept, s. Specified: an hour.")] = 3600.0
    tell: Annotated[bool, Meta(description="Whether the large model is told what the lens saw.")] = True
    max_tokens: Annotated[
        Annotated[int, Meta(ge=16)], Meta(description="Output cap of a reading. Assumed: twice what the longest one has.")
    ] = 700
