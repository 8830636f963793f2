"""The registry: order, isolation of failing tools, entry points, and time."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import EntryPoint

import pytest

from prefrontal.reflex import tools
from prefrontal.reflex.phrasing import bare_question
from prefrontal.reflex.proposal import Proposal, ReflexAnswer, ReflexContext
from prefrontal.reflex.tools import Reflexes, builtin_reflexes, installed_reflexes

CONTEXT = ReflexContext(now_s=1_779_000_000.0, allow_host=True)
NOISE = 5  # how much slower than specified a busy machine may be


class Echo:
    """A tool that takes one text."""

    description = "Says what it was told"

    def __init__(self, name: str = "echo", takes: str = "ping", *, fails_in: str = "") -> None:
        self.name, self._takes, self._fails_in = name, takes, fails_in

    def propose(self, text: str, context: ReflexContext) -> Proposal | None:
        if self._fails_in == "propose":
            raise RuntimeError("broken")
        return Proposal(tool=self.name, arguments={"text": text}, reason="known word") if text == self._takes else None

    def answer(self, proposal: Proposal, context: ReflexContext) -> ReflexAnswer | None:
        if self._fails_in == "answer":
            raise RuntimeError("broken")
        return ReflexAnswer(tool=self.name, text="pong", value="pong", arguments=proposal.arguments)


def make_echo() -> Echo:
    """What an entry point names."""
    return Echo()


def make_calculator() -> Echo:
    """A tool whose name is taken."""
    return Echo("calculator")


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("Hey, can you please tell me what 2+2 is? Thanks!", "what 2+2 is"),
        ("  what   is\n2 + 2 ?? ", "what is 2 + 2"),
        ("Hello there! I'd like to know the time in Tokyo, please.", "the time in Tokyo"),
        ("5!", "5!"),
        ("stop it!", "stop it"),
        ("what is a tourniquet y", "what is a tourniquet y"),
        ("thirty", "thirty"),
        ("what\u2019s 5 \u2212 3", "what's 5 - 3"),
    ],
)
def test_courtesies_are_taken_off(text: str, question: str) -> None:
    """Greetings, requests, thanks and closing marks go; the question itself, its case and a factorial's mark stay."""
    assert bare_question(text) == question


def test_the_first_tool_that_recognises_a_text_takes_it() -> None:
    """Tools are asked in order, without the courtesies around the question."""
    reflexes = Reflexes([Echo("first", "ping"), Echo("second", "ping"), Echo("third", "pong")])
    assert reflexes.names() == ("first", "second", "third")
    first, third = reflexes.propose("Hi, ping please", CONTEXT), reflexes.propose("pong", CONTEXT)
    assert first is not None
    assert third is not None
    assert (first.tool, third.tool) == ("first", "third")
    assert reflexes.propose("pang", CONTEXT) is None


def test_a_failing_tool_abstains() -> None:
    """A tool that raises while reading is passed over; one that raises while answering leaves the question to a model."""
    reflexes = Reflexes([Echo("bad", fails_in="propose"), Echo("worse", fails_in="answer")])
    proposal = reflexes.propose("ping", CONTEXT)
    assert proposal is not None
    assert proposal.tool == "worse"
    assert reflexes.answer(proposal, CONTEXT) is None
    assert reflexes.answer(Proposal(tool="absent", arguments={}, reason=""), CONTEXT) is None


def test_tools_can_be_switched_off() -> None:
    """Without the calculator sums are left to a model; two tools of one name are refused."""
    reflexes = builtin_reflexes().without(["calculator", "unknown"])
    assert "calculator" not in reflexes.names()
    assert reflexes.propose("2 + 2", CONTEXT) is None
    assert reflexes.propose("10 miles in km", CONTEXT) is not None
    with pytest.raises(ValueError, match="same name"):
        Reflexes([Echo(), Echo()])


def test_other_packages_add_tools_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    """A good entry point joins behind the shipped tools; a broken one, a taken name and a disabled one are left out."""
    found = [
        EntryPoint("echo", f"{__name__}:make_echo", "prefrontal.tools"),
        EntryPoint("calculator2", f"{__name__}:make_calculator", "prefrontal.tools"),
        EntryPoint("broken", "no_such_module:make", "prefrontal.tools"),
    ]
    monkeypatch.setattr(tools, "entry_points", lambda *, group: [entry for entry in found if entry.group == group])
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or sys.modules[make_echo.__module__])
    reflexes = installed_reflexes()
    assert reflexes.names() == (*builtin_reflexes().names(), "echo")
    proposal = reflexes.propose("ping", CONTEXT)
    assert proposal is not None
    assert installed_reflexes(disabled=["echo", "dates"]).names() == ("calculator", "convert", "timezone", "system")


def best_ms(action: Callable[[], object], rounds: int = 30) -> float:
    """Return the median duration of an action in milliseconds."""
    durations = []
    for _ in range(rounds):
        start = time.perf_counter()
        action()
        durations.append((time.perf_counter() - start) * 1000)
    return statistics.median(durations)


QUESTIONS = [
    "what is 17.5% of 2,340?",
    "convert 10 miles to km",
    "how many days until Christmas?",
    "what time is it in Tokyo?",
    "2^100",
    "5'10\" in cm",
    "3pm London time in New York",
    "how many psi is 2.2 bar",
    "how much memory is free",
]


def test_answers_take_less_than_five_milliseconds_after_warming() -> None:
    """Each kind of answer, the very first one too, is ready within 5 ms once the heavy parts are loaded."""
    reflexes = builtin_reflexes()
    reflexes.warm()
    for text in QUESTIONS:
        proposal = reflexes.propose(text, CONTEXT)
        assert proposal is not None
        assert best_ms(partial(reflexes.answer, proposal, CONTEXT), 1) < 5 * NOISE
        assert best_ms(partial(reflexes.answer, proposal, CONTEXT)) < 5


@pytest.mark.parametrize(
    ("text", "bound_ms"),
    [
        ("Write a short story about a lighthouse keeper who finds a message in a bottle.", 0.05),
        ("what is the capital of France", 0.05),
        ("how many people can fit into a bus that has 12 rows of 4 seats and 3 at the back", 0.05),
        ("word " * 400, 0.01),
        ("what is 2 + 2? " * 100_000, 0.01),
    ],
)
def test_recognition_is_cheap(text: str, bound_ms: float) -> None:
    """Reading a prompt that is no reflex's question takes microseconds, and less still when it is long."""
    reflexes = builtin_reflexes()
    assert reflexes.propose(text, CONTEXT) is None
    assert best_ms(lambda: reflexes.propose(text, CONTEXT), 200) < bound_ms * NOISE


@pytest.mark.parametrize(
    "unit", ["1", "a ", "1+", "(", "in ", "1 m ", "' ", "5 days ", "what is ", "to 1 ", "√", "1,", "-", "a, "]
)
def test_no_short_text_takes_long_to_read(unit: str) -> None:
    """Repetitive texts at the length limit do not make the patterns run away."""
    reflexes = builtin_reflexes()
    for head in ("", "what is ", "convert 5 ", "how many ", "how many days between ", "what time is it in ", "add 1 and "):
        text = (head + unit * 200)[:200]
        assert best_ms(partial(reflexes.propose, text, CONTEXT), 3) < 10


def test_importing_loads_nothing_heavy() -> None:
    """Pint, dateutil and psutil are loaded with the first answer that needs them, not by importing or recognising."""
    code = (
        "import sys; from prefrontal.reflex.tools import builtin_reflexes; from prefrontal.reflex.proposal import ReflexContext\n"
        "r = builtin_reflexes(); assert r.propose('10 miles in km', ReflexContext(now_s=0.0))\n"
        "print([name for name in ('pint', 'dateutil', 'psutil', 'asyncio', 'numpy') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"
