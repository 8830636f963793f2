"""The lens `domains`: how much of a request is computational, scientific, cultural, experiential, and what lies between. Pure.

A boundary is a pair of domains. Its permeability is what the model says, else the geometric mean of the two activations; its
status always follows from its permeability, so the two never disagree.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from prefrontal.contracts.lens import LensEffects
from prefrontal.decisions.lenses.cues import counted
from prefrontal.decisions.lenses.form import Form
from prefrontal.decisions.lenses.lens import Lens, Seen, State

Status = Literal["maintained", "transitional", "transcendent"]

TRANSITIONAL, TRANSCENDENT = 0.6, 0.8
"""Permeability above which a boundary is so (specified: the project behind seed 004)."""

JOINED: Mapping[Status, float] = {"maintained": 0.0, "transitional": 0.5, "transcendent": 1.0}
"""How much a boundary of each status counts as joined (assumed: evenly spaced)."""

BASE, SPAN = 0.1, 0.85
"""The formula: a domain nothing speaks for has BASE; n words add SPAN·(1 − 2⁻ⁿ), so none is ever certain (assumed)."""

DIGITS = 3

Activation = Annotated[float, Meta(ge=0, le=1, description="0 plays no part, 1 carries the whole answer")]
Permeability = Annotated[float, Meta(ge=0, le=1)]


class Domain(msgspec.Struct, frozen=True, kw_only=True):
    """How much of one domain a good answer needs."""

    activation: Activation
    note: Annotated[str, Meta(min_length=1, max_length=160, description="why, in a few words")]


class Boundaries(msgspec.Struct, frozen=True, kw_only=True):
    """How far the two sides of each pair have to be thought together."""

    computational_scientific: Permeability | None = None
    computational_cultural: Permeability | None = None
    computational_experiential: Permeability | None = None
    scientific_cultural: Permeability | None = None
    scientific_experiential: Permeability | None = None
    cultural_experiential: Permeability | None = None


class Domains(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of the model; everything it is told and held to is made from this type."""

    computational: Annotated[Domain, Meta(description="algorithms, code, data, calculation, formal procedure")]
    scientific: Annotated[Domain, Meta(description="evidence, mechanism, experiment, laws of nature, proof")]
    cultural: Annotated[Domain, Meta(description="history, society, language, art, values, shared meaning")]
    experiential: Annotated[Domain, Meta(description="what it is like: feeling, body, awareness, a life lived")]
    boundaries: Annotated[
        Boundaries | None,
        Meta(description="how far the two are to be thought together; null where their activations say it already"),
    ] = None


def status_of(permeability: float) -> Status:
    """Return the status of a boundary."""
    if permeability > TRANSCENDENT:
        return "transcendent"
    return "transitional" if permeability > TRANSITIONAL else "maintained"


def activations(reply: msgspec.Struct) -> dict[str, float]:
    """Return the activation of each domain of a reply, whatever domains its type has."""
    found = {name: getattr(reply, name) for name in reply.__struct_fields__}
    return {name: value.activation for name, value in found.items() if isinstance(value, Domain)}


def finish(reply: msgspec.Struct, _seen: Seen) -> State:
    """Return what a reply means: domains, boundaries with their status, and how much of the request lies between domains."""
    active = activations(reply)
    given = getattr(reply, "boundaries", None)
    boundaries: dict[str, dict[str, Any]] = {}
    for one, other in combinations(active, 2):
        said = None if given is None else getattr(given, f"{one}_{other}", None)
        permeability = math.sqrt(active[one] * active[other]) if said is None else said
        boundaries[f"{one}_{other}"] = {"permeability": round(permeability, DIGITS), "status": status_of(permeability)}
    joined = [JOINED[each["status"]] for each in boundaries.values()]
    integration = round(sum(joined) / len(joined), DIGITS) if joined else 0.0
    told = ", ".join([f"{name} {value:.2f}" for name, value in sorted(active.items(), key=lambda item: -item[1])])
    domains = {
        name: {"activation": round(value, DIGITS), "note": getattr(reply, name).note} for name, value in active.items()
    }
    return State(
        data={"domains": domains, "boundaries": boundaries},
        summary=f"{told}; integration {integration:.2f}",
        effects=LensEffects(integration=integration),
    )


def formula(seen: Seen) -> Domains:
    """Return what the words of a text say of its domains. Any text has an answer, also an empty one."""
    counts = counted(seen.text)
    task = seen.assessment.task_type
    lean = {
        "computational": {"code": 3, "math": 2, "tool_call": 1}.get(task, 0),
        "scientific": {"math": 1, "knowledge_qa": 1, "reasoning": 1}.get(task, 0),
        "cultural": {"multilingual": 2, "chat_writing": 1}.get(task, 0),
        "experiential": {"chat_writing": 1}.get(task, 0),
    }
    made = {name: _domain(counts.get(name, 0), lean[name], task) for name in lean}
    return Domains(
        computational=made["computational"],
        scientific=made["scientific"],
        cultural=made["cultural"],
        experiential=made["experiential"],
    )


def _domain(words: int, lean: int, task: str) -> Domain:
    activation = BASE + SPAN * (1 - 2.0 ** -(words + lean / 2))
    said = f"{words} {'word' if words == 1 else 'words'} of it"
    if lean:
        said += f"; the task is {task.replace('_', ' ')}"
    return Domain(activation=round(activation, DIGITS), note=said)


def scores(state: Mapping[str, Any]) -> dict[str, float]:
    """Return the activations in a state."""
    return {name: each["activation"] for name, each in state["domains"].items()}


def _example(computational: float, scientific: float, cultural: float, experiential: float, notes: tuple[str, ...]) -> Domains:
    values = (computational, scientific, cultural, experiential)
    made = [Domain(activation=value, note=note) for value, note in zip(values, notes, strict=True)]
    return Domains(computational=made[0], scientific=made[1], cultural=made[2], experiential=made[3])


EXAMPLES: tuple[tuple[str, Domains], ...] = (
    (
        "Which index should I add to make this join faster?",
        _example(0.95, 0.25, 0.05, 0.05, ("query plans and data structures", "measure before and after", "none", "none")),
    ),
    (
        "Why do farewells hurt, and do people everywhere mourn alike?",
        _example(0.05, 0.45, 0.8, 0.9, ("none", "attachment and stress", "rites of mourning differ", "what loss is like")),
    ),
)
"""Made for the prompt; none of them is among the prompts that the lens is evaluated on."""

DOMAINS: Lens[Domains] = Lens(
    "domains",
    version="v1",
    task="Judge how much each of four domains of knowledge contributes to a good answer to a request.",
    question="How far does a good answer need this?",
    form=Form(Domains),
    formula=formula,
    finish=finish,
    examples=EXAMPLES,
    scores=scores,
)
