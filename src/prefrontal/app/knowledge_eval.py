"""What do passages gain? The same questions to the same model, closed book and with an engram, also with wrong passages and none.

Four arms: `closed`: the question alone; `context`: as a request with ``x_prefrontal.knowledge`` is served; `distractor`: passages
that do not hold the answer, put in whatever their evidence; `unanswerable`: served, with the passages of the answer left out,
so that the right answer is none.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from prefrontal.chat.blocks import Text
from prefrontal.chat.request import ChatRequest, EngramWish, Hints, Message
from prefrontal.clock import Chance
from prefrontal.contracts.knowledge import Wanted
from prefrontal.errors import InvalidRequest, NotFound, PrefrontalError
from prefrontal.knowledge.grading import Gain, abstains, exact, f1, gain, holds
from prefrontal.machine.context import LIBRARY
from prefrontal.machine.knowledge import augmented
from prefrontal.prompts import template

if TYPE_CHECKING:
    from prefrontal.app.library import Prefrontal

Arm = Literal["closed", "context", "distractor", "unanswerable"]
ARMS: tuple[Arm, ...] = ("closed", "context", "distractor", "unanswerable")
SYSTEM = "knowledge_eval.v1"

MOST_TOKENS = 400
"""Cap on an answer, tokens (assumed: a short answer, and thinking of a small model before it)."""


class Quiz(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the file. Without answers the engram cannot answer it; `passage_id` is the file that holds the answer."""

    id: str = msgspec.field(name="_id")
    question: str
    answers: tuple[str, ...] = ()
    passage_id: str | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One answer. found: passages were put into the prompt; leaked: one of them held the answer, though it was to hold none."""

    id: str
    arm: Arm
    text: str
    exact: float = 0.0
    f1: float = 0.0
    abstained: bool = False
    found: bool = False
    leaked: bool = False
    error: str | None = None


class ArmScore(msgspec.Struct, frozen=True, kw_only=True):
    """Means over an arm's questions. withheld: share for which no passage was put in. A request that failed scores nothing."""

    arm: Arm
    questions: int
    exact: float
    f1: float
    abstained: float
    withheld: float
    leaked: int
    errors: int


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """All arms, and what each gains over `closed` on the questions both were asked."""

    model: str
    engram: str
    arms: tuple[ArmScore, ...]
    gains: dict[str, dict[str, Gain]]
    outcomes: tuple[Outcome, ...]


def read_quiz(file: Path, most: int | None = None) -> list[Quiz]:
    """Return the questions of a file of JSON lines, packed by gzip or not. Raises NotFound, InvalidRequest with the line."""
    try:
        data = file.read_bytes()
        lines = (gzip.decompress(data) if file.suffix == ".gz" else data).splitlines()
    except (OSError, EOFError) as error:
        raise NotFound(f"{file} cannot be read: {error}.") from error
    found: list[Quiz] = []
    for number, line in enumerate(lines, 1):
        if line.strip() and (most is None or len(found) < most):
            try:
                found.append(msgspec.json.decode(line, type=Quiz))
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                hint = 'A line is {"_id": …, "question": …, "answers": […], "passage_id": …}.'
                raise InvalidRequest(f"{file}:{number} is no question: {error}.", hint=hint) from error
    if not found:
        raise InvalidRequest(f"{file} has no questions.")
    return found


async def evaluate(
    pf: Prefrontal,
    engram: str,
    quizzes: Sequence[Quiz],
    *,
    model: str,
    arms: Sequence[Arm] = ARMS,
    parallel: int = 4,
    seed: int = 7,
    told: Callable[[int], None] = lambda _done: None,
) -> Evaluation:
    """Ask every question in every arm it fits, and score the answers. Raises NotFound for an unknown engram.

    parallel: requests at once. seed: of the bootstrap. told: is called with the number of answers so far.
    """
    await pf.knowledge.engram(engram)
    gate = asyncio.Semaphore(parallel)
    done = 0

    async def one(quiz: Quiz, arm: Arm) -> Outcome:
        nonlocal done
        async with gate:
            outcome = await _asked(pf, engram, quiz, model, arm)
        done += 1
        told(done)
        return outcome

    work: list[Awaitable[Outcome]] = [one(quiz, arm) for arm in arms for quiz in quizzes if _fits(quiz, arm)]
    outcomes = tuple(await asyncio.gather(*work))
    scores = tuple([_score(arm, [o for o in outcomes if o.arm == arm]) for arm in arms])
    gains = {arm: _gains(outcomes, arm, Chance(seed)) for arm in ("context", "distractor") if arm in arms and "closed" in arms}
    return Evaluation(model=model, engram=engram, arms=scores, gains={k: v for k, v in gains.items() if v}, outcomes=outcomes)


def _fits(quiz: Quiz, arm: Arm) -> bool:
    if arm == "unanswerable":
        return not quiz.answers or quiz.passage_id is not None
    return bool(quiz.answers) and (arm != "distractor" or quiz.passage_id is not None)


async def _asked(pf: Prefrontal, engram: str, quiz: Quiz, model: str, arm: Arm) -> Outcome:
    without = (_literal(quiz.passage_id),) if quiz.passage_id is not None else ()
    wish = EngramWish(name=engram, exclude=without if arm in ("distractor", "unanswerable") else ())
    hints = Hints(reflex=False, knowledge=(wish,) if arm in ("context", "unanswerable") else ())
    request = ChatRequest(
        model=model,
        messages=(
            Message(role="system", blocks=(Text(text=template(SYSTEM)),)),
            Message(role="user", blocks=(Text(text=quiz.question),)),
        ),
        max_output_tokens=MOST_TOKENS,
        hints=hints,
    )
    found = leaked = False
    try:
        if arm in ("distractor", "unanswerable"):
            threshold = 0.0 if arm == "distractor" else pf.config.knowledge.threshold
            tokens = pf.config.knowledge.max_tokens
            passages = await pf.knowledge.find(
                quiz.question, Wanted(engrams=(wish,), asked=True, max_tokens=tokens, threshold=threshold)
            )
            leaked = any(holds(one.text, quiz.answers) for one in passages.words)
            found = bool(passages.text)
            if arm == "distractor" and found:
                request = augmented(request, passages.text)
        answer = await pf.answer(request, LIBRARY)
    except PrefrontalError as error:
        return Outcome(id=quiz.id, arm=arm, text="", error=error.code)
    note = answer.record.knowledge
    text = answer.response.text
    return Outcome(
        id=quiz.id,
        arm=arm,
        text=text,
        exact=exact(text, quiz.answers),
        f1=f1(text, quiz.answers),
        abstained=abstains(text),
        found=found if arm == "distractor" else note is not None and bool(note.citations),
        leaked=leaked,
    )


def _literal(path: str) -> str:
    """Return a glob that matches one path only."""
    return "/" + "".join(f"[{sign}]" if sign in "*?[" else sign for sign in path)


def _score(arm: Arm, outcomes: Sequence[Outcome]) -> ArmScore:
    n = len(outcomes)

    def mean(values: Sequence[float]) -> float:
        return round(sum(values) / n, 4) if n else 0.0

    return ArmScore(
        arm=arm,
        questions=n,
        exact=mean([o.exact for o in outcomes]),
        f1=mean([o.f1 for o in outcomes]),
        abstained=mean([float(o.abstained) for o in outcomes]),
        withheld=mean([float(not o.found) for o in outcomes]),
        leaked=sum(o.leaked for o in outcomes),
        errors=sum(o.error is not None for o in outcomes),
    )


def _gains(outcomes: Sequence[Outcome], arm: Arm, chance: Chance) -> dict[str, Gain]:
    closed = {o.id: o for o in outcomes if o.arm == "closed"}
    pairs = [(o, closed[o.id]) for o in outcomes if o.arm == arm and o.id in closed]
    if not pairs:
        return {}
    return {
        name: gain([getattr(a, name) for a, _ in pairs], [getattr(b, name) for _, b in pairs], chance) for name in ("exact", "f1")
    }
