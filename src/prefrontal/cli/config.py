"""`prefrontal config check | show | schema | import-litellm`."""

from __future__ import annotations

from pathlib import Path

from prefrontal.cli.screen import Screen
from prefrontal.cli.session import Place, loaded
from prefrontal.errors import ConfigError, InvalidRequest


def check(place: Place, screen: Screen, *, as_json: bool) -> int:
    """Report every problem of the configuration; return 2 when there is one that forbids its use, else 0."""
    from prefrontal.config.problems import ConfigProblems, Problem
    from prefrontal.decisions.types import Types

    file: str | None = None
    try:
        found = loaded(place)
        Types(found.config.decisions)  # the rules of decision types are tried on their samples
        problems: tuple[Problem, ...] = ()
        warnings = found.warnings
        file = None if found.file is None else str(found.file)
    except ConfigProblems as error:
        problems, warnings, file = error.problems, (), error.file
    except ConfigError as error:
        place_of = Problem(message=error.message, rule=error.rule or "", path=error.path or "", file=error.file, hint=error.hint)
        problems, warnings = (place_of,), ()
    if as_json:
        screen.json({"ok": not problems, "file": file, "problems": problems, "warnings": warnings})
        return 2 if problems else 0
    for problem in problems:
        screen.line(problem.text)
    for warning in warnings:
        screen.line(f"warning: {warning.text}")
    if problems:
        screen.note(f"{len(problems)} problem{'s' if len(problems) > 1 else ''}; the file is not used as it is")
        return 2
    screen.line(f"{file or 'no file: the defaults'}: ok")
    return 0


def show(place: Place, screen: Screen, *, as_json: bool) -> None:
    """Print the tree in use, secrets masked, with the file it came from. Raises ConfigError."""
    from prefrontal.config.redact import redact
    from prefrontal.config.yaml_source import write_yaml

    found = loaded(place)
    tree = redact(found.config)
    file = None if found.file is None else str(found.file)
    if as_json:
        screen.json({"file": file, "hash": found.hash, "warnings": found.warnings, "config": tree})
        return
    screen.line(f"# {file or 'no file: defaults, the environment and what is discovered'}; tree {found.hash}")
    screen.write(write_yaml(tree))


def schema(screen: Screen) -> None:
    """Print the JSON Schema of the configuration file, as shipped."""
    from prefrontal.config.reference import shipped_schema

    screen.write(shipped_schema())


def import_litellm(file: Path, out: Path | None, place: Place, screen: Screen, *, as_json: bool) -> None:
    """Translate LiteLLM's configuration; what did not come along is said above it and on stderr.

    Raises:
        ConfigError: the file is not YAML. InvalidRequest: `out` exists already or cannot be written.
    """
    from prefrontal.config.import_litellm import import_litellm as translate
    from prefrontal.config.load import read_text
    from prefrontal.providers.catalogue import load_profiles

    imported = translate(read_text(file), file=str(file), profiles=tuple(load_profiles()))
    if out is not None:
        try:
            with out.open("x", encoding="utf-8") as target:  # a registry that somebody wrote is never overwritten
                target.write(imported.text)
        except FileExistsError as error:
            raise InvalidRequest(f"{out} exists already.", param="out", hint="Name a new file, or remove it first.") from error
        except OSError as error:
            raise InvalidRequest(f"{out} cannot be written: {error.strerror}.", param="out") from error
    if as_json:
        screen.json({"config": imported.config, "notes": imported.notes, "file": None if out is None else str(out)})
        return
    if out is None:
        screen.write(imported.text)
    else:
        screen.line(f"wrote {out}; check it with: prefrontal config check {out}")
    screen.note(*imported.notes)
