"""ChatRequest → the body of ``POST /api/chat``: the part common to clients and upstreams, and what upstreams need on top."""

from __future__ import annotations

from typing import Any

import msgspec

from prefrontal.chat.request import ChatRequest, Tool
from prefrontal.contracts.effort import EffortFields
from prefrontal.providers.base import Target
from prefrontal.providers.common import Report, apply_effort, apply_profile, with_suffix
from prefrontal.providers.ollama.messages import DIALECT, MessageWriter

OPTIONS = ("temperature", "top_p", "top_k", "min_p", "seed", "presence_penalty", "frequency_penalty")
NAMES = {name: f"options.{name}" for name in OPTIONS} | {"stop": "options.stop"}


def upstream_body(request: ChatRequest, target: Target, effort: EffortFields, report: Report, *, stream: bool) -> dict[str, Any]:
    """Return the body for the target's model. Raises CapabilityMissing for content this wire cannot carry."""
    native = request.dialect == DIALECT
    if effort.suffix:
        request = msgspec.structs.replace(request, messages=with_suffix(request.messages, effort.suffix))
    writer = MessageWriter(report, native=native, think_back=target.profile.reasoning_back)
    body = {"model": target.card.wire_name, **common_fields(request, report, writer)}
    options = body.pop("options", {})
    if target.card.context_tokens is not None:
        options.setdefault("num_ctx", target.card.context_tokens)
    cap = _cap(request, target, effort, report)
    if cap is not None:
        options["num_predict"] = cap
    if options:
        body["options"] = options
    think = request.thinking.get("think") if request.thinking else request.reasoning_effort
    if think is not None and "think" not in effort.fields:
        if native and effort.dialect != "fixed":
            body["think"] = think
        elif request.thinking:
            report.drop("thinking", "this model's thinking is not set through this field")
    body["stream"] = stream
    apply_effort(body, effort, NAMES)
    apply_profile(body, target, report)
    return body


def common_fields(request: ChatRequest, report: Report, writer: MessageWriter) -> dict[str, Any]:
    """Return the fields that clients and upstreams share; the cap, ``think`` and ``stream`` are not among them."""
    native = writer.native
    extra = dict(request.extra or {}) if native else {}
    body: dict[str, Any] = {"messages": writer.write(request)}
    tools = _tools(request, report, native=native)
    if tools:
        body["tools"] = tools
    answer = _format(request, report)
    if answer is not None:
        body["format"] = answer
    options = dict(extra.pop("options", None) or {})
    sampling = request.sampling
    for name in OPTIONS:
        value = getattr(sampling, name)
        if value is not None:
            options[name] = value
    if sampling.stop is not None:
        options["stop"] = sampling.stop[0] if sampling.stop_form == "text" and native else list(sampling.stop)
    if options or (native and "options" in (request.extra or {})):
        body["options"] = options
    for name in ("logprobs", "top_logprobs"):
        if getattr(sampling, name) is not None:
            body[name] = getattr(sampling, name)
    _note(request, report, native=native)
    return {**body, **extra}


def _note(request: ChatRequest, report: Report, *, native: bool) -> None:
    """Say what has no form on this wire."""
    reason = "the Ollama wire has no such field"
    if request.sampling.n is not None and request.sampling.n != 1:
        report.drop("n", "the Ollama wire gives one answer a call")
    if request.sampling.logit_bias is not None:
        report.drop("logit_bias", reason)
    if request.parallel_tool_calls is False:
        report.drop("parallel_tool_calls", "the Ollama wire cannot forbid several calls in one turn")
    for name in ("metadata", "user"):
        if getattr(request, name) is not None:
            report.drop(name, reason)
    for key in (request.extra or ()) if not native else ():
        report.drop(key, reason)


def _tools(request: ChatRequest, report: Report, *, native: bool) -> list[dict[str, Any]]:
    choice = request.tool_choice
    if choice is not None and choice.mode == "none" and request.tools:
        report.drop("tool_choice", "the Ollama wire has no tool_choice: the tools are left out", "translated")
        return []
    if choice is not None and choice.mode in ("required", "tool"):
        report.drop("tool_choice", "the Ollama wire cannot force a tool")
    return [found for tool in request.tools if (found := _tool(tool, report, native=native)) is not None]


def _tool(tool: Tool, report: Report, *, native: bool) -> dict[str, Any] | None:
    extra = dict(tool.extra or {})
    if tool.kind != "function":
        if not native:
            report.drop(f"tools[].{tool.kind}", "a tool that only another provider runs")
            return None
        return {"type": tool.kind, **extra}
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.parameters is not None:
        function["parameters"] = tool.parameters
    elif not native:
        function["parameters"] = {"type": "object", "properties": {}}
    if native:
        function.update(extra.pop("function", None) or {})
        typed = {} if extra.pop("typeAbsent", False) else {"type": "function"}
        return {**typed, "function": function, **extra}
    if tool.strict:
        report.drop("tools[].function.strict", "the Ollama wire has no strict tools")
    for key in extra:
        report.drop(f"tools[].function.{key}", "the Ollama wire has no such field")
    return {"type": "function", "function": function}


def _format(request: ChatRequest, report: Report) -> Any:
    wanted = request.response_format
    if wanted is None or wanted.kind == "text":
        return None
    if wanted.kind == "json_object":
        return "json"
    if wanted.description is not None:
        report.drop("response_format.json_schema.description", "the Ollama wire has no such field")
    if wanted.strict is False:
        report.drop("response_format.json_schema.strict", "the Ollama wire always keeps to the schema", "translated")
    return wanted.schema or {}


def _cap(request: ChatRequest, target: Target, effort: EffortFields, report: Report) -> int | None:
    hard = target.card.max_output_tokens
    wanted = effort.output_cap_tokens if effort.output_cap_tokens is not None else request.max_output_tokens
    if wanted is not None and hard is not None and wanted > hard:
        report.drop("max_tokens", f"{target.card.id} writes at most {hard} tokens", "clamped")
        return hard
    return wanted
