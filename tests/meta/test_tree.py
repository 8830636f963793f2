"""What lies in the repository: nothing of one machine, no secret, tests that say what they expect, scripts that can run."""

from __future__ import annotations

import ast
import os
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"

MACHINE = re.compile(r"(?<![\w.])/(work|root|home/[a-z]+|Users/[A-Za-z]+)/|/tmp/[a-z]|\.pyenv/")
"""Paths that are right on one machine only."""

REGISTRIES = re.compile(
    "|".join(("python" + "hosted", "pypi" + r"\.org", "registry" + r"\.npmjs", "index" + "-url")), re.IGNORECASE
)
SECRETS = re.compile(
    r"(?<![A-Za-z0-9])(sk-(proj-|ant-)[A-Za-z0-9_-]{20,}|gsk_[A-Za-z0-9]{30,}|hf_[A-Za-z0-9]{30,}|ghp_[A-Za-z0-9]{30,}"
    r"|AIza[A-Za-z0-9_-]{35}|AKIA[A-Z0-9]{16}|xai-[A-Za-z0-9]{40,}|-----BEGIN [A-Z ]*PRIVATE KEY-----\n[A-Za-z0-9+/=\n]{100})"
)
MADE_UP = {
    "tests/config/litellm_proxy.yaml": "a made-up secret that the import must not copy",
    "tests/config/test_redact.py": "texts with the shape of keys are what it tests",
    "tests/meta/test_tree.py": "holds the patterns",
}
"""Files that may hold what looks like a secret or a path, and why."""


def tracked() -> list[Path]:
    """Return the text files of the project: those git knows, with those that would be added."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:  # an unpacked archive
        found = [path for path in ROOT.rglob("*") if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)]
    else:
        found = [ROOT / name for name in done.stdout.split("\0") if name]
    kinds = {".py", ".md", ".yaml", ".yml", ".toml", ".json", ".jsonl", ".html", ".css", ".js", ".sh", ""}
    return [path for path in found if path.is_file() and path.suffix in kinds]


def matching(pattern: re.Pattern[str]) -> list[str]:
    """Return the lines of all files that match, as file:line."""
    found = []
    for path in tracked():
        name = path.relative_to(ROOT).as_posix()
        if name in MADE_UP:
            continue
        text = path.read_text(errors="replace")
        found += [f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]}" for match in pattern.finditer(text)]
    return found


@pytest.mark.parametrize("pattern", [MACHINE, REGISTRIES, SECRETS], ids=["machine", "registries", "secrets"])
def test_no_file_knows_the_machine_it_was_written_on(pattern: re.Pattern[str]) -> None:
    """No file holds a path of one machine, the host of a package registry, or what looks like a key."""
    assert matching(pattern) == []


def test_every_test_says_what_it_expects() -> None:
    """Each test function has a docstring of one sentence or more that ends like one."""
    silent = []
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                said = (ast.get_docstring(node) or "").strip()
                if not said.endswith((".", "!", "?", ")", ":")):
                    silent.append(f"{path.relative_to(ROOT)}:{node.name}")
    assert silent == []


def test_names_of_test_files_are_unique() -> None:
    """No two test files share a name: reports and commands name them without their folder."""
    names = Counter(path.name for path in TESTS.rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


def test_nothing_is_skipped_on_purpose() -> None:
    """No test is marked to be skipped or expected to fail; what needs a missing program says so when it runs."""
    marks = re.compile(r"pytest\.mark\.(skip|xfail)|importorskip|unittest\.skip")
    found = [path.name for path in TESTS.rglob("test_*.py") if marks.search(path.read_text()) and path.name != "test_tree.py"]
    assert found == []


def test_the_script_for_ci_can_run() -> None:
    """`.ci/run` is executable, stops at the first failure, and is what bash understands."""
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    text = script.read_text()
    assert text.startswith("#!/usr/bin/env bash\n")
    assert "\nset -euo pipefail\n" in text
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
