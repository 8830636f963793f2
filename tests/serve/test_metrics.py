"""What a scrape shows, of real requests and of what lives beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

import prefrontal
from prefrontal.app.engine_memory import EngineMemory, Nvml
from prefrontal.clock import SystemClock
from prefrontal.contracts.assessment import Assessment, Needs
from prefrontal.contracts.record import Attempt, RequestRecord
from prefrontal.execute.engine.local import EngineStatus
from prefrontal.serve.metrics import Metrics
from prefrontal.testing.faults import Fault
from prefrontal.testing.upstream import MockUpstream

Sample = tuple[dict[str, str], float]


def scrape(metrics: Metrics, name: str) -> list[Sample]:
    """Return labels and value of each sample of that name."""
    families = text_string_to_metric_families(metrics.render().decode())
    return [(dict(s.labels), s.value) for family in families for s in family.samples if s.name == name]


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """Return the one sample with these labels, or None."""
    found = [v for shown, v in scrape(metrics, name) if labels.items() <= shown.items()]
    assert len(found) <= 1
    return found[0] if found else None


@pytest.fixture
async def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """A Prefrontal over a mock upstream, with its metrics."""
    monkeypatch.setattr("prefrontal.reflex.tools.Reflexes.warm", lambda _self: None)
    async with AsyncExitStack() as stack:
        up = await stack.enter_async_context(MockUpstream())
        model = {"profile": "openai-compatible", "endpoint": up.base_url, "key": "k", "price": {"input_usd": 1, "output_usd": 2}}
        config = {
            "models": {"m": model},
            "discovery": {"enabled": False},
            "limits": {"retries": {"attempts": 1}, "breaker": {"failures": 2}},
        }
        pf = await stack.enter_async_context(prefrontal.open(config, env={"PREFRONTAL_HOME": str(tmp_path)}))
        metrics = Metrics(pf)
        pf.observers.append(metrics.observe)
        yield SimpleNamespace(pf=pf, up=up, metrics=metrics)


def record(**fields: Any) -> RequestRecord:
    """Return a finished request with these fields."""
    plain: dict[str, Any] = {
        "id": "req_1",
        "started_s": 1.0,
        "route": "/v1/chat/completions",
        "dialect": "chat",
        "requested_model": "auto",
        "status": "ok",
        "answered_by": "model",
        "model": "m",
    }
    return RequestRecord(**{**plain, **fields})


async def test_success_time_and_cost_are_counted_by_model_and_task(gateway: Any) -> None:
    """Each assessed request counts once for its model and its task type; a named model is not assessed."""
    await gateway.pf.chat("Write a Python function that reverses a list.")
    await gateway.pf.chat("Hello", model="m")
    ((labels, count),) = scrape(gateway.metrics, "prefrontal_task_requests_total")
    assert (labels, count) == ({"model": "m", "task_type": "code", "status": "ok"}, 1.0)
    assert value(gateway.metrics, "prefrontal_task_duration_seconds_count", model="m", task_type="code") == 1.0
    assert (value(gateway.metrics, "prefrontal_task_duration_seconds_sum", model="m", task_type="code") or 0) > 0
    assert (value(gateway.metrics, "prefrontal_task_cost_usd_total", model="m", task_type="code") or 0) > 0
    assert value(gateway.metrics, "prefrontal_requests_total", model="m", status="ok") == 2.0


async def test_a_failed_task_counts_as_such_and_not_in_the_mean(gateway: Any) -> None:
    """The mean is of answers; errors have their own count."""
    needs = Assessment(task_type="math", complexity=0.5, needs=Needs(), confidence=1.0)
    gateway.metrics.observe(record(status="error", assessment=needs, duration_ms=9000.0))
    gateway.metrics.observe(record(assessment=needs, duration_ms=1000.0))
    assert value(gateway.metrics, "prefrontal_task_requests_total", task_type="math", status="error") == 1.0
    assert value(gateway.metrics, "prefrontal_task_duration_seconds_sum", task_type="math") == 1.0


async def test_only_calls_that_waited_are_in_the_queues_histogram(gateway: Any) -> None:
    """A wait of 0.2 s lies in its bucket; a call that found a place is not counted."""
    gateway.metrics.observe(record(attempts=(Attempt(model="m", queued_ms=200.0), Attempt(model="m"))))
    assert value(gateway.metrics, "prefrontal_queue_wait_seconds_count", model="m") == 1.0
    assert value(gateway.metrics, "prefrontal_queue_wait_seconds_bucket", model="m", le="0.25") == 1.0
    assert value(gateway.metrics, "prefrontal_queue_wait_seconds_bucket", model="m", le="0.1") == 0.0


async def test_the_breakers_state_is_shown(gateway: Any) -> None:
    """Closed after a success, open after failures in a row; exactly one state is 1."""
    await gateway.pf.chat("Hello", model="m")
    assert value(gateway.metrics, "prefrontal_breaker_state", model="m", state="closed") == 1.0
    gateway.up.fail(Fault(kind="status", status=500), Fault(kind="status", status=500))
    for _ in range(2):
        with pytest.raises(prefrontal.PrefrontalError):
            await gateway.pf.chat("Hello", model="m")
    shown = {labels["state"]: number for labels, number in scrape(gateway.metrics, "prefrontal_breaker_state")}
    assert shown == {"closed": 0.0, "half_open": 0.0, "open": 1.0}


async def test_spend_and_its_limit_are_shown(gateway: Any) -> None:
    """What discovered models cost today, beside what they may."""
    gateway.pf.machine.parts.meter.add(0.25, gateway.pf.clock.now())
    assert value(gateway.metrics, "prefrontal_discovered_spend_usd") == 0.25
    assert value(gateway.metrics, "prefrontal_discovered_spend_limit_usd") == 1.0


async def test_names_without_end_do_not_make_series_without_end(gateway: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound new labels are `other` in every family; what was there goes on being counted; nothing is lost."""
    needs = Assessment(task_type="math", complexity=0.5, needs=Needs(), confidence=1.0)
    most, many = 20, 70
    monkeypatch.setattr("prefrontal.serve.metrics.MOST_SERIES", most)
    for number in [*range(many), 0]:
        gateway.metrics.observe(record(model=f"p/{number}", duration_ms=1.0, assessment=needs))
    for name in (
        "prefrontal_requests_total",
        "prefrontal_request_duration_seconds_count",
        "prefrontal_task_duration_seconds_count",
    ):
        samples = scrape(gateway.metrics, name)
        assert len(samples) == most + 1
        assert sum(number for _, number in samples) == many + 1
        assert value(gateway.metrics, name, model="other") == float(many - most)
        assert value(gateway.metrics, name, model="p/0") == 2.0


def status(pid: int | None, rss: int | None, **fields: Any) -> EngineStatus:
    """Return an engine's status."""
    plain: dict[str, Any] = {
        "model_id": "tiny",
        "state": "ready" if pid else "stopped",
        "port": None,
        "load_time_s": 1.5,
        "restarts": 2,
        "in_flight": 0,
        "last_error": None,
        "stderr_tail": [],
    }
    return EngineStatus(**{**plain, "pid": pid, "rss_bytes": rss, **fields})


class Cards:
    """Accelerators that say what a test wants."""

    def __init__(self) -> None:
        self.used: dict[int, int] = {}

    def used_bytes(self) -> dict[int, int]:
        return self.used


async def test_an_engines_memory_has_a_mean_and_a_peak(gateway: Any) -> None:
    """Three samples of main memory and of an accelerator's; a new process begins anew; one that is down has none."""
    now = [status(7, 100)]
    cards = Cards()
    memory = EngineMemory(lambda: list(now), clock=SystemClock(), accelerators=cards)
    for rss, vram in ((100, 10), (400, 50), (250, 30)):
        now[:], cards.used = [status(7, rss)], {7: vram, 8: 999}
        await memory.measure()
    gateway.pf.engine_memory = memory
    gateway.pf.engines = SimpleNamespace(status=lambda: list(now))
    shown = {(x["kind"], x["stat"]): v for x, v in scrape(gateway.metrics, "prefrontal_engine_memory_bytes")}
    assert shown == {
        ("rss", "now"): 250.0,
        ("rss", "mean"): 250.0,
        ("rss", "peak"): 400.0,
        ("vram", "now"): 30.0,
        ("vram", "mean"): 30.0,
        ("vram", "peak"): 50.0,
    }
    assert value(gateway.metrics, "prefrontal_engine_ready", model="tiny") == 1.0
    assert value(gateway.metrics, "prefrontal_engine_load_seconds", model="tiny") == 1.5
    assert value(gateway.metrics, "prefrontal_engine_restarts_total", model="tiny") == 2.0
    now[:], cards.used = [status(9, 70)], {}
    await memory.measure()
    assert memory.of("tiny").rss is not None
    assert memory.of("tiny").rss.peak_bytes == 70  # type: ignore[union-attr]  # looked at above
    assert memory.of("tiny").vram is None
    now[:] = [status(None, None)]
    await memory.measure()
    assert memory.of("tiny").rss is None


def test_without_the_library_no_accelerator_is_measured() -> None:
    """The package is optional; without it, without a driver or when a question fails, nothing is told and nothing raised."""

    class Broken(Exception):
        pass

    def no_driver() -> None:
        raise Broken("no driver")

    def absent(_name: str) -> Any:
        raise ImportError

    assert Nvml(absent).used_bytes() == {}
    library = SimpleNamespace(NVMLError=Broken, nvmlInit=no_driver)
    assert Nvml(lambda _name: library).used_bytes() == {}
    library.nvmlInit = lambda: None
    library.nvmlDeviceGetCount = lambda: 2
    library.nvmlDeviceGetHandleByIndex = lambda index: index
    library.nvmlDeviceGetComputeRunningProcesses = lambda handle: [
        SimpleNamespace(pid=5, usedGpuMemory=10 * (handle + 1)),
        SimpleNamespace(pid=6, usedGpuMemory=None),
    ]
    nvml = Nvml(lambda _name: library)
    assert nvml.used_bytes() == {5: 30}
    library.nvmlDeviceGetCount = no_driver
    assert nvml.used_bytes() == {}
