"""Every threat of docs/threat-model.md is held by a test, and every test named there exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "threat-model.md").read_text()
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def threats() -> list[str]:
    """Return the rows of the table of threats."""
    section = PAGE.split("\n## Threats\n")[1].split("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("|")][2:]


def test_every_threat_names_a_test() -> None:
    """A promise nobody checks is none."""
    assert len(threats()) >= 20
    assert [row for row in threats() if not TEST.search(row)] == []
    assert all(len(re.findall(r" \| ", row)) == 2 for row in threats())


def test_every_test_named_exists() -> None:
    """By file and function, so that a renamed test takes its threat along."""
    missing = []
    for file, name in TEST.findall(PAGE):
        path = ROOT / file
        tree = ast.parse(path.read_text()) if path.is_file() else ast.parse("")
        found = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        missing += [] if name in found else [f"{file}::{name}"]
    assert missing == []
