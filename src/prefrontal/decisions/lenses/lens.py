"""What a lens is: a form to be filled by a model, a formula that fills it without one, and what its state means. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import msgspec

from prefrontal.contracts.assessment import Assessment
from prefrontal.contracts.lens import LensEffects, LensName
from prefrontal.decisions.lenses.form import Form
from prefrontal.prompts import filled, template

T = TypeVar("T", bound=msgspec.Struct)

PROMPT = "lens_prompt.v1"

SHOWN_HEAD, SHOWN_TAIL = 3000, 1000
"""Characters of a long question that a lens is shown, from its beginning and its end (assumed: a kind of task shows there)."""

SHOWN_BEFORE = 400
"""Characters of the user's turn before that (assumed: enough to know what "and then?" goes on from)."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What a lens looks at: the last question, the end of the user's turn before it, and what rules say of the request."""

    text: str
    before: str = ""
    assessment: Assessment

    @property
    def shown(self) -> str:
        """The words that a model is shown."""
        text = self.text
        if len(text) > SHOWN_HEAD + SHOWN_TAIL:
            text = f"{text[:SHOWN_HEAD]}\n[…]\n{text[-SHOWN_TAIL:]}"
        text = text.replace("</request>", "</ request>")  # nothing in it may end the frame
        return f"(asked before: {self.before[-SHOWN_BEFORE:]})\n{text}" if self.before else text


class State(msgspec.Struct, frozen=True, kw_only=True):
    """A reply with what follows from it: plain data, one line without words of the caller, effects on the plan."""

    data: dict[str, Any]
    summary: str
    effects: LensEffects


class Lens(Generic[T]):
    """One lens.

    task: what the model is to do, in a sentence or two; question: the same in a few words, for engines that are asked one value
    at a time. formula: fills the form from the text alone; it never fails on a text.
    finish: what a reply means. examples: requests with their replies, instances of the form's type. scores: what of a state can
    be ranked, by name; empty where nothing can.
    """

    def __init__(
        self,
        name: LensName,
        *,
        version: str,
        task: str,
        question: str,
        form: Form[T],
        formula: Callable[[Seen], T],
        finish: Callable[[T, Seen], State],
        examples: tuple[tuple[str, T], ...] = (),
        scores: Callable[[Mapping[str, Any]], dict[str, float]] = lambda _state: {},
    ) -> None:
        self.name = name
        self.task = task
        self.form = form
        self.formula = formula
        self.finish = finish
        self.scores = scores
        shown = "\n".join([f"<request>{asked}</request>\n{form.example(reply)}" for asked, reply in examples])
        self.system = filled(PROMPT, task=task, fields=form.wording, examples=shown or "(none)")
        self.questions = form.questions(question)
        told = [self.system, msgspec.json.encode(form.schema).decode(), *[one.instructions for one in self.questions]]
        digest = hashlib.sha256("\n".join(told).encode())
        self.digest = digest.hexdigest()[:16]
        self.version = version

    def fallback(self, seen: Seen) -> State:
        """Return what the formula says."""
        return self.finish(self.formula(seen), seen)


def told_of(name: str, state: Mapping[str, Any]) -> str:
    """Return a state as the large model is told it. Notes are left out: they are for people."""
    return msgspec.json.encode({name: without_notes(state)}).decode()


def without_notes(value: Any) -> Any:
    """Return a state without the words that a model chose, in which the caller's may be."""
    if isinstance(value, dict):
        return {key: without_notes(inner) for key, inner in value.items() if key != "note"}
    return value


def retry_words(error: str) -> str:
    """Return what a model is told of a reply that was wrong."""
    return filled("lens_retry.v1", error=error)


def note_words() -> str:
    """Return the system message that says what a state is, always the same."""
    return template("lens_note.v1")
