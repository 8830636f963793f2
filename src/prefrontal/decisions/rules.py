"""The rule behind a decision: a deterministic function of state and context that answers when no model does.

A rule that is wrong is an error where it is registered. What still goes wrong later never stops a decision: equal
probabilities stand in, with a finding that says why.
"""

from __future__ import annotations

import importlib
import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from prefrontal.contracts.decision import NO_CONTEXT, DecisionContext, Question
from prefrontal.decisions.distribution import Probabilities, normalised, one_hot, uniform
from prefrontal.errors import ConfigError

RuleFunction = Callable[..., Any]
"""``(state)`` or ``(state, context)`` → an option's value, a level's number, P(yes), or a mapping of values to weights."""

CEL_NAMES = frozenset({"state", "agent", "role", "signals", "creativity", "multi_agent", "novel"})
"""What a CEL expression may speak of."""

_OWN_NAME = re.compile(r"\.(?:all|exists|exists_one|existsOne|filter|map)\(\s*(\w+)\s*,")
"""The name that a comprehension gives its elements."""

NOT_DETERMINISTIC = "rule_not_deterministic"
RAISED = "rule_raised"
NO_ANSWER = "rule_gave_no_answer"


class Fallback:
    """A question's rule, or, without one, equal probabilities. Its first use is a proof: it runs twice."""

    def __init__(self, question: Question, rule: RuleFunction | None) -> None:
        self.question = question
        self.rule = None if rule is None else _two_armed(rule)
        self._proven = False
        self._uniform = uniform(len(question.options))

    def answer(self, state: Any, context: DecisionContext) -> tuple[Probabilities, str | None]:
        """Return a distribution, and what was wrong with the rule (None: nothing). Never raises but for `BaseException`."""
        rule = self.rule
        if rule is None:
            return self._uniform, None
        try:
            found = weigh(self.question, rule(state, context))
            if not self._proven:
                if weigh(self.question, rule(state, context)) != found:
                    return self._uniform, NOT_DETERMINISTIC
                self._proven = True
        except ValueError as error:
            return self._uniform, f"{NO_ANSWER}: {error}"
        except Exception as error:  # noqa: BLE001 - an edge: the rule is somebody else's code, and a decision never fails of it
            return self._uniform, f"{RAISED}: {type(error).__name__}"
        return found, None

    def check(self, samples: Sequence[Any]) -> None:
        """Try the rule on sample states, twice on each.

        Raises:
            ConfigError: it raises, gives no answer, or not the same one twice.
        """
        rule = self.rule
        if rule is None:
            return
        for sample in samples:
            try:
                first, second = (weigh(self.question, rule(_copied(sample), NO_CONTEXT)) for _ in range(2))
            except Exception as error:  # an edge: the rule is somebody else's code
                text = f"the rule fails on the sample {_shown(sample)}: {error or type(error).__name__}"
                raise ConfigError(text, rule=RAISED) from error
            if first != second:
                raise ConfigError(
                    f"the rule is not deterministic: the sample {_shown(sample)} gave two answers",
                    rule=NOT_DETERMINISTIC,
                    hint="a rule must depend on nothing but its arguments",
                )


def weigh(question: Question, result: Any) -> Probabilities:
    """Return what a rule's result means as a distribution.

    A number is P(yes) of a yes_no, and of a score a level from 0, whose weight a fraction splits between its neighbours.

    Raises:
        ValueError: it is none of the question's answers.
    """
    values = question.values
    if isinstance(result, Mapping):
        unknown = [key for key in result if key not in values]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is not one of the options")
        return normalised([float(result.get(value, 0.0)) for value in values])
    for index, value in enumerate(values):
        if type(value) is type(result) and value == result:
            return one_hot(len(values), index)
    if isinstance(result, int | float) and not isinstance(result, bool) and math.isfinite(result):
        if question.kind == "yes_no" and 0 <= result <= 1:
            return (float(result), 1.0 - result)
        if question.kind == "score" and 0 <= result <= len(values) - 1:
            low = min(int(result), len(values) - 2)
            part = result - low
            return tuple([1.0 - part if n == low else part if n == low + 1 else 0.0 for n in range(len(values))])
    raise ValueError(f"{_shown(result)} is not one of the options")


def cel_rule(expression: str) -> RuleFunction:
    """Return the rule that a CEL expression is.

    Raises:
        ConfigError: the library is not installed (extra ``decisions``), or the expression is wrong or speaks of unknown names.
    """
    try:
        import cel
    except ModuleNotFoundError as missing:
        hint = "install prefrontal[decisions]"
        raise ConfigError("a rule in CEL needs the CEL library", rule="missing_extra", hint=hint) from missing
    try:
        program = cel.compile(expression)
    except ValueError as error:
        raise ConfigError(f"the rule is not valid CEL: {_first_line(error)}", rule="cel") from error
    unknown = sorted(set(program.variables()) - CEL_NAMES - set(_OWN_NAME.findall(expression)))
    if unknown:
        hint = f"known: {', '.join(sorted(CEL_NAMES))}"
        raise ConfigError(f"the rule speaks of `{unknown[0]}`, which is not known", rule="cel", hint=hint)

    def rule(state: Any, context: DecisionContext) -> Any:
        return program.execute(
            {
                "state": state,
                "agent": context.agent,
                "role": context.role,
                "signals": context.signals,
                "creativity": context.creativity,
                "multi_agent": context.multi_agent,
                "novel": context.novel,
            }
        )

    return rule


def function_rule(path: str) -> RuleFunction:
    """Return the Python function at ``package.module:name``. Raises ConfigError when there is none."""
    module, colon, name = path.partition(":")
    if not module or not colon or not name:
        raise ConfigError(f"`{path}` is not `package.module:name`", rule="rule_function")
    try:
        found = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"the rule `{path}` cannot be loaded: {error}", rule="rule_function") from error
    if not callable(found):
        raise ConfigError(f"`{path}` is not a function", rule="rule_function")
    return found


def _two_armed(rule: RuleFunction) -> RuleFunction:
    """Return the rule as a function of state and context, whichever it takes."""
    try:
        parameters = inspect.signature(rule).parameters.values()
    except (TypeError, ValueError):  # some built-in functions do not say
        return rule
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(places) >= 2 or any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return rule
    return lambda state, _context: rule(state)


def _copied(sample: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(sample))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
