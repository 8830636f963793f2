"""`prefrontal lens`: reading one text, and measuring a lens beside its formula."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from prefrontal.testing.upstream import MockUpstream

NAMES = ("computational", "scientific", "cultural", "experiential")
REPLY = json.dumps({name: {"activation": 1 - 0.2 * n, "note": "n"} for n, name in enumerate(NAMES)})


@pytest.fixture
def ranker(folder: Path, upstream: MockUpstream, write_config: Any, monkeypatch: pytest.MonkeyPatch) -> MockUpstream:
    """One model, which always ranks the domains in the same order."""
    monkeypatch.setenv("PREFRONTAL_HOME", str(folder / "home"))
    upstream.answers = lambda _request: REPLY
    write_config(upstream.base_url)
    return upstream


def test_one_text_is_read(run: Any, ranker: Any) -> None:
    """Who read it and what it sees; as JSON the whole state."""
    shown = run("lens", "read", "domains", "Sort a list")
    assert shown.exit_code == 0
    assert "computational 1.00" in shown.stdout
    found = json.loads(run("lens", "read", "domains", "Sort a list", "--model", "parrot", "--json").stdout)
    assert (found["source"], found["model"]) == ("model", "parrot")
    assert found["state"]["domains"]["cultural"]["activation"] == 0.6


def test_a_lens_is_measured_beside_its_formula(run: Any, ranker: Any, folder: Path) -> None:
    """On prompts of one's own, and on those that come along; the verdict is said in words."""
    lines = [f"c>s>u>e | Case {n}" for n in range(12)]
    labels = dict(zip("csue", NAMES, strict=True))
    (folder / "own.yaml").write_text(yaml.safe_dump({"labels": labels, "prompts": lines}))
    shown = run("lens", "evaluate", "domains", "--model", "parrot", "--data", "own.yaml")
    assert "+1.000" in shown.stdout
    assert "the lens ranks better than its formula" in shown.stdout
    found = json.loads(run("lens", "evaluate", "domains", "--limit", "5", "--json").stdout)
    assert (found["lens"]["prompts"], found["lens"]["by_model"]) == (5, 5)


@pytest.mark.parametrize("arguments", [("evaluate", "risk"), ("evaluate", "domain"), ("read", "x", "text")])
def test_what_cannot_be_done_is_said(run: Any, ranker: Any, arguments: Any) -> None:
    """A lens that ranks nothing, and names that are wrong."""
    shown = run("lens", *arguments)
    assert shown.exit_code == 1
    assert "lens" in shown.stderr
