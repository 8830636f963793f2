"""Answers from engrams with their sources, and what passages gain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from prefrontal.cli.screen import DIM, Screen
from prefrontal.cli.session import Place, opened
from prefrontal.errors import InvalidRequest

if TYPE_CHECKING:
    from prefrontal.app.knowledge_eval import Arm, Evaluation
    from prefrontal.contracts.knowledge import CitedPassage, KnowledgeNote

MEANINGLESS = "This run tries the harness; its scores mean nothing."


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked, of which engrams. anyway: ask the model also when nothing is found."""

    names: tuple[str, ...]
    question: str
    model: str = "auto"
    scope: str = ""
    globs: tuple[str, ...] = ()
    anyway: bool = False


class Test(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure. check: only the harness is tried."""

    engram: str
    file: Path
    model: str
    arms: tuple[str, ...] = ()
    most: int | None = None
    parallel: int = 4
    seed: int = 7
    check: bool = False
    out: Path | None = None


async def ask(wish: Wish, place: Place, screen: Screen, *, as_json: bool) -> int:
    """Show the answer and what its numbers stand for; 1 when nothing was found and no model asked."""
    if not wish.question.strip():
        raise InvalidRequest("There is no question.", param="question")
    narrowed = {"scope": wish.scope, "paths": wish.globs}
    wishes = [{"name": name, **narrowed} for name in wish.names]
    options: dict[str, Any] = {"model": wish.model, "x_prefrontal": {"knowledge": wishes, "reflex": False}}
    async with opened(place) as pf:
        if not wish.anyway:
            from prefrontal.chat.request import EngramWish
            from prefrontal.contracts.knowledge import Wanted

            settings = pf.config.knowledge
            engrams = tuple([EngramWish(name=name, scope=wish.scope, paths=wish.globs) for name in wish.names])
            wanted = Wanted(engrams=engrams, asked=True, max_tokens=settings.max_tokens, threshold=settings.threshold)
            found = await pf.knowledge.find(wish.question.strip(), wanted)
            if not found.text:
                return _nothing(found.note, screen, as_json=as_json)
        if as_json:
            reply = await pf.chat(wish.question, **options)
            from prefrontal.machine.run import extension

            screen.json({"text": reply.text, **extension(reply.record)})
            return 0
        note = None
        async for piece in pf.stream(wish.question, **options):
            if piece.kind == "content":
                screen.write(piece.text)
            if piece.record is not None:
                note = piece.record.knowledge
        screen.line()
        if note is not None:
            _sources(note, screen)
    return 0


def _nothing(note: KnowledgeNote, screen: Screen, *, as_json: bool) -> int:
    if as_json:
        screen.json({"text": None, "knowledge": {"found": False, **msgspec.to_builtins(note)}})
    else:
        screen.note(f"Nothing was found: {note.reason}", "No model was asked; --anyway asks one without sources.")
    return 1


def _sources(note: KnowledgeNote, screen: Screen) -> None:
    if not note.citations:
        screen.note(f"Without sources: {note.reason}")
        return
    screen.line()
    cited = [one for one in note.citations if one.cited]
    for one in cited or note.citations:
        screen.line(f"[{one.number}] {_where(one)}  (version {one.version}, bytes {one.bytes[0]}-{one.bytes[1]})")
    if not cited:
        screen.note("The answer cites none of these passages, which it was given.")
    for problem in note.problems:
        what = "which there is not" if problem.problem == "unknown_number" else "where its quote does not stand"
        screen.note(f"The answer cites [{problem.number}], {what}.")
    if note.quotes_found:
        screen.note(f"{note.quotes_found} quotes were found in what they cite.", style=DIM)


def _where(one: CitedPassage) -> str:
    if one.page is not None:
        return f"{one.engram}: {one.path}, page {one.page}"
    return f"{one.engram}: {one.path}:{one.lines[0]}-{one.lines[1]}" if one.lines else f"{one.engram}: {one.path}"


async def evaluate(test: Test, place: Place, screen: Screen, *, as_json: bool) -> None:
    """Ask, score and show. Raises InvalidRequest for an unknown arm."""
    from prefrontal.app.knowledge_eval import ARMS, read_quiz
    from prefrontal.app.knowledge_eval import evaluate as run

    for arm in test.arms:
        if arm not in ARMS:
            raise InvalidRequest(f"There is no arm '{arm}'.", param="arm", hint=f"Known: {', '.join(ARMS)}.")
    quizzes = read_quiz(test.file, test.most)
    arms = cast("tuple[Arm, ...]", tuple(dict.fromkeys(test.arms)) or ARMS)

    def told(done: int) -> None:
        if screen.err_tty:
            screen.err.write(f"\r{done} answers\x1b[K")
            screen.err.flush()

    async with opened(place, records=False) as pf:
        found = await run(
            pf, test.engram, quizzes, model=test.model, arms=arms, parallel=test.parallel, seed=test.seed, told=told
        )
    if screen.err_tty:
        screen.err.write("\r\x1b[K")
    if test.out is not None:
        test.out.write_bytes(b"".join([msgspec.json.encode(one) + b"\n" for one in found.outcomes]))
    _show(found, test, screen, as_json=as_json)


def _show(found: Evaluation, test: Test, screen: Screen, *, as_json: bool) -> None:
    if as_json:
        shown = {name: value for name, value in msgspec.to_builtins(found).items() if name != "outcomes"}
        screen.json({**shown, "scores_mean_nothing": test.check})
        return
    headers = ("arm", "questions", "exact", "F1", "abstained", "withheld", "leaked", "errors")
    rows = []
    for arm in found.arms:
        shares = [f"{value:.3f}" for value in (arm.exact, arm.f1, arm.abstained, arm.withheld)]
        rows.append((arm.arm, str(arm.questions), *shares, str(arm.leaked), str(arm.errors)))
    screen.table(headers, rows, right=headers[1:])
    for which, gains in found.gains.items():
        for name, gain in gains.items():
            screen.line(f"{which} against closed, {name}: {gain.mean:+.3f} (95 %: {gain.low:+.3f} to {gain.high:+.3f})")
    if test.check:
        screen.note(MEANINGLESS)
