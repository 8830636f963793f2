"""What a lens asks for, in every shape, from one type: words of the prompt, JSON schema, validator, questions. Pure.

A reply type is a tree of msgspec structs whose leaves are numbers in [0, 1], truth values, a closed set of words, or texts;
descriptions and ranges stand in its `Meta`. Nothing about its fields is written anywhere else, so nothing can disagree.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from prefrontal.contracts.decision import YES_NO, Option, Question
from prefrontal.decisions.reading import Reading
from prefrontal.errors import ProviderMisbehaved

T = TypeVar("T", bound=msgspec.Struct)

LEVELS = ("not at all", "slightly", "in part", "largely", "wholly")
"""Levels by which an engine with a route for decisions is asked for a number: 0, ¼, ½, ¾, 1 (assumed: a finer scale confuses)."""

UNSAID = "said by a number alone"
"""What stands for a text where an engine gives numbers only."""

MAX_REPLY_CHARACTERS = 100_000
"""Longer replies are not read (assumed: the longest honest one has 2,000)."""

_FENCE = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL)


class Invalid(Exception):
    """A reply that is not what was asked for; its words say what is wrong, for people and for the model that is asked again."""


class Leaf(msgspec.Struct, frozen=True, kw_only=True):
    """One value of a reply: where it stands, its schema, what it and what it is part of mean, and whether null is allowed."""

    path: tuple[str, ...]
    schema: dict[str, Any]
    about: str
    within: str
    nullable: bool = False

    @property
    def name(self) -> str:
        """Its path as people write it."""
        return ".".join(self.path)


class Form(Generic[T]):
    """A reply type in every shape. `schema` is self-contained and strict: no references, every field required, no others."""

    def __init__(self, reply: type[T]) -> None:
        self.reply = reply
        raw = msgspec.json.schema(reply)
        self.schema: dict[str, Any] = _strict(raw, raw.get("$defs", {}))
        self.leaves = tuple(_leaves(self.schema, (), ""))
        self.wording = "\n".join(_lines(self.schema, ()))
        self._decoder = msgspec.json.Decoder(reply)

    def example(self, reply: T) -> str:
        """Return a reply as a model should write it."""
        if type(reply) is not self.reply:
            raise TypeError(f"an example of {self.reply.__name__} is a {type(reply).__name__}")
        return msgspec.json.encode(reply).decode()

    def read(self, text: str) -> T:
        """Return the reply in a model's words: JSON, alone, in a fence, or between prose. Raises Invalid."""
        found = _json_in(text)
        if found is None:
            raise Invalid("there is no JSON object in it")
        try:
            return self._decoder.decode(found)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise Invalid(_plain(error)) from None

    def questions(self, instructions: str) -> tuple[Question, ...]:
        """Return the same as typed questions, for engines that have a route for decisions; texts and nulls are not asked."""
        asked: list[Question] = []
        for leaf in self.leaves:
            found = _question(leaf, instructions)
            if found is not None:
                asked.append(msgspec.structs.replace(found, index=len(asked), id=leaf.name, name=leaf.name))
        return tuple(asked)

    def assemble(self, questions: Sequence[Question], readings: Sequence[Reading | None]) -> T:
        """Return the reply that the answers to `questions` mean. Raises Invalid when one is missing."""
        told: dict[str, Any] = {}
        for question, reading in zip(questions, readings, strict=True):
            if reading is None or reading.refusal:
                raise Invalid(f"{question.id} has no answer")
            told[question.id] = _value(question, reading)
        tree: dict[str, Any] = {}
        for leaf in self.leaves:
            if leaf.name in told:
                _put(tree, leaf.path, told[leaf.name])
            elif not leaf.nullable:
                _put(tree, leaf.path, UNSAID)
        try:
            return msgspec.convert(tree, self.reply)
        except msgspec.ValidationError as error:
            raise Invalid(_plain(error)) from None


# -- from the type -----------------------------------------------------------------------------------------------------


def _strict(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema without references and titles, its objects closed and all their fields required."""
    found = dict(schema)
    reference = found.pop("$ref", None)
    if reference is not None:
        about = found.get("description")
        found = dict(defs[reference.rsplit("/", 1)[1]])
        found.pop("description", None)  # a class's docstring is for its readers, a field's description for the model
        if about is not None:
            found["description"] = about
    for key in ("$defs", "title", "default"):
        found.pop(key, None)
    if "anyOf" in found:
        found["anyOf"] = [_strict(one, defs) for one in found["anyOf"]]
    if found.get("type") == "object":
        found["properties"] = {name: _strict(one, defs) for name, one in found["properties"].items()}
        found["required"] = list(found["properties"])
        found["additionalProperties"] = False
    return found


def _leaves(schema: Mapping[str, Any], path: tuple[str, ...], within: str, *, nullable: bool = False) -> Iterator[Leaf]:
    told = schema.get("description", "")
    options = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    if options:
        yield from _leaves({"description": told, **options[0]}, path, within, nullable=True)
    elif schema.get("type") == "object":
        for name, inner in schema["properties"].items():
            yield from _leaves(inner, (*path, name), told if path else "", nullable=nullable)
    else:
        yield Leaf(path=path, schema=dict(schema), about=told, within=within, nullable=nullable)


def _lines(schema: Mapping[str, Any], path: tuple[str, ...], about: str = "", *, nullable: bool = False) -> Iterator[str]:
    """Yield what a prompt says of each object and each value in it."""
    about = schema.get("description") or about
    options = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    if options:
        yield from _lines(options[0], path, about, nullable=True)
    elif schema.get("type") == "object":
        if path:
            yield _line(".".join(path), "object", about, nullable)
        for name, inner in schema["properties"].items():
            yield from _lines(inner, (*path, name))
    else:
        yield _line(".".join(path), _kind(schema), about, nullable)


def _line(name: str, kind: str, about: str, nullable: bool) -> str:
    line = f"- {name}: {kind}{' or null' if nullable else ''}."
    return f"{line} {about[0].upper()}{about[1:]}." if about else line


def _kind(schema: Mapping[str, Any]) -> str:
    """Return what a value may be, in words."""
    if "enum" in schema:
        return "one of " + ", ".join([f'"{value}"' for value in schema["enum"]])
    if schema.get("type") == "number":
        return f"number from {schema['minimum']:g} to {schema['maximum']:g}"
    if schema.get("type") == "boolean":
        return "true or false"
    return f"text of at most {schema.get('maxLength', 200)} characters"


def _question(leaf: Leaf, instructions: str) -> Question | None:
    if leaf.nullable:
        return None
    number = leaf.schema.get("type") == "number"
    about = leaf.within if number and leaf.within else leaf.about  # the levels say what the number means
    told = f"{instructions} {leaf.path[0]}: {about}" if number else f"{instructions} {leaf.name}: {about}"
    if "enum" in leaf.schema:
        return Question(kind="choice", instructions=told, options=tuple([Option(value=one) for one in leaf.schema["enum"]]))
    if number:
        return Question(kind="score", instructions=told, options=tuple([Option(value=one) for one in LEVELS]))
    if leaf.schema.get("type") == "boolean":
        return Question(kind="yes_no", instructions=told, options=YES_NO)
    return None


# -- from an answer ----------------------------------------------------------------------------------------------------


def _value(question: Question, reading: Reading) -> Any:
    shares = reading.probabilities
    if question.kind == "score":
        return min(1.0, sum([share * level for level, share in enumerate(shares)]) / (len(shares) - 1))
    return question.values[max(range(len(shares)), key=shares.__getitem__)]


def _put(tree: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value


def _json_in(text: str) -> str | None:
    """Return the JSON object in a text: in a fence, or from the first brace to the last."""
    if len(text) > MAX_REPLY_CHARACTERS:
        raise Invalid(f"it has more than {MAX_REPLY_CHARACTERS:,} characters")
    fenced = _FENCE.search(text)
    within = fenced[1] if fenced is not None else text
    first, last = within.find("{"), within.rfind("}")
    return within[first : last + 1] if 0 <= first < last else None


def _plain(error: Exception) -> str:
    """Return what is wrong as a model reads it: the field by its path, the value that is allowed."""
    return str(error).replace("`", "'").replace("$.", "").replace(" - at ", ", at ").strip().rstrip(".")


def misbehaved(model: str, error: Invalid) -> ProviderMisbehaved:
    """Return an invalid reply as an error of the model."""
    return ProviderMisbehaved(f"Model '{model}' gave no valid reading: {error}.", model=model)
