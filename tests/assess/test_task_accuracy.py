"""How often the task type is right, and whether the confidence says so honestly."""

import gzip
import json
from collections import defaultdict
from pathlib import Path

import pytest

from prefrontal.chat.request import Tool

ROOT = Path(__file__).parents[2]
PUBLIC = ROOT.parent / "shared" / "data" / "tasktype" / "prompts.jsonl.gz"
OWN = Path(__file__).parent / "data" / "prompts.jsonl"
NAMES = {"doc_qa": "document_qa"}


def own_prompts():
    return [json.loads(line) for line in OWN.read_text(encoding="utf-8").splitlines()]


def public_prompts():
    """The public collection where it is at hand, else our own sample: the floors below hold for both."""
    if not PUBLIC.exists():
        return own_prompts()
    with gzip.open(PUBLIC, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def judged(read):
    """(label, source, right?, confidence) of every prompt, read with its tools."""

    def judge(rows):
        out = []
        for row in rows:
            tools = tuple(Tool(name=name) for name in row.get("tools") or ())
            label = NAMES.get(row["label"], row["label"])
            found = read(row["prompt"], tools=tools)
            out.append((label, row["source"], found.task_type == label, found.confidence))
        return out

    return {"public": judge(public_prompts()), "own": judge(own_prompts())}


def macro(judged, column):
    groups = defaultdict(list)
    for row in judged:
        groups[row[column]].append(row[2])
    return sum(sum(right) / len(right) for right in groups.values()) / len(groups)


def test_the_mean_accuracy_over_task_types_stays_high(judged):
    """Macro accuracy by label holds the level reached, less two points."""
    assert macro(judged["public"], 0) >= 0.895


def test_the_mean_accuracy_over_sources_stays_high(judged):
    """No source is bought at the price of the others."""
    assert macro(judged["public"], 1) >= 0.915


def test_our_own_prompts_are_sorted_right(judged):
    """The committed sample, from no public source, holds its level."""
    assert macro(judged["own"], 0) >= 0.90


def test_confidence_is_no_boast(judged):
    """The rules are right at least as often as they claim, most of all where they are sure, and err more where they doubt."""
    rows = judged["public"]
    right = sum(row[2] for row in rows) / len(rows)
    sure = [row[2] for row in rows if row[3] >= 0.9]
    unsure = [row[2] for row in rows if row[3] < 0.7]
    assert sum(row[3] for row in rows) / len(rows) <= right + 0.02
    assert sum(sure) / len(sure) >= 0.9
    assert sum(unsure) / len(unsure) < sum(sure) / len(sure)


def test_half_of_the_prompts_are_decided_with_high_confidence(judged):
    """A confidence that never commits would be honest and useless."""
    confident = [row for row in judged["public"] if row[3] >= 0.9]
    assert len(confident) >= 0.5 * len(judged["public"])
