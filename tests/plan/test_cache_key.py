"""The name of an answer in the cache: every field of a request counts, unless it stands in a list with a reason."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from typing import Any, Literal, Union, get_args, get_origin

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefrontal.chat.blocks import Audio, Block, File, Image, Opaque, Reasoning, Refusal, Text, ToolCall, ToolResult
from prefrontal.chat.request import ChatRequest, Hints, Message, ResponseFormat, Sampling, Tool, ToolChoice
from prefrontal.contracts.effort import EffortFields
from prefrontal.contracts.model import ModelCard
from prefrontal.plan.cache_key import (
    NEUTRAL_CARD,
    NEUTRAL_EXTRA,
    NEUTRAL_HINTS,
    NEUTRAL_REQUEST,
    CacheKey,
    is_name,
    key_of,
    model_part,
    tenant_part,
)

CARD = ModelCard(id="m", wire_name="w", profile="openai", base_url="http://127.0.0.1:1/v1")
FIELDS = EffortFields(dialect="fixed")
BLOCKS: dict[type, Any] = {
    Text: Text(text="a"),
    Image: Image(url="http://x.test/i"),
    Audio: Audio(data="QQ=="),
    File: File(file_id="f"),
    Reasoning: Reasoning(text="t"),
    ToolCall: ToolCall(id="c", name="n", arguments="{}"),
    ToolResult: ToolResult(call_id="c", blocks=(Text(text="r"),)),
    Refusal: Refusal(text="no"),
    Opaque: Opaque(dialect="anthropic", value={"type": "x"}),
}
REQUEST = ChatRequest(
    model="m",
    messages=(Message(role="user", blocks=tuple(BLOCKS.values())),),
    tools=(Tool(name="t", parameters={"type": "object"}),),
    tool_choice=ToolChoice(mode="tool", name="t"),
    response_format=ResponseFormat(kind="json_schema", schema={"type": "object"}, name="s"),
    sampling=Sampling(temperature=0.0),
)


def key(request: ChatRequest = REQUEST, card: ModelCard = CARD, fields: EffortFields = FIELDS, **more: Any) -> CacheKey:
    return key_of(request, card, fields, **{"tenant": "key:a", **more})


def other(value: Any, hint: Any) -> Any:
    """Return a value of the type that is not `value`. A type this does not know fails the test: teach it."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is typing.Annotated:
        return other(value, inner[0])
    if origin in (Union, types.UnionType):
        return other(value, next(one for one in inner if one is not type(None)))
    if origin is Literal:
        return next(word for word in inner if word != value)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return sample(hint, value)
    makers: dict[Any, Callable[[], Any]] = {
        str: lambda: f"{value or ''}x",
        int: lambda: (value or 0) + 7,
        float: lambda: (value or 0.0) + 0.5,
        bool: lambda: not value,
        bytes: lambda: (value or b"") + b"x",
        dict: lambda: {**(value or {}), "new": [1]},
        Any: lambda: ["something else", value],
    }
    if origin in (tuple, frozenset):
        if inner and get_origin(inner[0]) in (Union, types.UnionType):
            return () if value else (Text(text="x"),)
        return () if value else origin((other(None, inner[0]),))
    maker = makers.get(origin or hint)
    assert maker is not None, f"teach this test how a {hint} can differ"
    return maker()


def sample(kind: type[msgspec.Struct], value: Any) -> Any:
    """Return an instance of a struct that is not `value`."""
    hints = typing.get_type_hints(kind)
    if isinstance(value, kind):
        name = kind.__struct_fields__[0]
        return msgspec.structs.replace(value, **{name: other(getattr(value, name), hints[name])})
    required = [one for one in msgspec.structs.fields(kind) if one.required]
    return kind(**{one.name: other(None, hints[one.name]) for one in required})


def variants(value: msgspec.Struct, names: frozenset[str] | None = None) -> list[tuple[str, Any]]:
    """Return the struct with each of its fields (or of `names`) changed in turn."""
    hints = typing.get_type_hints(type(value), include_extras=True)
    wanted = [name for name in value.__struct_fields__ if names is None or name in names]
    return [(name, msgspec.structs.replace(value, **{name: other(getattr(value, name), hints[name])})) for name in wanted]


def differs(changed: ChatRequest) -> bool:
    return key(changed) != key()


@pytest.mark.parametrize(("name", "changed"), variants(REQUEST))
def test_every_field_of_a_request_counts_unless_it_is_listed(name: str, changed: ChatRequest) -> None:
    """Taken from the struct itself: a field that is added tomorrow counts, or this fails until somebody says why not."""
    assert differs(changed) is (name not in NEUTRAL_REQUEST)


@pytest.mark.parametrize(("name", "changed"), variants(Hints()))
def test_every_hint_counts_unless_it_is_listed(name: str, changed: Hints) -> None:
    """Hints steer model and effort, which are in the name themselves; a new hint counts until it is known to do no more."""
    assert differs(msgspec.structs.replace(REQUEST, hints=changed)) is (name not in NEUTRAL_HINTS)


@pytest.mark.parametrize(("name", "changed"), variants(CARD))
def test_every_fact_of_a_model_counts_unless_it_is_listed(name: str, changed: ModelCard) -> None:
    """What is sent and to whom is part of the name; prices, weights and keys are not."""
    assert (key(card=changed) != key()) is (name not in NEUTRAL_CARD)


@pytest.mark.parametrize(
    ("place", "part"), [("sampling", Sampling(temperature=0.0)), ("tool_choice", REQUEST.tool_choice), ("response_format", None)]
)
def test_every_field_inside_counts(place: str, part: Any) -> None:
    """Sampling, tool choice and format: each field of each."""
    part = part or getattr(REQUEST, place)
    for name, changed in variants(part):
        assert differs(msgspec.structs.replace(REQUEST, **{place: changed})), f"{place}.{name}"


def test_every_field_of_messages_tools_and_blocks_counts() -> None:
    """Each field of a message, of a tool, and of every kind of block; no kind of block is missing here."""
    assert set(get_args(Block)) == set(BLOCKS)
    (message,), (tool,) = REQUEST.messages, REQUEST.tools
    for name, changed in variants(message):
        assert differs(msgspec.structs.replace(REQUEST, messages=(changed,))), f"message.{name}"
    for name, changed in variants(tool):
        assert differs(msgspec.structs.replace(REQUEST, tools=(changed,))), f"tool.{name}"
    for number, block in enumerate(message.blocks):
        for name, changed in variants(block):
            blocks = (*message.blocks[:number], changed, *message.blocks[number + 1 :])
            new = msgspec.structs.replace(message, blocks=blocks)
            assert differs(msgspec.structs.replace(REQUEST, messages=(new,))), f"{type(block).__name__}.{name}"


@pytest.mark.parametrize(("name", "changed"), variants(FIELDS))
def test_every_field_of_the_rendered_effort_counts(name: str, changed: EffortFields) -> None:
    """However a model is told to think, another way of telling it is another answer."""
    assert key(fields=changed) != key(), name


def test_tenant_cap_build_and_class_of_data_count() -> None:
    """What is not in the request and yet makes the answer another, or another's."""
    names = {
        key().name,
        key(tenant="key:b").name,
        key(tenant="team:a").name,
        key(default_cap=100).name,
        key(revision="2").name,
        key(data_classes=("health",)).name,
    }
    assert len(names) == 6


def test_unknown_fields_count_in_any_order() -> None:
    """Fields passed on as they are count; an object's fields have no order; a few known ones leave the answer alone."""
    first = msgspec.structs.replace(REQUEST, extra={"a": 1, "b": 2})
    assert differs(first)
    assert key(msgspec.structs.replace(REQUEST, extra={"b": 2, "a": 1})) == key(first)
    assert key(msgspec.structs.replace(REQUEST, extra={"a": 2, "b": 1})) != key(first)
    for name in NEUTRAL_EXTRA:
        assert not differs(msgspec.structs.replace(REQUEST, extra={name: "x"}))


def test_the_order_inside_a_schema_counts() -> None:
    """Models see it, and engines write the fields of an answer in it."""
    one, two = {"a": {}, "b": {}}, {"b": {}, "a": {}}
    tools = [(Tool(name="t", parameters={"properties": schema}),) for schema in (one, two)]
    assert key(msgspec.structs.replace(REQUEST, tools=tools[0])) != key(msgspec.structs.replace(REQUEST, tools=tools[1]))


def test_a_rotated_key_of_a_deployment_changes_nothing_and_its_model_does() -> None:
    """The places of a model count like the model itself: not by key, weight or name, but by what they are asked."""
    place = msgspec.structs.replace(CARD, deployment="east", key="k1")
    card = msgspec.structs.replace(CARD, deployments=(place,))
    for fields in ({"key": "k2"}, {"weight": 2.0}, {"deployment": "west"}):
        assert key(card=msgspec.structs.replace(card, deployments=(msgspec.structs.replace(place, **fields),))) == key(card=card)
    moved = msgspec.structs.replace(card, deployments=(msgspec.structs.replace(place, wire_name="w2"),))
    assert key(card=moved) != key(card=card)


def test_a_name_begins_with_its_tenant_and_its_model() -> None:
    """So that everything of either can be found; and nothing else is taken for a name."""
    name = key().name
    assert name.startswith(tenant_part("key:a") + model_part("m"))
    assert is_name(name)
    for wrong in ("", name[:-1], name.upper(), f"{name}0", "*" * len(name), f"{name[:-1]}g"):
        assert not is_name(wrong)


TEXTS = st.text(max_size=6)
SMALL = st.builds(
    lambda texts, temperature, cap, stop, extra: ChatRequest(
        model="m",
        messages=tuple([Message(role="user", blocks=(Text(text=text),)) for text in texts]),
        sampling=Sampling(temperature=temperature, stop=stop),
        max_output_tokens=cap,
        extra=extra,
    ),
    st.lists(TEXTS, min_size=1, max_size=3),
    st.none() | st.sampled_from([0.0, 0.5, 1.0]),
    st.none() | st.integers(1, 3),
    st.none() | st.lists(TEXTS, max_size=2).map(tuple),
    st.none() | st.dictionaries(st.sampled_from(["a", "b"]), st.integers(0, 2) | TEXTS, max_size=2, min_size=1),
)


@given(SMALL, SMALL)
def test_two_requests_share_a_name_exactly_when_they_are_equal(one: ChatRequest, two: ChatRequest) -> None:
    """No concatenation of texts, and no null beside a default, makes two different requests one."""
    assert (key(one) == key(two)) is (one == two)
