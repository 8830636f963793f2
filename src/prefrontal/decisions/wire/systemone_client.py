"""Dialect A, ``POST /v1/systemone``: a client's body → `DecisionRequest`, and the answers back. Pure."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from prefrontal.contracts.decision import (
    YES_NO,
    DecisionAnswer,
    DecisionRequest,
    DecisionResponse,
    Kind,
    Media,
    Option,
    Question,
)
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
from prefrontal.errors import InvalidRequest, PayloadTooLarge, PrefrontalError
from prefrontal.providers.openai.check import bad_value, decode_object, need_object, wrong_type

ROUTE, OTHER = "/v1/systemone", "/v1/decisions"
VALIDATION = 422
"""The status of a body that does not fit, as the engines of this dialect answer it."""

_TOP = frozenset({"model", "state", "questions", "images", "assets", FIELD})
_QUESTION = frozenset({"type", "instructions", "criteria", TYPE_FIELD})
_KINDS: dict[str, Kind] = {"choice": "choice", "score": "score", "noul": "yes_no"}


def parse_systemone(body: bytes, *, max_state_bytes: int, lookup: Lookup) -> DecisionRequest:
    """Return the request.

    Raises:
        InvalidRequest: `param` is the path of the field; status 422, or 400 for a body of the other dialect.
    """
    try:
        return _parse(body, max_state_bytes, lookup)
    except InvalidRequest as error:
        if error.status == InvalidRequest.status and error.details.get("dialect") is None:
            error.status = VALIDATION
        raise


def _parse(body: bytes, max_state_bytes: int, lookup: Lookup) -> DecisionRequest:
    raw = decode_object(body)
    if "input" in raw or isinstance(raw.get("questions"), list):
        raise InvalidRequest(
            f"This is a body of the other dialect of decisions. POST {OTHER} takes it.",
            param="input" if "input" in raw else "questions",
            details={"dialect": "openai"},
        )
    unknown = sorted(set(raw) - _TOP)
    if unknown:
        raise InvalidRequest(f"{ROUTE} does not know the field '{unknown[0]}'.", param=unknown[0])
    state = raw.get("state")
    check_state(state, "state", max_state_bytes)
    questions = need_object(raw.get("questions"), "questions")
    check_count(len(questions), "questions")
    _refuse_twins(body)
    hints = parse_hints(raw.get(FIELD))
    media = _media(raw)
    chat = isinstance(state, list) and all(isinstance(turn, dict) and "role" in turn for turn in state)
    return DecisionRequest(
        model=optional_text(raw.get("model"), "model") or "auto",
        state=state,
        state_kind="text" if isinstance(state, str) else "messages" if chat else "json",
        questions=tuple([_question(n, key, value, lookup, media) for n, (key, value) in enumerate(questions.items())]),
        media=media,
        context=hints.context,
        deadline_s=hints.deadline_s,
        cache=hints.cache,
        session=hints.session,
        run=hints.run,
        tier=hints.tier,
        most_tier=hints.most_tier,
        data_class=hints.data_class,
        priority=hints.priority,
        dialect="systemone",
    )


class _Questions(msgspec.Struct):
    questions: msgspec.Raw


def _refuse_twins(body: bytes) -> None:
    """Raise InvalidRequest when a key of ``questions`` or of its criteria is there twice: a parser would keep the last one."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise InvalidRequest(f"'questions' holds {twice!r} twice.", param="questions")
        return found

    json.loads(bytes(msgspec.json.decode(body, type=_Questions).questions), object_pairs_hook=once)


def _media(raw: dict[str, Any]) -> tuple[Media, ...]:
    found: list[Media] = []
    assets = raw.get("assets")
    for ref, asset in ({} if assets is None else need_object(assets, "assets")).items():
        where = f"assets.{ref}"
        kind = need_text(need_object(asset, where).get("format"), f"{where}.format")
        data = need_text(asset.get("data_base64"), f"{where}.data_base64")
        found.append(Media(ref=ref, image=image_of(f"data:image/{kind.removeprefix('image/')};base64,{data}", where)))
    images = raw.get("images")
    if images is not None and not isinstance(images, list):
        raise wrong_type("images", "an array", images)
    for n, image in enumerate(images or ()):
        url = image.get("url") if isinstance(image, dict) else image
        found.append(Media(ref=f"image-{n + 1}", image=image_of(url, f"images[{n}]")))
    return tuple(found)


def _question(index: int, id: str, value: object, lookup: Lookup, media: tuple[Media, ...]) -> Question:  # noqa: A002 - the dialect's word
    where = f"questions.{id}"
    raw = need_object(value, where)
    unknown = sorted(set(raw) - _QUESTION)
    if unknown:
        raise InvalidRequest(f"'{where}' does not know the field '{unknown[0]}'.", param=f"{where}.{unknown[0]}")
    registered = optional_text(raw.get(TYPE_FIELD), f"{where}.{TYPE_FIELD}")
    if registered is not None:
        known = lookup(registered)
        return msgspec.structs.replace(known, index=index, id=id, name=id)
    kind = raw.get("type")
    if kind not in _KINDS:
        raise bad_value(f"{where}.type", kind, _KINDS)
    instructions = optional_text(raw.get("instructions"), f"{where}.instructions") or ""
    criteria = raw.get("criteria")
    if kind == "noul":
        options = _noul(criteria, f"{where}.criteria")
        if not instructions and options == YES_NO:
            raise InvalidRequest(f"'{where}' asks nothing: it needs instructions or criteria.", param=f"{where}.instructions")
    elif kind == "choice":
        given = need_object(criteria, f"{where}.criteria")
        options = check_options([_option(k, v) for k, v in given.items()], "choice", f"{where}.criteria")
    else:
        if not isinstance(criteria, list):
            raise wrong_type(f"{where}.criteria", "an array", criteria)
        options = check_options([Option(value=_words(level)) for level in criteria], "score", f"{where}.criteria")
    text = instructions or "\n".join([_words(option.description) for option in options if option.description])
    refs = tuple([one.ref for one in media if one.ref in text])
    return Question(
        index=index,
        id=id,
        name=id,
        kind=_KINDS[str(kind)],
        instructions=text,
        options=options,
        media=refs,
    )


def _noul(criteria: object, where: str) -> tuple[Option, ...]:
    if criteria is None:
        return YES_NO
    raw = need_object(criteria, where)
    if set(raw) - {"true", "false"}:
        raise InvalidRequest(f"'{where}' may hold 'true' and 'false' only.", param=where)
    said = [_words(raw[name]) if raw.get(name) is not None else None for name in ("true", "false")]
    return (Option(value=True, description=said[0]), Option(value=False, description=said[1]))


def _option(label: str, description: object) -> Option:
    return Option(value=label, description=None if description is None else _words(description))


def _words(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


# -- the answer --------------------------------------------------------------------------------------------------------


def render_systemone(response: DecisionResponse, extension: dict[str, Any] | None) -> bytes:
    """Return the body for a client. A refused question is left out and named in ``x_refused``.

    Raises:
        InvalidRequest: every question was refused, which this dialect cannot say otherwise.
    """
    refused = [answer.id for answer in response.answers if answer.refusal]
    if len(refused) == len(response.answers):
        raise InvalidRequest("The model declined to answer.", details={"code": "refused"})
    answers = {answer.id: _answer(answer) for answer in response.answers if not answer.refusal}
    usage = {"input_tokens": response.usage.input_tokens, "output_tokens": response.usage.output_tokens}
    told: dict[str, Any] = {"model": response.model, "answers": answers, "usage": usage}
    if refused:
        told["x_refused"] = refused
    if extension is not None:
        told[FIELD] = extension
    return msgspec.json.encode(told)


def _answer(answer: DecisionAnswer) -> dict[str, Any]:
    if answer.kind == "yes_no":
        return {"type": "noul", "noul": rounded(answer.probabilities[0]), **extras(answer, confidence=True)}
    if answer.kind == "score":
        numbers = [str(n) for n in range(len(answer.values))]
        told: dict[str, Any] = {
            "type": "score",
            "score": rounded(answer.expectation or 0.0),
            "legend": dict(zip(numbers, answer.values, strict=True)),
            "probabilities": {n: rounded(p) for n, p in zip(numbers, answer.probabilities, strict=True)},
        }
    else:
        names = [_key(value) for value in answer.values]
        told = {
            "type": "choice",
            "choice": _key(answer.chosen),
            "probabilities": {n: rounded(p) for n, p in zip(names, answer.probabilities, strict=True)},
        }
    return {**told, "confidence": rounded(answer.confidence), **extras(answer, confidence=False)}


def _key(value: str | bool) -> str:
    return value if isinstance(value, str) else "true" if value else "false"


def render_systemone_error(error: PrefrontalError) -> dict[str, Any]:
    """Return an error in this dialect: a list of details for what is wrong with the request, else an object."""
    if isinstance(error, InvalidRequest | PayloadTooLarge):
        path = ["body", *(error.param.split(".") if error.param else [])]
        return {"detail": [{"loc": path, "msg": error.text, "type": error.code}]}
    told = {"code": error.code, "message": error.text, "type": error.type, "param": error.param}
    return {"error": told}
