"""Decision types: the registered ones, made from the configuration or in Python, and those made for one request."""

from __future__ import annotations

import difflib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from prefrontal.config.schema_decisions import Decisions, DecisionTypeEntry
from prefrontal.config.schema_tiers import TypeCache
from prefrontal.contracts.decision import Example, Kind, Option, Question, Technique
from prefrontal.decisions.normal import Normaliser
from prefrontal.decisions.prepared import Prepared
from prefrontal.decisions.rules import Fallback, RuleFunction, cel_rule, function_rule
from prefrontal.decisions.wire.common import check_options
from prefrontal.decisions.wording import load_wording
from prefrontal.errors import ConfigError, InvalidRequest

PLAIN = TypeCache()

MAX_ADHOC = 1024
"""Questions made for single requests that stay prepared; the longest unused goes first (assumed)."""


class DecisionType(msgspec.Struct, frozen=True, kw_only=True):
    """A question with everything that is decided about it beforehand. `fallback` always answers.

    tier: where it begins (None: nobody says). cache: how its answers are given again (None: only where all are). normal: what of
    a state does not matter. signature: a digest of what is asked, and how.
    """

    name: str | None
    question: Question
    prepared: Prepared
    fallback: Fallback
    technique: Technique
    votes: int
    min_label_mass: float
    deadline_s: float
    models: tuple[str, ...] = ()
    tier: int | None = None
    cache: TypeCache | None = None
    normal: Normaliser
    signature: bytes


class Types:
    """The decision types of one configuration. Belongs to one event loop."""

    def __init__(self, settings: Decisions, *, extra: Mapping[str, DecisionType] | None = None) -> None:
        """Make the types of `settings`; `extra` are those registered in Python. Raises ConfigError with the path."""
        self.settings = settings
        self.registered: dict[str, DecisionType] = {}
        for name, entry in settings.types.items():
            try:
                self.registered[name] = _from_entry(name, entry, settings)
            except ConfigError as error:
                path = f"decisions.types.{name}" + (f".{error.path}" if error.path else "")
                raise ConfigError(error.message, path=path, rule=error.rule, hint=error.hint) from error
        self.registered.update(extra or {})
        self._adhoc: OrderedDict[tuple[Any, ...], DecisionType] = OrderedDict()

    def lookup(self, name: str) -> Question:
        """Return the question of a registered type. Raises InvalidRequest with the nearest name."""
        found = self.registered.get(name)
        if found is None:
            near = difflib.get_close_matches(name, self.registered, n=1)
            known = ", ".join(sorted(self.registered)) or "none"
            hint = f"Did you mean '{near[0]}'?" if near else f"Registered: {known}."
            raise InvalidRequest(f"There is no decision type '{name}'.", param="x_type", hint=hint)
        return found.question

    def with_rule(self, question: Question, rule: RuleFunction) -> Types:
        """Return the same types but for one question, which has a rule of its own."""
        return _Ruled(self, question, rule)

    def of(self, question: Question) -> DecisionType:
        """Return the type of a question: the registered one it names, else one made for it and kept for a while."""
        if question.type is not None:
            found = self.registered.get(question.type)
            if found is not None:
                return found
        key = (question.kind, question.instructions, question.options)
        made = self._adhoc.get(key)
        if made is None:
            made = self._adhoc[key] = make_type(None, question, self.settings)
            if len(self._adhoc) > MAX_ADHOC:
                self._adhoc.popitem(last=False)
        else:
            self._adhoc.move_to_end(key)
        return made


class _Ruled(Types):
    """Types of which one question has a rule of its own; made for one request, so it copies nothing."""

    def __init__(self, types: Types, question: Question, rule: RuleFunction) -> None:
        self.settings = types.settings
        self.registered = types.registered
        self._adhoc = types._adhoc
        self._asked = question
        self._rule = rule

    def of(self, question: Question) -> DecisionType:
        found = super().of(question)
        if question is not self._asked:
            return found
        return msgspec.structs.replace(found, fallback=Fallback(question, self._rule))


def make_type(
    name: str | None,
    question: Question,
    settings: Decisions,
    *,
    rule: RuleFunction | None = None,
    samples: Sequence[Any] = (),
    examples: Sequence[Example] = (),
    technique: Technique | None = None,
    template: str | None = None,
    votes: int | None = None,
    min_label_mass: float | None = None,
    deadline_s: float | None = None,
    models: tuple[str, ...] = (),
    tier: int | None = None,
    cache: TypeCache | None = None,
) -> DecisionType:
    """Return a type; what is left out comes from `settings`. Its rule is tried on the samples and the examples' states.

    Raises:
        ConfigError: the rule is wrong, the template unknown, an example's answer is none of the options, or a bucket is wrong.
    """
    normal = _normaliser(cache)
    for example in examples:
        if example.answer not in question.values:
            raise ConfigError(f"the example's answer {example.answer!r} is none of the options", path="examples")
    fallback = Fallback(question, rule)
    fallback.check([*samples, *[example.state for example in examples if not samples]])
    asked = technique or settings.technique
    shown = tuple(examples) if asked in ("few_shot", "chain_of_thought", "json") else ()
    prepared = Prepared(question, load_wording(template or settings.template), shown)
    samples_that_vote = settings.votes if votes is None else votes
    least_mass = settings.min_label_mass if min_label_mass is None else min_label_mass
    how = (prepared.version, asked, samples_that_vote, least_mass, cache)
    return DecisionType(
        name=name,
        question=question,
        prepared=prepared,
        fallback=fallback,
        technique=asked,
        votes=samples_that_vote,
        min_label_mass=least_mass,
        deadline_s=settings.deadline_s if deadline_s is None else deadline_s,
        models=models,
        tier=settings.tiers.types.get(name) if tier is None and name is not None else tier,
        cache=cache,
        normal=normal,
        signature=_signature(question, shown, how),
    )


def _signature(question: Question, shown: Sequence[Example], how: tuple[Any, ...]) -> bytes:
    """Return a digest of what is asked, with which examples, and how."""
    words = (question.kind, question.instructions, question.options, question.media, shown)
    return blake2b(msgspec.json.encode((words, how)), digest_size=16).digest()


def _normaliser(cache: TypeCache | None) -> Normaliser:
    try:
        return Normaliser(cache or PLAIN)
    except ValueError as error:
        raise ConfigError(str(error), path="cache.buckets") from None


def _from_entry(name: str, entry: DecisionTypeEntry, settings: Decisions) -> DecisionType:
    if entry.rule is not None and entry.rule_function is not None:
        raise ConfigError("give `rule` or `rule_function`, not both", path="rule")
    question = Question(
        kind=entry.kind, instructions=entry.instructions, options=_options(entry.kind, entry), name=name, type=name
    )
    rule: RuleFunction | None = None
    if entry.rule is not None:
        rule = cel_rule(entry.rule)
    elif entry.rule_function is not None:
        rule = function_rule(entry.rule_function)
    examples = [
        Example(state=_text(one.state), answer=_answer(entry.kind, one.answer), reason=one.reason) for one in entry.examples
    ]
    samples = entry.samples or tuple([one.state for one in entry.examples])
    return make_type(
        name,
        question,
        settings,
        rule=rule,
        samples=samples,
        examples=examples,
        technique=entry.technique,
        template=entry.template,
        votes=entry.votes,
        min_label_mass=entry.min_label_mass,
        deadline_s=entry.deadline_s,
        models=entry.models,
        tier=entry.tier,
        cache=entry.cache,
    )


def _options(kind: Kind, entry: DecisionTypeEntry) -> tuple[Option, ...]:
    described = entry.descriptions
    known = ("yes", "no") if kind == "yes_no" else entry.options
    unknown = [name for name in described if name not in known]
    if unknown:
        raise ConfigError(f"`{unknown[0]}` is none of the options", path="descriptions")
    if kind == "yes_no":
        if entry.options:
            raise ConfigError("a yes_no has no options but yes and no", path="options")
        return (Option(value=True, description=described.get("yes")), Option(value=False, description=described.get("no")))
    found = [Option(value=value, description=described.get(value)) for value in entry.options]
    try:
        return check_options(found, kind, "options")
    except InvalidRequest as error:
        raise ConfigError(error.message, path="options") from error


def _answer(kind: Kind, answer: str | bool) -> str | bool:
    if kind == "yes_no" and isinstance(answer, str):
        return {"yes": True, "no": False}.get(answer, answer)
    return answer


def _text(state: Any) -> str:
    return state if isinstance(state, str) else msgspec.json.encode(state).decode()
