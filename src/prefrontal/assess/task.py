"""The task type: the rules that hold add their points, the largest sum wins, and its lead says how sure that is."""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from prefrontal.assess.lexicon import count_cues
from prefrontal.assess.rules import Rules
from prefrontal.assess.text import TextView, opening
from prefrontal.contracts.assessment import TaskType


class TaskReading(NamedTuple):
    """The task type, how likely it is right (in [0, 1]), and the rules that spoke for it, strongest first."""

    task_type: TaskType
    confidence: float
    signals: tuple[str, ...]
    counts: dict[str, int]
    """Different hits of each cue in the request itself, for the complexity score."""


def read_task(view: TextView, request_facts: frozenset[str], rules: Rules, framing: tuple[str, ...] = ()) -> TaskReading:
    """Tell the task type of a text.

    Args:
        view: the text of the request.
        request_facts: facts of the request around it, a subset of :data:`prefrontal.assess.rules.REQUEST_FACTS`.
        rules: the loaded tables.
        framing: the words of a short system prompt; they count as part of the request.
    """
    ask = count_cues((*framing, *view.ask), rules.lexicon)
    for label in rules.lexicon.labels.keys() & view.labels:
        for name in rules.lexicon.labels[label]:
            ask[name] = ask.get(name, 0) + 1
    first = count_cues(opening(view.words, rules.courtesy), rules.lexicon)
    atoms = set(view.facts | request_facts)
    for zone, counts in (("", ask), ("open", first)):
        wanted = rules.atoms[zone]
        for name in wanted.keys() & counts.keys():
            n = counts[name]
            for least, atom in wanted[name]:
                if n >= least:
                    atoms.add(atom)
    task_type, lead, signals = _vote(atoms, rules)
    return TaskReading(task_type, _confidence(lead, rules.confidence), signals, ask)


def _vote(atoms: set[str], rules: Rules) -> tuple[TaskType, float, tuple[str, ...]]:
    """Return the winner, its lead in points over the runner-up, and the rules that spoke for it."""
    scores = dict(rules.prior)
    fired = []
    for rule in rules.rules:
        if rule.all <= atoms and (not rule.any or not rule.any.isdisjoint(atoms)) and rule.none.isdisjoint(atoms):
            fired.append(rule)
            for task_type, points in rule.points:
                scores[task_type] = scores.get(task_type, 0.0) + points
    winner = max(scores, key=lambda name: (scores[name], name))
    runner_up = max([points for name, points in scores.items() if name != winner], default=0.0)
    support = [(points, rule.name) for rule in fired for name, points in rule.points if name == winner and points > 0]
    support.sort(key=lambda pair: (-pair[0], pair[1]))
    return winner, scores[winner] - runner_up, tuple([name for _, name in support])


def _confidence(lead: float, table: tuple[tuple[float, float], ...]) -> float:
    """Read the measured accuracy at this lead off the table, linear between its rows."""
    i = bisect_right(table, lead, key=lambda row: row[0])
    if i == 0:
        return table[0][1]
    if i == len(table):
        return table[-1][1]
    (x0, y0), (x1, y1) = table[i - 1], table[i]
    return y0 + (y1 - y0) * (lead - x0) / (x1 - x0)
