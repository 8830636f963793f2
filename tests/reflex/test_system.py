"""Measurements of the host, only for those who may see it."""

from __future__ import annotations

import pytest

from prefrontal.reflex.host import MemoryUse, PsutilHost
from prefrontal.reflex.proposal import ReflexAnswer, ReflexContext
from prefrontal.reflex.tools import builtin_reflexes

GIB = 1024**3


class FixedHost:
    """A host with known figures."""

    def cpu_percent(self) -> float | None:
        return 12.5

    def cpu_cores(self) -> int | None:
        return 6

    def load_average(self) -> tuple[float, float, float] | None:
        return None

    def memory(self) -> MemoryUse | None:
        return MemoryUse(total_bytes=16 * GIB, available_bytes=4 * GIB)

    def disk(self) -> MemoryUse | None:
        return MemoryUse(total_bytes=100 * GIB, available_bytes=25 * GIB)

    def boot_time_s(self) -> float | None:
        return 1_000_000.0


REFLEXES = builtin_reflexes(host=FixedHost())


def ask(text: str, allow_host: bool = True) -> ReflexAnswer | None:
    """Return the answer 90,061 seconds after the host started."""
    context = ReflexContext(now_s=1_090_061.0, allow_host=allow_host)
    proposal = REFLEXES.propose(text, context)
    return REFLEXES.answer(proposal, context) if proposal is not None else None


@pytest.mark.parametrize(
    ("passed_s", "shown"),
    [
        (30, "for 0 minutes."),
        (61, "for 1 minute."),
        (3_700, "for 1 hour and 1 minute."),
        (86_400, "for 1 day, 0 hours and 0 minutes."),
    ],
)
def test_an_uptime_begins_with_what_there_is(passed_s: int, shown: str) -> None:
    """Nobody says "0 days, 1 hour": larger units that are nought are left out."""
    context = ReflexContext(now_s=1_000_000.0 + passed_s, allow_host=True)
    proposal = REFLEXES.propose("uptime", context)
    assert proposal is not None
    answer = REFLEXES.answer(proposal, context)
    assert answer is not None
    assert answer.text.endswith(shown)


@pytest.mark.parametrize(
    ("text", "value", "shown"),
    [
        ("what is the cpu usage?", "12.5", "12.5%"),
        ("how much memory is free", str(4 * GIB), "12.0 of 16.0 GiB used (75%)"),
        ("how much disk space is left?", str(25 * GIB), "25.0 GiB available"),
        ("how long has this server been up", "90061", "1 day, 1 hour and 1 minute."),
        ("how many cores does this machine have", "6", "6 logical"),
    ],
)
def test_the_host_is_measured(text: str, value: str, shown: str) -> None:
    """A question about the host is answered with its figures."""
    answer = ask(text)
    assert answer is not None
    assert answer.value == value
    assert shown in answer.text


def test_others_may_not_see_the_host() -> None:
    """Without permission nothing is proposed, and a proposal made with permission is not answered without it."""
    assert ask("what is the cpu usage?", allow_host=False) is None
    allowed = REFLEXES.propose("what is the cpu usage?", ReflexContext(now_s=0.0, allow_host=True))
    assert allowed is not None
    assert REFLEXES.answer(allowed, ReflexContext(now_s=0.0, allow_host=False)) is None


def test_what_the_system_does_not_tell_is_left_to_a_model() -> None:
    """A missing measurement makes the tool abstain."""
    assert ask("what is the load average") is None


def test_psutil_measures_this_machine() -> None:
    """The shipped measurements return plausible figures and never wait."""
    host = PsutilHost()
    assert host.cpu_percent() is None
    second = host.cpu_percent()
    assert second is not None
    assert 0 <= second <= 100
    for use in (host.memory(), host.disk()):
        assert use is not None
        assert 0 < use.available_bytes <= use.total_bytes
    assert (host.cpu_cores() or 0) >= 1
    assert host.load_average() is not None
    assert (host.boot_time_s() or 0) > 0
