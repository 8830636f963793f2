"""ChatRequest → the body of ``:generateContent``: the part common to clients and upstreams, and what upstreams need on top."""

from __future__ import annotations

from typing import Any

import msgspec

from prefrontal.chat.request import ChatRequest, ResponseFormat, Sampling, Tool, ToolChoice
from prefrontal.contracts.effort import EffortFields
from prefrontal.providers.base import Target
from prefrontal.providers.common import Report, apply_effort, apply_profile, with_suffix
from prefrontal.providers.gemini.parts import DIALECT
from prefrontal.providers.gemini.turns import render_turns

CONFIG = "generationConfig"
SAMPLING = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "n": "candidateCount",
    "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
}
NAMES = {ours: f"{CONFIG}.{theirs}" for ours, theirs in SAMPLING.items()} | {"stop": f"{CONFIG}.stopSequences"}
MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY", "tool": "ANY"}
JSON = "application/json"


def upstream_body(request: ChatRequest, target: Target, effort: EffortFields, report: Report) -> dict[str, Any]:
    """Return the body for the target's model. Raises CapabilityMissing for content this wire cannot carry."""
    native = request.dialect == DIALECT
    if effort.suffix:
        request = msgspec.structs.replace(request, messages=with_suffix(request.messages, effort.suffix))
    body = common_fields(request, report, native=native, sign=target.card.effort_dialect == "gemini_level")
    config = body.pop(CONFIG, {})
    cap = _cap(request, target, effort, report)
    if cap is not None:
        config["maxOutputTokens"] = cap
    if request.response_format is not None:
        _answer_format(config, request.response_format, target, report, native=native)
    _thinking(config, request, effort, report, native=native)
    if config:
        body[CONFIG] = config
    if not native:
        for key in request.extra or ():
            report.drop(key, "the Gemini wire has no such field")
    apply_effort(body, effort, NAMES)
    apply_profile(body, target, report)
    return body


def common_fields(request: ChatRequest, report: Report, *, native: bool, sign: bool = False) -> dict[str, Any]:
    """Return the fields that clients and upstreams share; the cap, the answer's format and thinking are not among them."""
    extra = dict(request.extra or {}) if native else {}
    body: dict[str, Any] = {}
    system, contents = render_turns(request, report, native=native, sign=sign)
    if system is not None:
        body["systemInstruction"] = system
    body["contents"] = contents
    verbatim = "tools" in extra  # a list of tools that only its own words can say
    tools = extra.pop("tools") if verbatim else _tools(request.tools, report, native=native)
    if tools or verbatim:
        body["tools"] = tools
    tool_config = dict(extra.pop("toolConfig", None) or {})
    choice = _calling_config(request, report, given=bool(tools) or native)
    if choice is not None:
        tool_config["functionCallingConfig"] = choice
    if tool_config or (native and "toolConfig" in (request.extra or {})):
        body["toolConfig"] = tool_config
    config = dict(extra.pop(CONFIG, None) or {})
    _sampling(config, request.sampling, report)
    if config or (native and CONFIG in (request.extra or {})):
        body[CONFIG] = config
    for name in ("metadata", "user"):
        if getattr(request, name) is not None:
            report.drop(name, "the Gemini wire has no such field")
    return {**body, **extra}


def _tools(tools: tuple[Tool, ...], report: Report, *, native: bool) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    functions: list[dict[str, Any]] | None = None
    for tool in tools:
        if tool.kind != "function":
            if native:
                out.append({tool.kind: (tool.extra or {}).get(tool.kind, {})})
                functions = None
            else:
                report.drop(f"tools[].{tool.kind}", "a tool that only another provider runs")
            continue
        if functions is None:
            functions = []
            out.append({"functionDeclarations": functions})
        functions.append(_declaration(tool, report, native=native))
    return out


def _declaration(tool: Tool, report: Report, *, native: bool) -> dict[str, Any]:
    out: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        out["description"] = tool.description
    extra = dict(tool.extra or {})
    if native:
        if tool.parameters is not None and "parameters" not in extra:
            out["parametersJsonSchema"] = tool.parameters
        return {**out, **extra}
    if tool.parameters:
        out["parametersJsonSchema"] = tool.parameters
    if tool.strict:
        report.drop("tools[].function.strict", "the Gemini wire has no strict tools")
    for key in extra:
        report.drop(f"tools[].function.{key}", "the Gemini wire has no such field")
    return out


def _calling_config(request: ChatRequest, report: Report, *, given: bool) -> dict[str, Any] | None:
    if request.parallel_tool_calls is False:
        report.drop("parallel_tool_calls", "the Gemini wire cannot forbid several calls in one turn")
    choice = request.tool_choice
    if choice is None:
        return None
    if not given:
        report.drop("tool_choice", "there are no tools to choose from")
        return None
    return _mode(choice, report, native=request.dialect == DIALECT)


def _mode(choice: ToolChoice, report: Report, *, native: bool) -> dict[str, Any]:
    out: dict[str, Any] = {"mode": MODES[choice.mode]}
    if choice.mode == "tool":
        out["allowedFunctionNames"] = [choice.name or ""]
    if choice.extra and native:
        out.update(choice.extra)
        if choice.extra.get("mode", "") is None:
            del out["mode"]
    elif choice.extra:
        report.drop("tool_choice", "only the kind of choice is carried over", "translated")
    return out


def _sampling(config: dict[str, Any], sampling: Sampling, report: Report) -> None:
    for ours, theirs in SAMPLING.items():
        value = getattr(sampling, ours)
        if value is not None:
            config[theirs] = value
    if sampling.stop is not None:
        config["stopSequences"] = list(sampling.stop)
    for name in ("min_p", "logit_bias"):
        if getattr(sampling, name) is not None:
            report.drop(name, "the Gemini wire has no such field")


def _cap(request: ChatRequest, target: Target, effort: EffortFields, report: Report) -> int | None:
    hard = target.card.max_output_tokens
    wanted = effort.output_cap_tokens if effort.output_cap_tokens is not None else request.max_output_tokens
    if wanted is not None and hard is not None and wanted > hard:
        report.drop("max_tokens", f"{target.card.id} writes at most {hard} tokens", "clamped")
        return hard
    return wanted


def _answer_format(config: dict[str, Any], wanted: ResponseFormat, target: Target, report: Report, *, native: bool) -> None:
    if wanted.kind == "json_schema" and target.card.can("structured_output") is False:
        report.drop("response_format", f"{target.card.id} does not take a schema for its answer")
        return
    config.update(format_fields(wanted, native=native))
    if wanted.description is not None:
        report.drop("response_format.json_schema.description", "the Gemini wire has no such field")
    if wanted.strict is False:
        report.drop("response_format.json_schema.strict", "the Gemini wire always keeps to the schema", "translated")


def format_fields(wanted: ResponseFormat, *, native: bool) -> dict[str, Any]:
    """Return the fields of generationConfig for an answer format. Its name is a label and has no field here."""
    if wanted.kind == "text":
        return {"responseMimeType": "text/plain"} if native else {}
    out: dict[str, Any] = {"responseMimeType": JSON}
    if wanted.kind == "json_schema":
        own = wanted.extra if native else None
        out |= own or {"responseJsonSchema": wanted.schema or {}}
    return out


def _thinking(config: dict[str, Any], request: ChatRequest, effort: EffortFields, report: Report, *, native: bool) -> None:
    """Pass on the caller's own ``thinkingConfig`` where no effort was rendered."""
    if request.thinking is None or any("thinkingConfig" in path for path in effort.fields):
        return
    if native and effort.dialect != "fixed":
        config["thinkingConfig"] = request.thinking
    else:
        report.drop("thinking", "this model's thinking is not set through this field")
