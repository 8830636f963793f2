"""Questions as Python types: an `Enum`, a `Literal` or `bool` in, a value of the same type out."""

from __future__ import annotations

import enum
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin

import msgspec

from prefrontal.contracts.decision import LEVELS, MAX_OPTIONS, YES_NO, Kind, Option, Question, Value
from prefrontal.decisions.rules import RuleFunction
from prefrontal.errors import InvalidRequest

T = TypeVar("T")


class Ask(Generic[T]):
    """A question whose answer is a `T`: ``Ask[Team]("Which team?")``, ``Ask[Literal["a", "b"]]("Which?")``, ``Ask[bool]("…?")``.

    instructions: the question. describe: what options mean, by value or name. rule: what answers when no model does; it is
    called with the state (and a `DecisionContext`) and returns a value of `T`, or weights by value.
    """

    def __init__(
        self,
        instructions: str = "",
        *,
        describe: Mapping[str, str] | None = None,
        rule: Callable[..., Any] | None = None,
    ) -> None:
        self.instructions = instructions
        self.describe = dict(describe or {})
        self.rule = rule
        self._form: Form | None = None

    def form(self) -> Form:
        """Return the question it stands for, and the way back. Raises InvalidRequest when `T` is missing or none that works."""
        if self._form is None:
            original = getattr(self, "__orig_class__", None)
            if original is None:
                raise InvalidRequest("Write the type of the answer, as in Ask[Team]('…') or Ask[bool]('…').")
            self._form = form_of(get_args(original)[0], self)
        return self._form


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """A question, the Python value of each of its options in order, and its rule in the question's own values."""

    question: Question
    members: tuple[Any, ...]
    rule: RuleFunction | None = None

    def value(self, chosen: Value) -> Any:
        """Return the Python value of an option."""
        return self.members[self.question.values.index(chosen)]


PLAIN: Ask[Any] = Ask()


def form_of(wanted: Any, ask: Ask[Any] = PLAIN) -> Form:
    """Return the question that a type asks, with the words of `ask`.

    An `Enum` or a `Literal` of texts is a choice, one of whole numbers in rising order a score; `bool` is a yes_no. An Enum
    without instructions asks with its docstring.

    Raises:
        InvalidRequest: it is none of these, or it has too few or too many members.
    """
    if wanted is bool:
        return _made("yes_no", ask.instructions, YES_NO, (True, False), ask)
    if isinstance(wanted, type) and issubclass(wanted, enum.Enum):
        listed = tuple(wanted)
        said = inspect.cleandoc(wanted.__dict__.get("__doc__") or "")
        instructions = ask.instructions or said or f"Which {_spaced(wanted.__name__)} is it?"
        return _of_members(instructions, listed, [_label(member) for member in listed], ask)
    if get_origin(wanted) is Literal:
        members: tuple[Any, ...] = get_args(wanted)
        if len(members) == 2 and all(isinstance(member, bool) for member in members):
            return _made("yes_no", ask.instructions, YES_NO, (True, False), ask)
        return _of_members(ask.instructions or "Which of these is it?", members, [str(member) for member in members], ask)
    raise InvalidRequest(f"{wanted!r} is not a question: give an Enum, a Literal, bool, Ask[…] or a registered type's name.")


def _of_members(instructions: str, members: tuple[Any, ...], labels: list[str], ask: Ask[Any]) -> Form:
    numbers = [member for member in members if isinstance(member, int) and not isinstance(member, bool)]
    rising = len(numbers) == len(members) and list(numbers) == sorted(set(numbers))
    kind: Kind = "score" if rising and LEVELS[0] <= len(members) <= LEVELS[1] else "choice"
    if not 2 <= len(members) <= MAX_OPTIONS:
        raise InvalidRequest(f"A choice has 2 to {MAX_OPTIONS} options, not {len(members)}.")
    if len(set(labels)) != len(labels):
        raise InvalidRequest("Two options have the same label.")
    options = tuple([Option(value=label, description=ask.describe.get(label)) for label in labels])
    return _made(kind, instructions, options, members, ask)


def _made(kind: Kind, instructions: str, options: tuple[Option, ...], members: tuple[Any, ...], ask: Ask[Any]) -> Form:
    if kind == "yes_no":
        if not instructions:
            raise InvalidRequest("A yes_no needs instructions: Ask[bool]('Is it …?').")
        said = ask.describe
        options = tuple([Option(value=o.value, description=said.get("yes" if o.value else "no")) for o in options])
    question = Question(kind=kind, instructions=instructions, options=options)
    return Form(question=question, members=members, rule=None if ask.rule is None else _spoken(ask.rule, question, members))


def _spoken(rule: Callable[..., Any], question: Question, members: tuple[Any, ...]) -> RuleFunction:
    """Return the rule with its results in the question's own values instead of the type's."""

    def spoken(result: Any) -> Any:
        if isinstance(result, Mapping):
            return {spoken(key): weight for key, weight in result.items()}
        for member, value in zip(members, question.values, strict=True):
            if result is member or (type(result) is type(member) and result == member):
                return value
        return result

    parameters = inspect.signature(rule).parameters
    if len(parameters) >= 2:
        return lambda state, context: spoken(rule(state, context))
    return lambda state: spoken(rule(state))


def _label(member: enum.Enum) -> str:
    return member.value if isinstance(member.value, str) else member.name.lower()


def _spaced(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).lower()
