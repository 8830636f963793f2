"""The lens `risk`: how much harm a wrong answer could do. Pure."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from prefrontal.contracts.lens import LensEffects
from prefrontal.decisions.lenses.cues import counted
from prefrontal.decisions.lenses.form import Form
from prefrontal.decisions.lenses.lens import Lens, Seen, State

Kind = Literal["none", "health", "legal", "money", "safety", "security", "privacy", "irreversible"]
KINDS: tuple[Kind, ...] = get_args(Kind)

FIRST, NEXT, MOST = 0.35, 0.2, 0.95
"""The formula: the first word of a kind says FIRST, each further one NEXT more, up to MOST (assumed: words are no proof)."""


class Risk(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of the model."""

    level: Annotated[
        float, Meta(ge=0, le=1, description="0 a wrong answer costs nothing, 1 it may cost health, freedom or much money")
    ]
    kind: Annotated[Kind, Meta(description="what a wrong answer would harm most")]
    note: Annotated[str, Meta(min_length=1, max_length=160, description="why, in a few words")]


def finish(reply: Risk, _seen: Seen) -> State:
    """Return what a reply means: the risk that steers effort."""
    level = round(reply.level, 3)
    return State(
        data={"level": level, "kind": reply.kind, "note": reply.note},
        summary=f"risk {level:.2f}, {reply.kind}",
        effects=LensEffects(risk=level),
    )


def formula(seen: Seen) -> Risk:
    """Return the risk that the words of a text speak of."""
    counts = counted(seen.text)
    kind = max(KINDS, key=lambda one: counts.get(one, 0))
    words = counts.get(kind, 0)
    if not words:
        return Risk(level=0.0, kind="none", note="no word of any harm")
    return Risk(level=min(MOST, FIRST + NEXT * (words - 1)), kind=kind, note=f"{words} {'word' if words == 1 else 'words'} of it")


RISK: Lens[Risk] = Lens(
    "risk",
    version="v1",
    task="Judge how much harm a wrong answer to a request could do.",
    question="If the answer is wrong:",
    form=Form(Risk),
    formula=formula,
    finish=finish,
    examples=(
        ("Name three colours.", Risk(level=0.0, kind="none", note="nothing depends on it")),
        ("Can I give my baby half a paracetamol?", Risk(level=0.95, kind="health", note="a wrong dose harms a child")),
    ),
)
