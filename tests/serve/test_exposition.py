"""The metrics of several workers on one page."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from prefrontal.serve.exposition import labelled, merged

ONE = """# HELP a_total Things.
# TYPE a_total counter
a_total{model="m {x}"} 2.0
# HELP g Now.
# TYPE g gauge
g 1.0
# HELP prefrontal_engine_ready Engines.
# TYPE prefrontal_engine_ready gauge
prefrontal_engine_ready{model="e"} 1.0
"""
TWO = """# HELP g Now.
# TYPE g gauge
g 4.0
# HELP a_total Things.
# TYPE a_total counter
a_total{model="m {x}"} 3.0
a_total{} 5.0
# HELP only Here.
# TYPE only gauge
only 9.0
# HELP prefrontal_engine_ready Engines.
# TYPE prefrontal_engine_ready gauge
prefrontal_engine_ready{model="e"} 1.0
"""


def test_samples_stay_with_their_family_and_say_their_worker() -> None:
    """A parser of the format reads the page: each family once, each sample with its worker, engines once."""
    page = merged({0: ONE, 2: TWO})
    found = {family.name: family for family in text_string_to_metric_families(page)}
    assert {name: len(family.samples) for name, family in found.items()} == {
        "a": 3,
        "g": 2,
        "prefrontal_engine_ready": 1,
        "only": 1,
    }
    assert {(s.labels.get("model"), s.labels["worker"]): s.value for s in found["a"].samples} == {
        ("m {x}", "0"): 2.0,
        ("m {x}", "2"): 3.0,
        (None, "2"): 5.0,
    }
    assert sum(sample.value for sample in found["g"].samples) == 5.0
    assert page.count("# TYPE g gauge") == 1


def test_one_page_alone_and_lines_without_labels() -> None:
    """A worker whose colleagues are silent shows itself."""
    assert 'g{worker="1"} 1.0' in merged({1: ONE})
    assert 'prefrontal_engine_ready{worker="1",model="e"}' in merged({1: ONE})
    assert labelled('h_bucket{le="+Inf"} 3', 7) == 'h_bucket{worker="7",le="+Inf"} 3'
