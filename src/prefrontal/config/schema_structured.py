"""The part of the tree that says how answers are validated."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class StructuredOutput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens when an answer is not in the form that was asked for."""

    validate: Annotated[
        bool, Meta(description="Check answers to requests with `response_format` here, whatever the engine promises.")
    ] = True
    repairs: Annotated[
        int,
        Meta(ge=0, le=3, description="How often the same model is asked again with what is wrong. Specified: once."),
    ] = 1
    escalate: Annotated[
        bool, Meta(description="After that, ask the next model of the plan; left off, the request fails with what was found.")
    ] = False
    stream: Annotated[
        Literal["pass", "hold"],
        Meta(description="Streams: `pass` them on and check at the end, or `hold` them until they are checked and repaired."),
    ] = "pass"
    validators: Annotated[
        tuple[str, ...],
        Meta(description="Run on every answer: `format` (empty, cut), `tools` (tool calls), or the name of a plug-in."),
    ] = ()
    memory_ttl_s: Annotated[
        float,
        Meta(gt=0, description="How long a model that ignored or refused its field is told the form in another way, s. Assumed."),
    ] = 3600.0
