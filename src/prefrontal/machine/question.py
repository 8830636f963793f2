"""Which text of a request a reflex may look at, if any. Pure."""

from __future__ import annotations

import re

from prefrontal.chat.request import text_of
from prefrontal.machine.run import Run

GENERIC_SYSTEM = re.compile(
    r"(?:you are )?(?:an?)? ?(?:helpful|friendly|useful|concise|smart|polite|and|very|[, ])*"
    r"(?:ai |chat )?(?:assistant|bot)[.! ]*",
    re.IGNORECASE,
)
"""System prompts that say nothing a reflex would have to obey; many clients send one by default."""

MODEL_ONLY = frozenset({"tools", "functions", "web_search_options", "modalities", "audio"})
"""Unknown or unparsed fields that ask for what only a model can give: calls, sound, a search."""


def may_use(run: Run, tool: str) -> bool:
    """Return whether a reflex may answer: the configuration and the caller's key each may have a list."""
    configured, grant = run.world.config.routing.reflexes.tools, run.context.grant
    if configured is not None and tool not in configured:
        return False
    return grant is None or grant.tools is None or tool in grant.tools


def reflex_text(run: Run) -> str | None:
    """Return the question a reflex may answer, or None when a model has to.

    A reflex reads one plain user message. It does not read a system prompt that says something, tools, images, a demanded output
    format, several choices, log-probabilities, or a demanded capability, and it is off when the caller, the channel or the
    configuration says so.
    """
    request, config = run.request, run.world.config
    asked_for = run.asked is not None and run.asked.kind == "reflex"
    settings = config.routing.reflexes
    channel = config.routing.channels[run.channel]
    allowed = settings.enabled if channel.reflexes is None else channel.reflexes
    if not asked_for and not (allowed and request.hints.reflex and run.asked is not None and run.asked.kind == "auto"):
        return None
    sampling = request.sampling
    if request.tools or (sampling.n or 1) > 1 or sampling.logprobs or request.hints.needs:
        return None
    if request.extra and any(request.extra.get(name) for name in MODEL_ONLY):
        return None
    if request.response_format is not None and request.response_format.kind != "text":
        return None
    if not request.messages or request.messages[-1].role != "user" or request.dialect == "completions":
        return None
    for message in request.messages[:-1]:
        if (
            message.role in ("system", "developer")
            and not settings.with_system_prompt
            and not GENERIC_SYSTEM.fullmatch(text_of(message).strip())
        ):
            return None
        if message.role == "tool":
            return None
    last = request.messages[-1]
    if any(type(block).__name__ != "Text" for block in last.blocks):
        return None
    return text_of(last)
