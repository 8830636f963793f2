"""Dialect B, ``POST /v1/decisions``: a client's body → `DecisionRequest`, and the answers back. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from prefrontal.contracts.decision import YES_NO, DecisionAnswer, DecisionRequest, DecisionResponse, Kind, Media, Option, Question
from prefrontal.decisions.wire.common import (
    FIELD,
    TYPE_FIELD,
    Lookup,
    check_count,
    check_options,
    check_state,
    extras,
    image_of,
    need_text,
    optional_text,
    parse_hints,
    rounded,
)
from prefrontal.errors import InvalidRequest
from prefrontal.providers.openai.check import bad_value, decode_object, missing, need_object, wrong_type

ROUTE, OTHER = "/v1/decisions", "/v1/systemone"
PASSED_ON = ("prompt_cache_key", "prompt_cache_options", "safety_identifier")
"""Fields of the SDK that mean something to an upstream of this dialect only."""

_TOP = frozenset({"model", "input", "questions", FIELD, *PASSED_ON})
_KINDS: dict[str, Kind] = {"predicate": "yes_no", "choice": "choice", "score": "score"}
_FIELDS = {
    "predicate": frozenset({"type", "name", "instructions", TYPE_FIELD}),
    "choice": frozenset({"type", "name", "instructions", "choices", TYPE_FIELD}),
    "score": frozenset({"type", "name", "instructions", "levels", TYPE_FIELD}),
}
_ITEMS = frozenset({"message", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output"})
_ROLES = ("user", "developer", "system", "assistant")


def parse_decisions(body: bytes, *, max_state_bytes: int, lookup: Lookup) -> DecisionRequest:
    """Return the request. Raises InvalidRequest: `param` is the path of the field."""
    raw = decode_object(body)
    if "state" in raw or isinstance(raw.get("questions"), dict):
        raise InvalidRequest(
            f"This is a body of the other dialect of decisions. POST {OTHER} takes it.",
            param="state" if "state" in raw else "questions",
        )
    unknown = sorted(set(raw) - _TOP)
    if unknown:
        raise InvalidRequest(f"Unknown parameter: '{unknown[0]}'.", param=unknown[0])
    given = raw.get("input")
    check_state(given, "input", max_state_bytes)
    if not isinstance(given, str | list):
        raise wrong_type("input", "a string or an array", given)
    questions = raw.get("questions")
    if questions is None:
        raise missing("questions")
    if not isinstance(questions, list):
        raise wrong_type("questions", "an array", questions)
    check_count(len(questions), "questions")
    hints = parse_hints(raw.get(FIELD))
    media: list[Media] = []
    if isinstance(given, list):
        _check_items(given, media)
    asked = tuple([_question(n, value, lookup, media) for n, value in enumerate(questions)])
    return DecisionRequest(
        model=optional_text(raw.get("model"), "model") or "auto",
        state=given,
        state_kind="text" if isinstance(given, str) else "messages",
        questions=asked,
        media=tuple(media),
        context=hints.context,
        deadline_s=hints.deadline_s,
        cache=hints.cache,
        session=hints.session,
        run=hints.run,
        tier=hints.tier,
        most_tier=hints.most_tier,
        data_class=hints.data_class,
        priority=hints.priority,
        dialect="openai",
        extra={name: raw[name] for name in PASSED_ON if raw.get(name) is not None} or None,
    )


def _check_items(items: list[Any], media: list[Media]) -> None:
    """Check the items of ``input``, and gather their images."""
    calls: set[object] = set()
    for n, item in enumerate(items):
        where = f"input[{n}]"
        raw = need_object(item, where)
        kind = raw.get("type", "message")
        if kind not in _ITEMS:
            raise bad_value(f"{where}.type", kind, sorted(_ITEMS))
        if kind == "message":
            if raw.get("role") not in _ROLES:
                raise bad_value(f"{where}.role", raw.get("role"), _ROLES)
            _parts(raw.get("content"), f"{where}.content", media)
        elif kind.endswith("_output"):
            if raw.get("call_id") not in calls:
                raise InvalidRequest(f"'{where}' answers a call that is not before it.", param=f"{where}.call_id")
            _parts(raw.get("output"), f"{where}.output", media)
        else:
            calls.add(need_text(raw.get("call_id"), f"{where}.call_id"))
            need_text(raw.get("name"), f"{where}.name")


def _parts(content: object, where: str, media: list[Media]) -> str:
    """Return the text of a content, its JSON parts as JSON; its images go to `media`. Raises InvalidRequest."""
    if isinstance(content, str):
        return content
    if content is None:
        raise missing(where)
    if not isinstance(content, list):
        raise wrong_type(where, "a string or an array", content)
    texts: list[str] = []
    for n, part in enumerate(content):
        at = f"{where}[{n}]"
        raw = need_object(part, at)
        kind = raw.get("type")
        if kind in ("input_text", "output_text"):
            texts.append(need_text(raw.get("text"), f"{at}.text"))
        elif kind == "refusal":
            texts.append(need_text(raw.get("refusal"), f"{at}.refusal"))
        elif kind == "input_json":
            texts.append(msgspec.json.encode(raw.get("data")).decode())
        elif kind == "input_image":
            media.append(Media(ref=f"image-{len(media) + 1}", image=image_of(raw.get("image_url"), f"{at}.image_url")))
            texts.append(f"[image-{len(media)}]")
        else:
            raise bad_value(f"{at}.type", kind, ("input_text", "input_image", "input_json"))
    return "\n".join(texts)


def text_of_item(item: dict[str, Any]) -> str:
    """Return an item of a checked ``input`` as one line of a transcript."""
    kind = item.get("type", "message")
    if kind == "message":
        return f"{item['role']}: {_parts(item.get('content'), '', [])}"
    if kind.endswith("_output"):
        return f"tool: {_parts(item.get('output'), '', [])}"
    return f"assistant calls {item['name']}: {item.get('arguments', item.get('input', ''))}"


def _question(index: int, value: object, lookup: Lookup, media: list[Media]) -> Question:
    where = f"questions[{index}]"
    raw = need_object(value, where)
    name = optional_text(raw.get("name"), f"{where}.name")
    registered = optional_text(raw.get(TYPE_FIELD), f"{where}.{TYPE_FIELD}")
    if registered is not None:
        return msgspec.structs.replace(lookup(registered), index=index, id=str(index), name=name)
    kind = raw.get("type")
    if kind not in _KINDS:
        raise bad_value(f"{where}.type", kind, _KINDS)
    unknown = sorted(set(raw) - _FIELDS[str(kind)])
    if unknown:
        raise InvalidRequest(f"Unknown parameter: '{where}.{unknown[0]}'.", param=f"{where}.{unknown[0]}")
    before = len(media)
    instructions = need_text(_parts(raw.get("instructions"), f"{where}.instructions", media), f"{where}.instructions")
    options: tuple[Option, ...] = YES_NO
    if kind == "choice":
        options = tuple([_choice(one, f"{where}.choices[{n}]") for n, one in _listed(raw, "choices", where)])
        options = check_options(options, "choice", f"{where}.choices")
    elif kind == "score":
        options = tuple([_level(one, f"{where}.levels[{n}]") for n, one in _listed(raw, "levels", where)])
        options = check_options(options, "score", f"{where}.levels")
    refs = tuple([one.ref for one in media[before:]])
    return Question(
        index=index,
        id=str(index),
        name=name,
        kind=_KINDS[str(kind)],
        instructions=instructions,
        options=options,
        media=refs,
    )


def _listed(raw: dict[str, Any], field: str, where: str) -> list[tuple[int, Any]]:
    value = raw.get(field)
    if value is None:
        raise missing(f"{where}.{field}")
    if not isinstance(value, list):
        raise wrong_type(f"{where}.{field}", "an array", value)
    return list(enumerate(value))


def _choice(value: object, where: str) -> Option:
    raw = need_object(value, where)
    chosen = raw.get("value")
    if not isinstance(chosen, str | bool):
        raise wrong_type(f"{where}.value", "a string or a boolean", chosen)
    return Option(value=chosen, description=optional_text(raw.get("description"), f"{where}.description"))


def _level(value: object, where: str) -> Option:
    raw = need_object(value, where)
    label = need_text(raw.get("label"), f"{where}.label")
    return Option(value=label, description=optional_text(raw.get("description"), f"{where}.description"))


# -- the answer --------------------------------------------------------------------------------------------------------


def render_decisions(response: DecisionResponse, extension: dict[str, Any] | None) -> bytes:
    """Return the body for a client, answers in the order of the questions."""
    usage = response.usage
    told: dict[str, Any] = {
        "model": response.model,
        "answers": [_answer(answer) for answer in response.answers],
        "usage": {
            "input_tokens": usage.input_tokens,
            "input_tokens_details": {
                "cached_tokens": usage.cache_read_tokens,
                "cache_write_tokens": usage.cache_write_tokens,
            },
            "output_tokens": usage.output_tokens,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
            "total_tokens": usage.total_tokens,
        },
    }
    if extension is not None:
        told[FIELD] = extension
    return msgspec.json.encode(told)


def _answer(answer: DecisionAnswer) -> dict[str, Any]:
    told: dict[str, Any]
    if answer.refusal:
        return {"type": "refusal", "name": answer.name, **extras(answer, confidence=False)}
    if answer.kind == "yes_no":
        told = {"type": "predicate", "name": answer.name, "probability": rounded(answer.probabilities[0])}
        return {**told, **extras(answer, confidence=True)}
    pairs = list(zip(answer.values, answer.probabilities, strict=True))
    if answer.kind == "score":
        levels = [{"value": n, "label": label, "probability": rounded(p)} for n, (label, p) in enumerate(pairs)]
        told = {"type": "score", "score": rounded(answer.expectation or 0.0), "probabilities": levels}
    else:
        told = {
            "type": "choice",
            "choice": answer.chosen,
            "probabilities": [{"value": value, "probability": rounded(p)} for value, p in pairs],
        }
    confidence = rounded(answer.confidence)
    return {"name": answer.name, **told, "confidence": confidence, **extras(answer, confidence=False)}
