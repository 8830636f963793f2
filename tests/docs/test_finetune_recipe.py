"""The fine-tuning recipe without its gigabytes: data read and refused, answers masked, options checked, a dry run."""

from __future__ import annotations

import importlib.util
import json
import random
import subprocess
import sys
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

RECIPE = Path(__file__).resolve().parents[2] / "examples" / "finetune" / "lora.py"


@pytest.fixture(scope="module")
def recipe() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("finetune_recipe", RECIPE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["finetune_recipe"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def row(number: int, answer: str = "A") -> dict[str, Any]:
    asked = [{"role": "system", "content": "Which?"}, {"role": "user", "content": f"state {number}"}]
    return {"messages": [*asked, {"role": "assistant", "content": answer}], "meta": {"origin": "human"}}


def data(folder: Path, *, train: list[Any], validation: list[Any]) -> Path:
    for name, rows in (("train", train), ("validation", validation)):
        (folder / f"{name}.jsonl").write_text("".join([json.dumps(one) + "\n" for one in rows]))
    return folder


def test_a_dry_run_needs_nothing_and_says_what_would_be_done(tmp_path: Path) -> None:
    """As a process of its own, without torch: counts, steps, the longest case; nothing is written."""
    data(tmp_path, train=[row(n, "AB"[n % 2]) for n in range(10)], validation=[row(99)])
    out = tmp_path / "out"
    command = [sys.executable, str(RECIPE), str(tmp_path), "--model", "none", "--out", str(out), "--batch", "4", "--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["train"], told["validation"], told["optimizer_steps"]) == (10, 1, 9)
    assert told["answers"] == {"A": 5, "B": 5}
    assert not out.exists()


def test_a_run_without_the_extra_says_how_to_get_it(tmp_path: Path, recipe: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Status 3 and the command."""
    data(tmp_path, train=[row(1)], validation=[])
    monkeypatch.setitem(sys.modules, "torch", None)
    assert recipe.main([str(tmp_path), "--model", "m", "--out", str(tmp_path / "o")]) == 3


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "no JSON"),
        ("{}", "no `messages`"),
        ('{"messages":[{"role":"user","content":"a"},{"role":"user","content":"b"}]}', "must be the answer"),
        ('{"messages":[{"role":"robot","content":"a"},{"role":"assistant","content":"b"}]}', "a role and a text"),
        ('{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":" "}]}', "must be the answer"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, recipe: ModuleType, line: str, said: str) -> None:
    """File, line and what is wrong."""
    data(tmp_path, train=[row(1)], validation=[])
    with (tmp_path / "train.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(recipe.BadData, match=f"train.jsonl:2: .*{said}"):
        recipe.read_data(tmp_path)


def test_what_judges_is_never_learned_from(tmp_path: Path, recipe: ModuleType) -> None:
    """A prompt in both files stops the run, and so does an empty train file."""
    data(tmp_path, train=[row(1), row(2)], validation=[row(2, "B")])
    with pytest.raises(recipe.BadData, match="1 prompts of the validation"):
        recipe.read_data(tmp_path)
    assert recipe.main([str(tmp_path), "--model", "m", "--out", "o", "--dry-run"]) == 1
    data(tmp_path, train=[], validation=[row(1)])
    with pytest.raises(recipe.BadData, match="no case"):
        recipe.read_data(tmp_path)


def test_only_the_answer_is_learned(recipe: ModuleType) -> None:
    """What stands before it is masked; a case that is too long is left out whole."""
    assert recipe.masked([1, 2, 3], [4, 5], 9) == ([1, 2, 3, 4, 5], [-100, -100, -100, 4, 5])
    assert recipe.masked([1, 2, 3], [4, 5], 4) is None
    assert recipe.masked([1], [], 9) is None


def test_every_case_is_seen_once_an_epoch(recipe: ModuleType) -> None:
    """In another order each time, the same for the same seed."""
    chance = random.Random(1)
    first, second = (list(recipe.batches(range(10), 4, chance)) for _ in range(2))
    assert sorted(chain(*first)) == sorted(chain(*second)) == list(range(10))
    assert first != second
    assert [len(one) for one in first] == [4, 4, 2]
    assert list(recipe.batches(range(10), 4, random.Random(1))) == first


@pytest.mark.parametrize("wrong", [("--epochs", "0"), ("--rank", "-1"), ("--dropout", "1"), ("--learning-rate", "2")])
def test_numbers_out_of_range_are_refused(recipe: ModuleType, wrong: tuple[str, str]) -> None:
    """With status 2, before anything is read."""
    with pytest.raises(SystemExit) as ended:
        recipe.main(["nowhere", "--model", "m", "--out", "o", *wrong])
    assert ended.value.code == 2
