"""One question made ready to be asked: prompt, examples, schema, grammar and validator, all generated from the same options.

What does not depend on the state is built once, so asking the same question of another state costs the state only.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import msgspec

from prefrontal.chat.blocks import Block, Image, Text
from prefrontal.chat.request import Message
from prefrontal.contracts.decision import Example, Option, Question
from prefrontal.decisions.wording import Form, Wording, filled

CODES = tuple(string.ascii_uppercase + string.ascii_lowercase)
"""Labels of options: single letters, because a letter is one token in every tokenizer in use (measured: reference engines)."""

ANSWER, SURE = "answer", "confidence"
"""The fields of an answer in JSON."""

_TRIM = " \t\r\n.,:;)('\"*`"


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """What a model's text says: the option's index, and how sure it says it is (None: it does not)."""

    index: int
    confidence: float | None = None


class Prepared:
    """A question, ready to be asked. Holds no state of a request; shared by all that ask the same.

    Options beyond `CODES` have no code: such a question is asked in groups (`grouped`).
    """

    def __init__(self, question: Question, wording: Wording, examples: Sequence[Example] = ()) -> None:
        self.question = question
        self.wording = wording
        self.labels = tuple([_label(value, wording) for value in question.values])
        self.codes = CODES[: len(self.labels)]
        self.order = tuple(range(len(self.labels)))
        self._examples = tuple([(one.state, question.values.index(one.answer), one.reason) for one in examples])
        self._heads: dict[Form, tuple[Message, ...]] = {}
        self._groups: dict[int, tuple[Prepared, tuple[Prepared, ...]]] = {}

    @property
    def version(self) -> str:
        """The version of the wording."""
        return self.wording.version

    # -- what the model is told ----------------------------------------------------------------------------------------

    def messages(
        self, form: Form, state: str, images: tuple[Image, ...] = (), order: tuple[int, ...] | None = None
    ) -> tuple[Message, ...]:
        """Return the conversation that asks for an answer in `form`. `order`: the options as they are shown (None: as given)."""
        if order is None or order == self.order:
            head = self._heads.get(form)
            if head is None:
                head = self._heads[form] = self._head(form, self.order)
        else:
            head = self._head(form, order)
        return (*head, Message(role="user", blocks=_shown(state, images), form="parts" if images else "text"))

    def reasoning(self, state: str, images: tuple[Image, ...] = ()) -> tuple[Message, ...]:
        """Return the conversation that asks for reasons first."""
        turns = [_text("system", self._system(self.wording.ask.reason, self.order))]
        for shown, _, reason in self._examples:
            if reason is not None:
                turns += [_text("user", shown), _text("assistant", reason)]
        return (*turns, Message(role="user", blocks=_shown(state, images), form="parts" if images else "text"))

    def concluding(self, asked: tuple[Message, ...], reasons: str, form: Form) -> tuple[Message, ...]:
        """Return the conversation that goes on from the reasons to the answer."""
        conclude = filled(self.wording.conclude, {"ask": self._ask(form)})
        return (*asked, _text("assistant", reasons), _text("user", conclude))

    def _head(self, form: Form, order: tuple[int, ...]) -> tuple[Message, ...]:
        turns = [_text("system", self._system(self._ask(form), order))]
        for state, index, _ in self._examples:
            turns += [_text("user", state), _text("assistant", self.answer(form, order.index(index)))]
        return tuple(turns)

    def _system(self, ask: str, order: tuple[int, ...]) -> str:
        wording, question = self.wording, self.question
        lines = [self._option(code, place) for code, place in zip(self.codes, order, strict=False)]
        values = {
            "instructions": question.instructions,
            "heading": wording.headings[question.kind],
            "options": "\n".join(lines),
            "ask": ask,
        }
        return filled(wording.system, values)

    def _option(self, code: str, place: int) -> str:
        description = self.question.options[place].description
        values = {"code": code, "label": self.labels[place], "description": description or ""}
        return filled(self.wording.described if description else self.wording.option, values)

    def _ask(self, form: Form) -> str:
        template: str = getattr(self.wording.ask, form)
        return filled(template, {"example": self.answer(form, 0)})

    # -- what it may answer --------------------------------------------------------------------------------------------

    def answer(self, form: Form, shown: int) -> str:
        """Return a right answer in `form` that names the option shown at place `shown`."""
        code = self.codes[shown]
        if form == "code":
            return code
        told = {ANSWER: code} if form == "json" else {ANSWER: code, SURE: 0.9}
        return msgspec.json.encode(told).decode()

    @property
    def grammar(self) -> str:
        """The GBNF grammar of a bare code."""
        return "root ::= " + " | ".join([f'"{code}"' for code in self.codes])

    def schema(self, form: Form) -> dict[str, Any]:
        """Return the JSON schema of an answer in `form`, ``json`` or ``stated``."""
        fields: dict[str, Any] = {ANSWER: {"type": "string", "enum": list(self.codes)}}
        if form == "stated":
            fields[SURE] = {"type": "number", "minimum": 0, "maximum": 1}
        return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}

    def read(self, form: Form, text: str, order: tuple[int, ...] | None = None) -> Read | None:
        """Return what an answer says, or None when it is not one in `form`. An option's own words count as its code."""
        if form == "code":
            index = self._named(text.partition("\n")[0], order)
            return None if index is None else Read(index=index)
        told = _object_in(text)
        if told is None or not isinstance(told.get(ANSWER), str) or set(told) - {ANSWER, SURE}:
            return None
        index, sure = self._named(told[ANSWER], order), told.get(SURE)
        if index is None or (form == "stated") != (sure is not None):
            return None
        if sure is not None and (isinstance(sure, bool) or not isinstance(sure, int | float) or not 0 <= sure <= 1):
            return None
        return Read(index=index, confidence=None if sure is None else float(sure))

    def _named(self, text: str, order: tuple[int, ...] | None) -> int | None:
        """Return the index of the option that a code, or its own words, name."""
        bare = text.strip(_TRIM)
        code = bare if bare in self.codes or len(self.codes) > len(string.ascii_uppercase) else bare.upper()
        if code in self.codes:
            return (order or self.order)[self.codes.index(code)]
        folded = bare.casefold()
        found = [index for index, label in enumerate(self.labels) if label.casefold() == folded]
        return found[0] if len(found) == 1 else None

    # -- more options than there are codes -----------------------------------------------------------------------------

    def grouped(self, size: int) -> tuple[Prepared, tuple[Prepared, ...]]:
        """Return the question which group of at most `size` options it is, and the question of each group."""
        made = self._groups.get(size)
        if made is None:
            made = self._groups[size] = self._grouped(size)
        return made

    def _grouped(self, size: int) -> tuple[Prepared, tuple[Prepared, ...]]:
        question, options = self.question, self.question.options
        parts = [options[at : at + size] for at in range(0, len(options), size)]
        names = [", ".join(self.labels[at : at + size]) for at in range(0, len(options), size)]
        named = tuple([Option(value=filled(self.wording.group, {"labels": name})) for name in names])
        outer = msgspec.structs.replace(question, kind="choice", options=named)
        inner = [Prepared(msgspec.structs.replace(question, options=part), self.wording) for part in parts]
        return Prepared(outer, self.wording), tuple(inner)


def _label(value: str | bool, wording: Wording) -> str:
    if isinstance(value, bool):
        return wording.words.yes if value else wording.words.no
    return value


def _text(role: Any, text: str) -> Message:
    return Message(role=role, blocks=(Text(text=text),))


def _shown(state: str, images: tuple[Image, ...]) -> tuple[Block, ...]:
    return (Text(text=state), *images)


def _object_in(text: str) -> dict[str, Any] | None:
    """Return the JSON object that a text is, or that stands in its only code fence; None: it is something else."""
    bare = text.strip()
    if bare.startswith("```") and bare.endswith("```"):
        bare = bare.strip("`").removeprefix("json").strip()
    try:
        value = msgspec.json.decode(bare)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
