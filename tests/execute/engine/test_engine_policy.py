"""When an engine is started again, and after how long."""

from __future__ import annotations

import pytest

from prefrontal.execute.engine.exits import EXIT_CANNOT_LOAD, EXIT_NO_ENGINE, describe_exit
from prefrontal.execute.engine.policy import AfterExit, EngineExit, RestartPolicy, after_exit

POLICY = RestartPolicy(base_delay_s=1.0, max_delay_s=5.0, jitter_share=0.2, max_quick_crashes=5, quick_s=60.0)


def crash(served_s: float | None = 1.0, code: int | None = -9, quick: int = 0, chance: float = 0.5) -> AfterExit:
    return after_exit(EngineExit(code=code, served_s=served_s), quick, POLICY, chance=chance)


def test_delays_double_up_to_the_cap() -> None:
    """Each quick crash doubles the delay until the largest is reached."""
    assert [crash(quick=quick).delay_s for quick in range(4)] == [1.0, 2.0, 4.0, 5.0]


@pytest.mark.parametrize(("chance", "delay_s"), [(0.0, 0.8), (0.5, 1.0), (1.0, 1.2)])
def test_jitter_spreads_the_delay(chance: float, delay_s: float) -> None:
    """The drawn number moves the delay by the jitter's share to both sides."""
    assert crash(chance=chance).delay_s == pytest.approx(delay_s)


def test_it_gives_up_after_the_allowed_quick_crashes() -> None:
    """The fifth quick crash in a row is the last, and the reason counts them."""
    last = crash(quick=4)
    assert last.delay_s is None
    assert "5 in a row" in last.reason


def test_a_long_service_clears_the_count() -> None:
    """An engine that served long is started again at once, as if it had never crashed."""
    assert crash(served_s=61.0, quick=4) == AfterExit(
        delay_s=0.0, quick_crashes=0, reason="It was killed by SIGKILL (out of memory?) after 61 s of service."
    )


@pytest.mark.parametrize("code", [EXIT_CANNOT_LOAD, EXIT_NO_ENGINE, 2])
def test_a_model_that_cannot_load_is_not_tried_again(code: int) -> None:
    """What would fail the same way fails at once."""
    assert crash(served_s=None, code=code).delay_s is None


def test_the_same_codes_after_service_are_crashes() -> None:
    """Once it was ready, an exit code no longer means that it cannot load."""
    assert crash(served_s=1.0, code=EXIT_CANNOT_LOAD).delay_s == 1.0


def test_a_start_that_timed_out_counts_as_a_crash() -> None:
    """Without an exit code the reason says that it was not ready in time."""
    late = crash(served_s=None, code=None)
    assert late.quick_crashes == 1
    assert "ready in time" in late.reason


@pytest.mark.parametrize(("code", "words"), [(-11, "SIGSEGV"), (-200, "signal 200"), (0, "by itself"), (77, "exit code 77")])
def test_exit_codes_are_named(code: int, words: str) -> None:
    """People read a signal's name or the code."""
    assert words in describe_exit(code)
