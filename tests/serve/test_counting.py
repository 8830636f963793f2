"""What requests add up to is what a scrape reads, as the client library itself would say it."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from prefrontal.serve.metrics import Counts, Spread

BOUNDS = (0.005, 0.5, 2.5, 10.0)
VALUES = (0.0, 0.005, 0.0051, 0.4999, 0.5, 3.0, 10.0, 10.1, 1e6)


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """All samples by name and labels, but for the moments of creation, which the library adds."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_counts_and_spreads_read_like_the_library_s_own() -> None:
    """The same additions give the same samples, bounds included."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    counts, spread, alone = (
        Counts("c", "Counted.", ("model", "kind")),
        Spread("s", "Spread.", ("model",), BOUNDS),
        Spread("a", "Alone.", (), BOUNDS),
    )
    for part in (counts, spread, alone):
        ours.register(part)
    counter = Counter("c", "Counted.", ["model", "kind"], registry=theirs)
    histogram = Histogram("s", "Spread.", ["model"], buckets=BOUNDS, registry=theirs)
    single = Histogram("a", "Alone.", buckets=BOUNDS, registry=theirs)
    for number, value in enumerate(VALUES):
        model = ("a", 'b"\n\\')[number % 2]
        counts.add((model, "x"), value)
        counter.labels(model, "x").inc(value)
        spread.add((model,), value)
        histogram.labels(model).observe(value)
        alone.add((), value)
        single.observe(value)
    counts.add(("a", "y"))
    counter.labels("a", "y").inc()
    found = samples(generate_latest(ours))
    assert found == samples(generate_latest(theirs))
    assert found["c_total", (("kind", "y"), ("model", "a"))] == 1.0
    assert found["s_bucket", (("le", "+Inf"), ("model", "a"))] == 5.0


def test_families_are_shown_before_anything_was_counted() -> None:
    """A dashboard finds every name from the start."""
    registry = CollectorRegistry()
    registry.register(Counts("c", "Counted.", ("model",)))
    registry.register(Spread("s", "Spread.", ("model",), BOUNDS))
    text = generate_latest(registry).decode()
    assert "# TYPE c_total counter" in text
    assert "# TYPE s histogram" in text
