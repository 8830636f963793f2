"""Encoders and vectors from the command line: learnt offline, added and pinned, used by a search, shown by stats."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]

TEXTS = ("grease the seal of the pump", "oil the bearing of the pump", "bake the bread in the oven", "salt the bread well")


@pytest.fixture
def demo(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An engram of a home of its own, and an encoder learnt from it."""
    monkeypatch.setenv("PREFRONTAL_HOME", str(folder / "home"))
    (folder / "docs").mkdir()
    for n, text in enumerate(TEXTS * 3):
        (folder / "docs" / f"{n}.txt").write_text(f"{text} ({n})")
    assert run("knowledge", "ingest", "docs", "-e", "demo").exit_code == 0
    result = run("knowledge", "encoder", "train", "own", "-e", "demo", "--dim", "4")
    assert (result.exit_code, result.stdout.split(",")[0]) == (0, "own: 4 dimensions")
    return folder / "home"


def test_vectors_are_made_and_used(run: Run, demo: Path, folder: Path) -> None:
    """`embed` encodes once; `search` then says ranks and share, `stats` what there is, and `--queries` goes by the same mode."""
    first = json.loads(run("knowledge", "embed", "demo", "--json").stdout)
    assert (first["filled"]["encoded"], first["encoder"]["name"]) == (12, "own")
    again = run("knowledge", "embed", "demo").stdout
    assert again.startswith("0 passages encoded, 0 taken over, 0 dropped")
    found = json.loads(run("knowledge", "search", "demo", "seal of a pump", "--mode", "hybrid", "-k", "2", "--json").stdout)
    assert found["results"][0]["blend"]["lexical_rank"] == 1
    lines = run("knowledge", "search", "demo", "seal of a pump", "--mode", "dense", "-k", "1").stdout.splitlines()
    assert lines[-1].startswith("   ranks: lexical ")
    assert "vectors count 100 %" in lines[-1]
    words = json.loads(run("knowledge", "search", "demo", "seal", "--mode", "lexical", "--json").stdout)
    assert "blend" not in words["results"][0]
    assert "own: 12 passages, 4 dimensions" in run("knowledge", "stats", "demo").stdout
    (folder / "q.jsonl").write_text('{"_id": "q1", "text": "seal of a pump"}\n')
    runs = {}
    for mode in ("lexical", "hybrid"):
        assert run("knowledge", "search", "demo", "--queries", "q.jsonl", "--run", "out.jsonl", "--mode", mode).exit_code == 0
        runs[mode] = json.loads((folder / "out.jsonl").read_text())["results"]
    assert runs["lexical"][0][1] != runs["hybrid"][0][1]


def test_encoders_are_listed_and_removed(run: Run, demo: Path) -> None:
    """An encoder is there until it is removed; then vectors cannot be asked for, and words still can."""
    (entry,) = json.loads(run("knowledge", "encoder", "list", "--json").stdout)
    assert (entry["name"], entry["kind"], entry["source"]) == ("own", "terms", "demo")
    assert "own" in run("knowledge", "encoder", "list").stdout
    assert run("knowledge", "embed", "demo").exit_code == 0
    weights = demo / "encoders" / "own" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    refused = run("knowledge", "search", "demo", "seal", "--mode", "dense")
    assert refused.exit_code != 0
    assert "is not the one that was added" in refused.stderr
    assert run("knowledge", "encoder", "remove", "own").exit_code == 0
    assert run("knowledge", "search", "demo", "seal", "--mode", "dense").exit_code != 0
    assert run("knowledge", "search", "demo", "seal").exit_code == 0
    assert run("knowledge", "encoder", "add", "unheard").exit_code != 0
    assert run("knowledge", "search", "demo", "seal", "--mode", "dense", "--beam", "2").exit_code != 0
