"""`prefrontal decisions export`, `review` and `evaluate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from prefrontal.cli.decisions import desk
from prefrontal.cli.keys import ACTOR
from prefrontal.cli.screen import Screen
from prefrontal.cli.session import Place, opened
from prefrontal.clock import Clock
from prefrontal.errors import InvalidRequest, StoreError

if TYPE_CHECKING:
    from prefrontal.decisions.training.judged import Report
    from prefrontal.decisions.training.synthetic import Line


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What to export, as the command line says it."""

    kind: str
    format: str
    answers: str
    distill: tuple[str, ...]
    least_sure: float
    synthetic: Path | None
    share: float


async def export(
    asked: Asked, folder: Path, place: Place, screen: Screen, clock: Clock, *, force: bool, as_json: bool
) -> None:
    """Write cases into a folder. Raises PrefrontalError."""
    from prefrontal.app.stores import alone
    from prefrontal.app.training import Trainer, Wanted
    from prefrontal.config.redact import Redactor, secrets_of
    from prefrontal.decisions.training.synthetic import accepted_cases
    from prefrontal.decisions.types import Types

    async with desk(place, clock) as here:
        types = Types(here.config.decisions)
        cases = () if asked.synthetic is None else tuple(accepted_cases(_lines(asked.synthetic), types.lookup))
        wanted = msgspec.convert(
            {
                "kind": asked.kind,
                "format": asked.format,
                "answer_form": asked.answers,
                "teachers": asked.distill,
                "least_sure": asked.least_sure,
                "share": asked.share,
            },
            Wanted,
        )
        redactor = Redactor(secrets_of(here.config))
        trainer = Trainer(here.outcomes, types, redactor, vault=alone(here.ledger, clock).vault, clock=clock)
        try:
            found = await trainer.export(msgspec.structs.replace(wanted, synthetic=cases), folder, ACTOR, force=force)
        except OSError as error:
            raise StoreError(f"{folder} cannot be written: {error.strerror or error}.") from None
    if as_json:
        screen.json(found)
        return
    screen.pairs([(f"{part}.jsonl", f"{count:,} lines") for part, count in found.rows.items()])
    for why, count in found.skipped.items():
        screen.note(f"Left out: {count:,} × {why}.")
    screen.note(f"The data card is {folder / 'README.md'}; read it before you train.")


def review(
    file: Path, screen: Screen, clock: Clock, *, accept: str | None, reject: str | None, by: str | None, as_json: bool
) -> None:
    """Write verdicts into a file of synthetic cases: those named, else one by one. Raises InvalidRequest, StoreError."""
    from prefrontal.decisions.training.synthetic import Verdict, numbers_in, reviewed

    lines = _lines(file)
    if not by:
        raise InvalidRequest("A review needs to say whose it is.", param="by", hint="--by NAME")
    verdicts: list[tuple[Verdict, str | None]] = [("accepted", accept), ("rejected", reject)]
    for verdict, text in verdicts:
        if text is not None:
            waiting = [number for number, line in enumerate(lines, 1) if line.review is None]
            lines = reviewed(lines, numbers_in(text, len(lines), open_ones=waiting), verdict, by, clock.now())
    if accept is None and reject is None:
        lines = _one_by_one(lines, screen, by, clock)
    _save(file, lines)
    counted = {
        "lines": len(lines),
        "accepted": sum([line.review is not None and line.review.verdict == "accepted" for line in lines]),
        "open": sum([line.review is None for line in lines]),
    }
    if as_json:
        screen.json(counted)
    else:
        screen.note(f"{counted['accepted']} of {counted['lines']} accepted, {counted['open']} open.")


def _one_by_one(lines: list[Line], screen: Screen, by: str, clock: Clock) -> list[Line]:
    """Show every open line and read its verdict: a(ccept), r(eject), s(kip), q(uit)."""
    from prefrontal.decisions.training.synthetic import reviewed

    for number, line in [pair for pair in enumerate(lines, 1) if pair[1].review is None]:
        screen.pairs(
            [
                ("line", f"{number} of {len(lines)}, made by {line.teacher or 'nobody named'}"),
                ("type", line.type),
                ("state", line.state if isinstance(line.state, str) else msgspec.json.encode(line.state).decode()),
                ("answer", str(line.answer)),
                *([("reason", line.reason)] if line.reason else []),
            ]
        )
        screen.note("a accept · r reject · s skip · q quit")
        said = sys.stdin.readline()
        word = said.strip().casefold()[:1]
        if not said or word == "q":
            break
        if word in ("a", "r"):
            lines = reviewed(lines, [number], "accepted" if word == "a" else "rejected", by, clock.now())
    return lines


async def evaluate(
    file: Path,
    models: tuple[str, ...],
    before: Path | None,
    place: Place,
    screen: Screen,
    clock: Clock,
    *,
    limit: int | None,
    at_once: int,
    as_json: bool,
) -> None:
    """Show how well models decide. Raises PrefrontalError."""
    from prefrontal.app.evaluating import evaluate as run
    from prefrontal.decisions.training.judged import read_cases, table

    cases = read_cases(_read(file))[:limit]
    earlier = () if before is None else _reports(before)
    async with opened(place) as pf:  # with its records: evaluating costs what any request costs, and calibrators apply
        reports = [await run(pf, model, cases, at_once=at_once) for model in models]
    if as_json:
        screen.json({"object": "evaluation", "at_s": clock.now(), "cases": len(cases), "reports": reports})
        return
    shown = [*earlier, *reports]
    headers = ("metric", *[one.model for one in shown], *(("difference",) if len(shown) == 2 else ()))
    screen.table(headers, table(shown), right=headers[1:])
    screen.note(f"{len(cases)} cases.")


def _reports(file: Path) -> tuple[Report, ...]:

    class Evaluation(msgspec.Struct):
        reports: tuple[Report, ...]

    try:
        return msgspec.json.decode(_read(file), type=Evaluation).reports
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"{file} is no evaluation: {error}.", param="before", hint="`evaluate --json` writes one.") from None


def _lines(file: Path) -> list[Any]:
    from prefrontal.decisions.training.synthetic import read_lines

    return read_lines(_read(file))


def _save(file: Path, lines: list[Line]) -> None:
    from prefrontal.decisions.training.synthetic import written

    part = file.with_name(f".{file.name}.part")
    try:
        part.write_bytes(written(lines))
        part.replace(file)
    except OSError as error:
        raise StoreError(f"{file} cannot be written: {error.strerror or error}.") from None


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise StoreError(f"{file} cannot be read: {error.strerror or error}.") from None
