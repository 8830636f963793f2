"""The registry of reflexes: which tool takes a question, and its answer."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Sequence
from importlib.metadata import entry_points
from typing import Protocol, runtime_checkable

from prefrontal.reflex.calculator import Calculator
from prefrontal.reflex.convert import Convert
from prefrontal.reflex.dates import Dates
from prefrontal.reflex.gateway import Gateway, GatewayMetrics
from prefrontal.reflex.host import HostMetrics, PsutilHost
from prefrontal.reflex.phrasing import MAX_CHARACTERS, bare_question
from prefrontal.reflex.proposal import Proposal, ReflexAnswer, ReflexContext
from prefrontal.reflex.system import System
from prefrontal.reflex.timezone import TimeZones

_log = logging.getLogger(__name__)
_GROUP = "prefrontal.tools"
_INNER_COMMA = re.compile(r"\d,\d").search


@runtime_checkable
class Reflex(Protocol):
    """A tool that answers one kind of question without a model.

    `propose` runs for every request that names no model: it must be pure and take microseconds, and it must return None
    unless the WHOLE text is its question. `text` comes without greetings and "please", its whitespace collapsed, its
    letter case kept. `answer` may do the work (within milliseconds) and returns None to leave the question to a model.
    A method `warm()` is called once in the background, if there is one, to load what is heavy.
    """

    name: str
    description: str

    def propose(self, text: str, context: ReflexContext) -> Proposal | None:
        """Return what was recognised, or None."""
        ...

    def answer(self, proposal: Proposal, context: ReflexContext) -> ReflexAnswer | None:
        """Return the answer, or None to abstain."""
        ...


class Reflexes:
    """Tools, asked in order. A tool that fails abstains: it can never fail a request."""

    def __init__(self, tools: Sequence[Reflex]) -> None:
        """`tools` have distinct names; the first that recognises a text takes it. Raises ValueError on a repeated name."""
        self._tools = {tool.name: tool for tool in tools}
        if len(self._tools) != len(tools):
            raise ValueError("two reflexes have the same name")

    def names(self) -> tuple[str, ...]:
        """Return the tools' names in the order in which they are asked."""
        return tuple(self._tools)

    def describe(self) -> dict[str, str]:
        """Return each tool's description by name."""
        return {name: tool.description for name, tool in self._tools.items()}

    def without(self, names: Collection[str]) -> Reflexes:
        """Return the same tools except the named ones. Names that are not there change nothing."""
        return Reflexes([tool for name, tool in self._tools.items() if name not in names])

    def warm(self) -> None:
        """Load what the tools need for quick answers (0.2 to 0.5 s of CPU, mostly Pint). Safe to call from a thread."""
        for tool in self._tools.values():
            try:
                getattr(tool, "warm", lambda: None)()
            except Exception:  # noqa: BLE001 - an edge: tools come from other packages too
                _log.warning("reflex %s could not be warmed", tool.name, exc_info=True)

    def propose(self, text: str, context: ReflexContext) -> Proposal | None:
        """Return the first tool's proposal for a text that is its question from beginning to end, else None."""
        if len(text) > MAX_CHARACTERS:
            return None
        question = bare_question(text)
        if not question or (_INNER_COMMA(question) and not context.locale.lower().startswith("en")):
            return None
        for tool in self._tools.values():
            try:
                proposal = tool.propose(question, context)
            except Exception:  # noqa: BLE001 - an edge: tools come from other packages too
                _log.warning("reflex %s failed to read a question", tool.name, exc_info=True)
                continue
            if proposal is not None:
                return proposal
        return None

    def answer(self, proposal: Proposal, context: ReflexContext) -> ReflexAnswer | None:
        """Return the proposing tool's answer; None when it abstains, fails, or is not there."""
        tool = self._tools.get(proposal.tool)
        if tool is None:
            return None
        try:
            return tool.answer(proposal, context)
        except Exception:  # noqa: BLE001 - an edge: a failing tool abstains and a model answers
            _log.warning("reflex %s failed to answer", proposal.tool, exc_info=True)
            return None


def builtin_reflexes(*, host: HostMetrics | None = None, gateway: GatewayMetrics | None = None) -> Reflexes:
    """Return the shipped tools. `host` is what the system tool measures, by default this machine; `gateway` our own counters."""
    return Reflexes(_builtin(host, gateway))


def installed_reflexes(
    *, host: HostMetrics | None = None, gateway: GatewayMetrics | None = None, disabled: Collection[str] = ()
) -> Reflexes:
    """Return the shipped tools and those that other packages offer by entry point, except the `disabled` names.

    An entry point of the group `prefrontal.tools` names a callable without arguments that returns a Reflex. One that cannot
    be loaded, or whose tool bears a name already taken, is left out with a warning in the log.
    """
    tools = [tool for tool in _builtin(host, gateway) if tool.name not in disabled]
    for entry in entry_points(group=_GROUP):
        if entry.name in disabled:
            continue
        try:
            tool = entry.load()()
        except Exception:  # noqa: BLE001 - an edge: foreign code
            _log.warning("reflex entry point %s could not be loaded", entry.name, exc_info=True)
            continue
        taken = {known.name for known in tools}
        if not isinstance(tool, Reflex) or tool.name in taken:
            _log.warning("reflex entry point %s is no tool or its name is taken", entry.name)
        elif tool.name not in disabled:
            tools.append(tool)
    return Reflexes(tools)


def _builtin(host: HostMetrics | None, gateway: GatewayMetrics | None) -> list[Reflex]:
    tools: list[Reflex] = [Calculator(), Convert(), Dates(), TimeZones(), System(host if host is not None else PsutilHost())]
    if gateway is not None:
        tools.append(Gateway(gateway))
    return tools
