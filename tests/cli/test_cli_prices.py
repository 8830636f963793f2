"""`prefrontal prices list`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[..., Any]

FILE = """
discovery: {enabled: false}
models:
  own: {profile: openai-compatible, endpoint: "http://127.0.0.1:9/v1", price: {input_usd: 2, output_usd: 8}}
  mystery: {profile: openai-compatible, endpoint: "http://127.0.0.1:9/v1"}
"""


def test_the_list_says_unknown_and_never_nothing(run: Run, folder: Path) -> None:
    """One line a model with amounts and where they are from."""
    (folder / "prefrontal.yaml").write_text(FILE)
    rows = {line.split()[0]: line.split() for line in run("prices", "list").stdout.splitlines()}
    assert rows["own"][1:6] == ["2", "8", "unknown", "unknown", "config"]
    assert rows["mystery"][1:6] == ["unknown"] * 5


def test_one_model_as_json_here_and_from_a_gateway(run: Run, folder: Path, serve: Run) -> None:
    """The same document as GET /v1/admin/prices; a model that is not there is an error."""
    (folder / "prefrontal.yaml").write_text(FILE)
    here = json.loads(run("prices", "list", "--model", "own", "--json").stdout)
    assert [(line["model"], line["source"], line["input_usd"]) for line in here["data"]] == [("own", "config", 2.0)]
    gateway = serve("--port", "0")
    there = json.loads(run("prices", "list", "--model", "own", "--json", "--url", gateway.url).stdout)
    assert there == here
    missing = run("prices", "list", "--model", "nobody", "--url", gateway.url)
    assert missing.exit_code != 0
    assert "nobody" in missing.stderr
