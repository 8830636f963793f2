"""The dashboard and the scrape configuration that are shipped fit what the gateway says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy" / "grafana" / "prefrontal.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
LINES = [
    line.split("|") for line in (ROOT / "docs/operators-guide.md").read_text().splitlines() if line.startswith("| `prefrontal_")
]
GUIDE = {cells[1].strip(" `"): (re.findall(r"`(\w+)`", cells[2]), cells[3].strip()) for cells in LINES}
"""Metric → its labels and its meaning. That the guide names exactly what a scrape shows is tested beside it."""


def expressions() -> list[str]:
    """Return every query of the dashboard."""
    return [target["expr"] for panel in PANELS for target in panel.get("targets", ())]


def family(name: str) -> str:
    """Return the family a series belongs to: histograms and sums have suffixes."""
    bare = re.sub(r"_(bucket|sum|count)$", "", name)
    return bare if bare in GUIDE else name


def test_every_metric_the_dashboard_asks_for_exists() -> None:
    """A panel over a name that nobody writes would stay empty, and nobody would know why."""
    asked = {family(name) for text in expressions() for name in re.findall(r"\bprefrontal_[a-z_]+", text)}
    assert asked - set(GUIDE) == set()
    assert set(GUIDE) - asked == set(), "each metric has its place on the dashboard"


@pytest.mark.parametrize("expression", expressions())
def test_every_label_is_one_of_its_metrics(expression: str) -> None:
    """What is filtered or grouped by is a label of each metric in the query, or a histogram's bound."""
    names = re.findall(r"\bprefrontal_[a-z_]+", expression)
    for label in [
        *re.findall(r'(\w+)(?:=~|!=|=)"', expression),
        *re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", expression))),
    ]:
        for name in names:
            assert label in GUIDE[family(name)][0] or (label == "le" and name.endswith("_bucket")), (label, name)
    assert expression.count("(") == expression.count(")")
    assert expression.count("{") == expression.count("}")


def test_histograms_are_asked_for_their_buckets() -> None:
    """A quantile of anything else is nonsense, and a histogram has no series of its own name."""
    for expression in expressions():
        for name in re.findall(r"\bprefrontal_[a-z_]+", expression):
            if GUIDE[family(name)][1].startswith("histogram"):
                assert name.endswith("_bucket")
                assert "histogram_quantile" in expression


def test_panels_have_names_of_their_own_and_do_not_overlap() -> None:
    """Each has its id, its title and its place within the 24 columns."""
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


def test_nothing_of_one_installation_is_in_it() -> None:
    """The data source is chosen by whoever imports it."""
    sources = {json.dumps(panel["datasource"], sort_keys=True) for panel in PANELS if "datasource" in panel}
    assert sources == {'{"type": "prometheus", "uid": "${datasource}"}'}
    assert "id" not in DASHBOARD


def test_prometheus_scrapes_the_route_that_is_served() -> None:
    """The example is YAML, and names /metrics at the default port."""
    (job,) = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text())["scrape_configs"]
    assert job["metrics_path"] == "/metrics"
    assert job["static_configs"][0]["targets"] == ["127.0.0.1:4123"]
