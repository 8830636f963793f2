"""The card that goes with exported cases: what is in them, where it comes from, and what it is not. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import msgspec

from prefrontal.decisions.training.cases import TRUTHS, Case
from prefrontal.decisions.training.split import PARTS, Split

SAID_BY = {
    "human": "a person",
    "observed": "what happened afterwards",
    "model": "a model",
    "synthetic": "made up by a model, accepted by a person",
}


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for and what came of it. rows: lines written by part; skipped: records without a case, by reason."""

    kind: str
    format: str
    made_s: float
    version: str
    rows: Mapping[str, int]
    skipped: Mapping[str, int]
    repeated: int
    disputed: int
    teachers: tuple[str, ...] = ()
    synthetic: bool = False


def data_card(export: Export, split: Split) -> str:
    """Return the card as Markdown."""
    cases = [case for part in PARTS for case in split.parts[part]]
    teachers = ", ".join(export.teachers) or "none"
    truths = [case for case in cases if case.origin in TRUTHS]
    lines = [
        f"# Data card: {export.kind} cases, {export.format} form",
        "",
        f"Made by Prefrontal {export.version} on {_day(export.made_s)} from records of requests whose outcome is known.",
        "",
        "## What is in it",
        "",
        *_table(("file", "lines"), [(f"{part}.jsonl", str(export.rows.get(part, 0))) for part in PARTS]),
        "",
        *_table(("decision type", "cases"), _counted([_named(case) for case in cases])),
        "",
        *_table(("right answer", "cases"), _counted([f"{_named(case)}: {case.question.values[case.option]}" for case in cases])),
        "",
        "## Where it comes from",
        "",
        *_table(("label said by", "cases"), _counted([_said_by(case) for case in cases])),
        "",
        *_table(("answered then by", "cases"), _counted([case.model or "nobody" for case in cases])),
        "",
        f"- Requests from {_span(truths)}, of {split.groups} agents, sessions or keys.",
        "- Names are not in the files; `group` is a digest.",
        "- Only requests whose content was kept (`records.content`, and the key's own setting) are in it.",
        "- Secrets were replaced by `[redacted]`. Other personal data in the states is as callers sent it.",
        f"- Synthetic cases: {'accepted by a person; they are in `train` only' if export.synthetic else 'none'}.",
        f"- Labels of larger models: {teachers}.",
        "- A model's label is what it thought, not what is right: in `train` only, and marked in `origin` and `teacher`.",
        "",
        "## How it was split",
        "",
        f"- By agent and by time: `test` begins {_moment(split.cut_s)}.",
        f"- `test` has {split.test_groups} of {split.groups} agents, which `train` has not.",
        "- `validation` has later cases of the agents trained on.",
        f"- Repetitions left out: {export.repeated} (the same question about the same state but for spaces).",
        f"- Labels that disagree: {export.disputed} cases; the most trusted, then the newest, was taken.",
        *[f"- Left out: {count} × {why}." for why, count in sorted({**export.skipped, **split.left_out}.items())],
        "",
        "## What it is not",
        "",
        "- Cases were not drawn at random: they are those somebody said an outcome of.",
        "- States that mean the same in other words may lie on both sides of the split.",
        "- Nothing here says that the people in it agreed to training; that is for whoever runs this gateway to settle.",
        "",
    ]
    return "\n".join(lines)


def _named(case: Case) -> str:
    return case.question.type or ("choice of a model" if case.router is not None else "made for one request")


def _said_by(case: Case) -> str:
    said = SAID_BY[case.origin]
    return f"{said} ({case.teacher})" if case.teacher else said


def _counted(names: Iterable[str]) -> list[tuple[str, str]]:
    return [(name, str(count)) for name, count in sorted(Counter(names).items(), key=lambda item: (-item[1], item[0]))]


def _table(head: tuple[str, str], rows: list[tuple[str, str]]) -> list[str]:
    shown = [(name.replace("|", "\\|").replace("\n", " "), value) for name, value in rows] or [("none", "0")]
    return [f"| {head[0]} | {head[1]} |", "|---|---:|", *[f"| {name} | {value} |" for name, value in shown]]


def _span(cases: list[Case]) -> str:
    if not cases:
        return "no time"
    times = [case.at_s for case in cases]
    return f"{_day(min(times))} to {_day(max(times))}"


def _day(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d")


def _moment(at_s: float | None) -> str:
    return "nowhere" if at_s is None else datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
