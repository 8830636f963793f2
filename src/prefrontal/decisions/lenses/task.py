"""The lens `task`: what kind of task a request is, how hard, and what it needs. Pure."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from prefrontal.contracts.assessment import TaskType
from prefrontal.contracts.lens import LensEffects
from prefrontal.decisions.lenses.form import Form
from prefrontal.decisions.lenses.lens import Lens, Seen, State

LONG_TOKENS = 1500
"""An answer expected to be at least so long is a long one (assumed: two pages)."""


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What a good answer needs."""

    thinking: Annotated[bool, Meta(description="several steps have to be thought through first")]
    long_answer: Annotated[bool, Meta(description="it takes more than two pages")]


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of the model."""

    type: Annotated[TaskType, Meta(description="the kind of task")]
    complexity: Annotated[float, Meta(ge=0, le=1, description="0 a greeting, 0.5 a page of careful work, 1 research")]
    needs: Needs


def finish(reply: Task, _seen: Seen) -> State:
    """Return what a reply means: the task as the plan takes it."""
    needs, complexity = reply.needs, round(reply.complexity, 3)
    words = [reply.type.replace("_", " "), f"complexity {complexity:.2f}"]
    words += ["needs thinking"] * needs.thinking + ["needs a long answer"] * needs.long_answer
    return State(
        data=msgspec.to_builtins(msgspec.structs.replace(reply, complexity=complexity)),
        summary=", ".join(words),
        effects=LensEffects(
            task_type=reply.type, complexity=complexity, thinking=needs.thinking, long_answer=needs.long_answer
        ),
    )


def formula(seen: Seen) -> Task:
    """Return what the rules of the assessment say."""
    found = seen.assessment
    needs = Needs(thinking=found.needs.thinking, long_answer=found.needs.output_tokens >= LONG_TOKENS)
    return Task(type=found.task_type, complexity=min(1.0, max(0.0, found.complexity)), needs=needs)


TASK: Lens[Task] = Lens(
    "task",
    version="v1",
    task="Judge what kind of task a request is, how hard it is, and what a good answer needs.",
    question="Of this request:",
    form=Form(Task),
    formula=formula,
    finish=finish,
    examples=(
        ("Hello!", Task(type="chat_writing", complexity=0.02, needs=Needs(thinking=False, long_answer=False))),
        (
            "Prove that there are infinitely many primes of the form 4k+3.",
            Task(type="math", complexity=0.6, needs=Needs(thinking=True, long_answer=False)),
        ),
    ),
)
