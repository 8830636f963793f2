"""ChatRequest → the body of ``POST /v1/messages``: the part common to clients and upstreams, and what upstreams need on top."""

from __future__ import annotations

from typing import Any

import msgspec

from prefrontal.chat.request import ChatRequest, Sampling, Tool, ToolChoice
from prefrontal.contracts.effort import EffortFields
from prefrontal.providers.anthropic.blocks import DIALECT, KEPT_EXTRAS
from prefrontal.providers.anthropic.turns import is_tool_turn, render_turns
from prefrontal.providers.base import Target
from prefrontal.providers.common import Report, apply_effort, apply_profile, with_suffix

ASSUMED_MAX_TOKENS = 4096
"""Assumed: the wire requires a cap; this is the smallest hard cap among the models of this wire (Claude 3)."""

MIN_BUDGET_TOKENS = 1024
"""Specified: the least ``budget_tokens`` the API takes."""

BETAS = "anthropic-beta"
"""The extra field in which a request carries that header of its client; to this wire it goes as the header again."""

NAMES = {"stop": "stop_sequences", "user": "metadata.user_id", "parallel_tool_calls": "tool_choice.disable_parallel_tool_use"}
_MODES = {"auto": "auto", "none": "none", "required": "any", "tool": "tool"}
_UNKNOWN_SAMPLING = ("min_p", "seed", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs")


def upstream_body(request: ChatRequest, target: Target, effort: EffortFields, report: Report, *, stream: bool) -> dict[str, Any]:
    """Return the body for the target's model. Raises CapabilityMissing for content this wire cannot carry."""
    native = request.dialect == DIALECT
    body: dict[str, Any] = {"model": target.card.wire_name, "max_tokens": _cap(request, target, effort, report)}
    body |= common_fields(request, report, native=native, suffix=effort.suffix)
    _response_format(body, request, target, report, native=native)
    if request.reasoning_effort is not None and native and not _steers_effort(effort):
        body["output_config"] = {**body.get("output_config", {}), "effort": request.reasoning_effort}
    _thinking(body, request, effort, report, native=native)
    if stream:
        body["stream"] = True
    if native:
        for key, value in (request.extra or {}).items():
            if key != BETAS:
                body.setdefault(key, value)
    else:
        _drop_foreign(request, report)
    apply_effort(body, effort, NAMES)
    apply_profile(body, target, report)
    _keep_thinking_legal(body, report)
    if not native and "temperature" in body and body.pop("top_p", None) is not None:
        report.drop("top_p", "models of this wire from 4.1 on take temperature or top_p, not both")
    return body


def common_fields(
    request: ChatRequest, report: Report, *, native: bool, suffix: str | None = None, client: bool = False
) -> dict[str, Any]:
    """Return the fields that clients and upstreams share: turns, tools, stops, sampling, metadata."""
    if suffix:
        request = msgspec.structs.replace(request, messages=with_suffix(request.messages, suffix))
    body: dict[str, Any] = {}
    system, turns = render_turns(request, report, native=native, client=client)
    if system is not None:
        body["system"] = system
    body["messages"] = turns
    tools = [found for tool in request.tools if (found := _tool(tool, report, native=native)) is not None]
    if tools:
        body["tools"] = tools
    choice = _tool_choice(request, report, given=bool(tools) or native)
    if choice is not None:
        body["tool_choice"] = choice
    _sampling(body, request.sampling, report, native=native)
    metadata = dict(request.metadata or {}) if native else {}
    if request.user is not None:
        metadata["user_id"] = request.user
    if metadata or (native and request.metadata is not None):
        body["metadata"] = metadata
    if request.metadata and not native:
        report.drop("metadata", "the Messages wire keeps only a user id")
    return body


def _tool(tool: Tool, report: Report, *, native: bool) -> dict[str, Any] | None:
    if tool.kind != "function":
        if not native:
            report.drop(f"tools[].{tool.kind}", "a tool that only another provider runs")
            return None
        return {"type": tool.kind, **({"name": tool.name} if tool.name else {}), **(tool.extra or {})}
    out: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        out["description"] = tool.description
    if tool.parameters is not None or not native:
        out["input_schema"] = _object_schema(tool.parameters)
    if tool.strict is not None and (native or tool.strict):
        out["strict"] = tool.strict
    for key, value in (tool.extra or {}).items():
        if native or key in KEPT_EXTRAS:
            out[key] = value
        else:
            report.drop(f"tools[].function.{key}", "the Messages wire has no such field")
    return out


def _object_schema(schema: dict[str, Any] | None) -> dict[str, Any]:
    if schema is None:
        return {"type": "object", "properties": {}}
    return schema if "type" in schema else {"type": "object", **schema}


def _tool_choice(request: ChatRequest, report: Report, *, given: bool) -> dict[str, Any] | None:
    choice, parallel = request.tool_choice, request.parallel_tool_calls
    if choice is None and (parallel is None or parallel):
        return None
    if not given:
        report.drop("tool_choice", "there are no tools to choose from")
        return None
    choice = choice or ToolChoice(mode="auto")
    out: dict[str, Any] = {"type": _MODES[choice.mode]}
    if choice.mode == "tool":
        out["name"] = choice.name or ""
    if parallel is not None and choice.mode != "none" and (not parallel or request.dialect == DIALECT):
        out["disable_parallel_tool_use"] = not parallel
    if choice.extra and request.dialect == DIALECT:
        out.update(choice.extra)
    elif choice.extra:
        report.drop("tool_choice", "the Messages wire cannot narrow the tools to a list", "translated")
    return out


def _sampling(body: dict[str, Any], sampling: Sampling, report: Report, *, native: bool) -> None:
    stops = sampling.stop
    if stops is not None and not native:
        kept = tuple([stop for stop in stops if stop.strip()])
        if len(kept) != len(stops):
            report.drop("stop", "the Messages wire takes no stop sequence made of white space alone")
        stops = kept or None
    if stops is not None:
        body["stop_sequences"] = list(stops)
    if sampling.temperature is not None:
        warm = sampling.temperature
        if warm > 1 and not native:
            report.drop("temperature", f"the Messages wire takes 0 to 1: {warm:g} became 1", "clamped")
            warm = 1.0
        body["temperature"] = warm
    for name in ("top_p", "top_k"):
        value = getattr(sampling, name)
        if value is not None:
            body[name] = value
    for name in _UNKNOWN_SAMPLING:
        if getattr(sampling, name) is not None:
            report.drop(name, "the Messages wire has no such field")
    if sampling.n is not None and sampling.n != 1:
        report.drop("n", "the Messages wire gives one answer a call")


def _cap(request: ChatRequest, target: Target, effort: EffortFields, report: Report) -> int:
    hard = target.card.max_output_tokens
    wanted = effort.output_cap_tokens if effort.output_cap_tokens is not None else request.max_output_tokens
    if wanted is None:
        return hard or ASSUMED_MAX_TOKENS
    if hard is not None and wanted > hard:
        report.drop("max_tokens", f"{target.card.id} writes at most {hard} tokens", "clamped")
        return hard
    return wanted


def _response_format(body: dict[str, Any], request: ChatRequest, target: Target, report: Report, *, native: bool) -> None:
    if native and (request.extra or {}).get("output_config") is not None:
        body["output_config"] = dict(request.extra["output_config"]) if request.extra else {}
    wanted = request.response_format
    if wanted is None or wanted.kind == "text":
        return
    if wanted.kind == "json_object":
        report.drop("response_format", "the Messages wire has no JSON mode without a schema")
        return
    if target.profile.structured_output != "output_config" or target.card.can("structured_output") is False:
        report.drop("response_format", f"{target.card.id} does not take a schema for its answer")
        return
    if wanted.description is not None:
        report.drop("response_format.json_schema.description", "the Messages wire has no such field")
    if wanted.strict is False:
        report.drop("response_format.json_schema.strict", "the Messages wire always keeps to the schema", "translated")
    body["output_config"] = {**body.get("output_config", {}), "format": format_of(request)}


def format_of(request: ChatRequest) -> dict[str, Any]:
    """Return the wire's answer format for a request that asks for a schema. Its name is a label and has no field here."""
    wanted = request.response_format
    assert wanted is not None
    return {"type": "json_schema", "schema": wanted.schema or {}, **(wanted.extra or {} if request.dialect == DIALECT else {})}


def _steers_effort(effort: EffortFields) -> bool:
    return effort.dialect == "fixed" or any(path == "output_config.effort" or path == "thinking" for path in effort.fields)


def _thinking(body: dict[str, Any], request: ChatRequest, effort: EffortFields, report: Report, *, native: bool) -> None:
    """Pass on the caller's own ``thinking`` where no effort was rendered."""
    if request.thinking is None or "thinking" in effort.fields:
        return
    if native and effort.dialect != "fixed":
        body["thinking"] = request.thinking
    else:
        report.drop("thinking", "this model's thinking is not set through this field")


def _drop_foreign(request: ChatRequest, report: Report) -> None:
    for key in request.extra or ():
        report.drop(key, "the Messages wire has no such field")


def _keep_thinking_legal(body: dict[str, Any], report: Report) -> None:
    """Mend what the API refuses together with a thinking budget: a budget beyond the cap, a forced tool, unsigned tool turns."""
    thinking = body.get("thinking")
    if not isinstance(thinking, dict) or thinking.get("type") != "enabled":
        return
    budget, cap = thinking.get("budget_tokens"), body["max_tokens"]
    if _tool_loop_without_thinking(body["messages"]):
        body["thinking"] = {"type": "disabled"}
        reason = "the tool turn in progress came without signed thinking, and the API refuses to think on from there"
        report.drop("thinking", reason)
        return
    if isinstance(budget, int) and budget >= cap:
        if cap <= MIN_BUDGET_TOKENS:
            body["thinking"] = {"type": "disabled"}
            report.drop("thinking", f"an output cap of {cap} tokens leaves no room for thinking", "clamped")
            return
        body["thinking"] = {**thinking, "budget_tokens": cap - 1}
        report.drop("thinking.budget_tokens", f"must stay below the output cap of {cap} tokens", "clamped")
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") in ("any", "tool"):
        body["tool_choice"] = {key: value for key, value in choice.items() if key not in ("type", "name")} | {"type": "auto"}
        report.drop("tool_choice", "no tool can be forced while the model thinks within a budget: sent as auto", "translated")


def _tool_loop_without_thinking(turns: list[dict[str, Any]]) -> bool:
    if len(turns) < 2 or not is_tool_turn(turns[-1], "tool_result") or turns[-2]["role"] != "assistant":
        return False
    content = turns[-2]["content"]
    return isinstance(content, list) and (not content or content[0].get("type") not in ("thinking", "redacted_thinking"))
