"""What a client asks for, independent of the dialect it asked in."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from prefrontal.chat.blocks import Block

Role = Literal["system", "developer", "user", "assistant", "tool"]
ContentForm = Literal["text", "parts", "none", "absent"]


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One turn. `form` remembers how the wire wrote the content: one string, a list of parts, null, or no field at all.

    Reasoning, tool calls and refusals of an assistant turn are blocks in wire order like any other.
    """

    role: Role
    blocks: tuple[Block, ...] = ()
    name: str | None = None
    form: ContentForm = "text"
    extra: dict[str, Any] | None = None


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool the model may call. `parameters` is a JSON Schema object (None: takes no arguments).

    A provider's own tool (web search, …) has `kind` other than ``function`` and its definition in `extra`.
    """

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    kind: str = "function"
    extra: dict[str, Any] | None = None


class ToolChoice(msgspec.Struct, frozen=True, kw_only=True):
    """``auto``, ``none``, ``required`` (any), or ``tool`` with the `name` of the one to call."""

    mode: Literal["auto", "none", "required", "tool"]
    name: str | None = None
    extra: dict[str, Any] | None = None


class ResponseFormat(msgspec.Struct, frozen=True, kw_only=True):
    """``text``, ``json_object`` or ``json_schema`` (then with `schema`, and optionally `name`, `strict`, `description`)."""

    kind: Literal["text", "json_object", "json_schema"]
    schema: dict[str, Any] | None = None
    name: str | None = None
    strict: bool | None = None
    description: str | None = None
    extra: dict[str, Any] | None = None


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """Decoding parameters; None means not given. Ranges are the provider's to check."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] | None = None
    stop_form: Literal["text", "list"] = "list"
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    n: int | None = None


class EngramWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An engram to answer from. Of two passages that hold as much of the question the one of the higher `weight` comes first.

    The rest narrows what is looked at, as in a search: `scope` is a folder; `paths`, `exclude` and `symbols` are globs.
    """

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    weight: Annotated[float, Meta(gt=0, le=100)] = 1.0
    scope: str = ""
    paths: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()


class Hints(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The request's extension object `x_prefrontal`: what the caller tells the executive. All optional.

    prefer: ``quality``, ``cost``, ``latency`` or ``balanced``. effort: a score in [0, 1] that overrides the computed one.
    channel: one of the configured channels. session: keeps a conversation on its model. urgency, risk: [0, 1].
    needs: capabilities a model must have, by name, also ones the code does not know. max_cost_usd: per request.
    data_class: what kind of data this is, for `egress.by_data_class`. deadline_s: seconds from arrival.
    fallback: False forbids another model than the first. trace: False keeps headers only.
    cache: what the response cache may do; the words are explained in `contracts.cache`. priority: who is refused first when there
    is more work than room. knowledge: the engrams to answer from; an empty list: none, whatever the configuration says.
    lens: the lenses that read the request first, which the answer then shows; ``True``: the channel's; ``False``: none.
    """

    prefer: Literal["quality", "cost", "latency", "balanced"] | None = None
    effort: float | None = None
    channel: str | None = None
    session: str | None = None
    urgency: float | None = None
    risk: float | None = None
    needs: tuple[str, ...] = ()
    max_cost_usd: float | None = None
    deadline_s: float | None = None
    fallback: bool = True
    reflex: bool = True
    timezone: str | None = None
    priority: Literal["low", "normal", "high"] | None = None
    data_class: str | None = None
    cache: Literal["use", "bypass", "refresh", "no-store"] | None = None
    knowledge: tuple[str | EngramWish, ...] | None = None
    lens: str | tuple[str, ...] | bool | None = None


NO_HINTS = Hints()
NO_SAMPLING = Sampling()


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One chat request.

    `max_output_tokens` is the caller's cap including reasoning; `cap_field` the name it came under. `reasoning_effort` is the
    caller's word (``none`` … ``max``); `thinking` the caller's budget object of a dialect that has one. `extra` holds every
    field not named here, verbatim, in the caller's dialect (`dialect`).
    """

    model: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    sampling: Sampling = NO_SAMPLING
    max_output_tokens: int | None = None
    cap_field: str | None = None
    reasoning_effort: str | None = None
    thinking: dict[str, Any] | None = None
    stream: bool = False
    stream_given: bool = False
    include_usage: bool = False
    stream_options: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    user: str | None = None
    hints: Hints = NO_HINTS
    dialect: str = "openai"
    extra: dict[str, Any] | None = None


def text_of(message: Message) -> str:
    """Return the plain text of a message, its text blocks joined by newlines."""
    blocks = message.blocks
    if len(blocks) == 1 and blocks[0].__class__.__name__ == "Text":
        return blocks[0].text  # type: ignore[union-attr]  # the class name was checked: isinstance costs more on the hot path
    return "\n".join([block.text for block in blocks if block.__class__.__name__ == "Text"])  # type: ignore[union-attr]  # same


def last_user_text(request: ChatRequest) -> str:
    """Return the text of the last user message, or an empty string."""
    for message in reversed(request.messages):
        if message.role == "user":
            return text_of(message)
    return ""
