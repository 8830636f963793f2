"""The commands under `prefrontal decisions`."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from prefrontal.cli import options
from prefrontal.cli.edge import edge
from prefrontal.cli.options import place, system_clock
from prefrontal.cli.screen import Screen

decisions_app = typer.Typer(
    name="decisions",
    help="What turned out about decisions, and what is learned from it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class CaseKind(StrEnum):
    """What cases are about."""

    decision = "decision"
    router = "router"


class RowFormat(StrEnum):
    """Forms of exported cases."""

    chat = "chat"
    decision = "decision"
    preference = "preference"


class AnswerForm(StrEnum):
    """Forms of the answers in them."""

    code = "code"
    json = "json"


class Origin(StrEnum):
    """Who says what was right."""

    human = "human"
    observed = "observed"
    model = "model"


@decisions_app.command()
@edge
def outcome(
    trace: Annotated[str, typer.Argument(metavar="TRACE", help="The request, as x-prefrontal-trace named it.")],
    label: Annotated[str | None, typer.Option(metavar="VALUE", help="The right answer; of a yes_no: yes or no.")] = None,
    option: Annotated[int | None, typer.Option(metavar="N", min=0, help="The right answer by its index, from 0.")] = None,
    question: Annotated[str | None, typer.Option(metavar="NAME|N", help="Which question, where there are several.")] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of a routed request: the model that should have answered.")
    ] = None,
    reward: Annotated[float | None, typer.Option(metavar="N", min=-1, max=1, help="How good the answer was, -1 to 1.")] = None,
    origin: Annotated[Origin, typer.Option(metavar="human|observed|model", help="Who says so.")] = Origin.human,
    url: options.Url = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Say what turned out to be right about a request. Written here, or through the gateway that is named."""
    from prefrontal.cli.decisions import Told, tell

    told = Told(label=label, option=option, question=question, model=model, reward=reward, origin=origin.value)
    asyncio.run(tell(trace, told, place(config), Screen(), system_clock(), url=url, as_json=as_json))


@decisions_app.command()
@edge
def calibrate(
    least: Annotated[int, typer.Option(metavar="N", min=20, help="Labelled answers below which nothing is fitted.")] = 200,
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page with reliability diagrams there.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Fit calibrators to labelled answers; those better on held-out labels are used. A running gateway sees them in a minute."""
    from prefrontal.cli.decisions import calibrate as run

    asyncio.run(run(place(config), Screen(), system_clock(), least=least, report=report, dry_run=dry_run, as_json=as_json))


@decisions_app.command("export")
@edge
def export_cases(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where train, validation, test and the data card go.")],
    kind: Annotated[
        CaseKind, typer.Option(metavar="decision|router", help="Decisions, or choices of a model.")
    ] = CaseKind.decision,
    form: Annotated[
        RowFormat, typer.Option("--format", metavar="chat|decision|preference", help="What a line is.")
    ] = RowFormat.chat,
    answers: Annotated[
        AnswerForm, typer.Option(metavar="code|json", help="How answers are written in chats and preferences.")
    ] = AnswerForm.code,
    distill: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL|tier:N", help="Take this model's answers, or those of a tier and above, as labels; may be given again."
        ),
    ] = None,
    least_sure: Annotated[
        float, typer.Option(metavar="N", min=0, max=1, help="Confidence from which on such an answer is a label.")
    ] = 0.8,
    include_synthetic: Annotated[
        Path | None,
        typer.Option(metavar="FILE", exists=True, dir_okay=False, help="Add the accepted cases of this file, all reviewed."),
    ] = None,
    share: Annotated[float, typer.Option(metavar="N", min=0.01, max=0.9, help="Of agents and of time, held out.")] = 0.2,
    force: Annotated[bool, typer.Option("--force", help="Write into a folder that has files.")] = False,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Write cases out of records whose outcome is known, to train models with. Only what `records.content` kept is in it."""
    from prefrontal.cli.training import Asked, export

    asked = Asked(
        kind=kind.value,
        format=form.value,
        answers=answers.value,
        distill=tuple(distill or ()),
        least_sure=least_sure,
        synthetic=include_synthetic,
        share=share,
    )
    asyncio.run(export(asked, folder, place(config), Screen(), system_clock(), force=force, as_json=as_json))


@decisions_app.command()
@edge
def review(
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="Synthetic cases, one a line.")],
    accept: Annotated[str | None, typer.Option(metavar="LINES", help="Accept 3, 4-7, 3,9 or all that are open.")] = None,
    reject: Annotated[str | None, typer.Option(metavar="LINES", help="Reject them.")] = None,
    by: Annotated[str | None, typer.Option(metavar="NAME", envvar="USER", help="Who reviews.")] = None,
    as_json: options.Json = False,
) -> None:
    """Look at synthetic cases one by one and accept or reject each; the verdicts are written into the file."""
    from prefrontal.cli.training import review as run

    run(file, Screen(), system_clock(), accept=accept, reject=reject, by=by, as_json=as_json)


@decisions_app.command()
@edge
def evaluate(
    cases: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="An export in decision form.")],
    model: Annotated[list[str], typer.Option("--model", "-m", metavar="NAME", help="A model; may be given again.")],
    before: Annotated[
        Path | None,
        typer.Option(metavar="FILE", exists=True, dir_okay=False, help="What --json said earlier, to compare with."),
    ] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="Only the first cases.")] = None,
    at_once: Annotated[int, typer.Option(metavar="N", min=1, max=64, help="Cases asked at the same time.")] = 4,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Say how well models decide on cases with known answers: accuracy, order, form, terms, calibration."""
    from prefrontal.cli.training import evaluate as run

    models = tuple(dict.fromkeys(model))
    clock, screen = system_clock(), Screen()
    asyncio.run(run(cases, models, before, place(config), screen, clock, limit=limit, at_once=at_once, as_json=as_json))
