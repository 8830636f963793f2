"""The documentation of the command line is generated, current and complete."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from prefrontal.cli.app import app
from prefrontal.cli.reference import commands, inserted, main

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def test_the_page_is_current() -> None:
    """`python -m prefrontal.cli.reference` would change nothing."""
    page = PAGE.read_text(encoding="utf-8")
    assert inserted(page) == page


def test_every_command_and_option_is_documented() -> None:
    """Each has a sentence of its own, and its name stands in the page."""
    page = PAGE.read_text(encoding="utf-8")
    found = commands(typer.main.get_command(app))
    assert len(found) >= 39
    for path, command in found:
        assert command.help, path
        section = page.split(f"### `prefrontal {path}`\n")[1].split("\n### ")[0]
        for parameter in command.params:
            assert parameter.help, f"{path} {parameter.name}"
            for name in parameter.opts if parameter.param_type_name == "option" else ():
                assert f"`{name}" in section, f"{path} {name}"


def test_every_command_that_shows_something_speaks_json() -> None:
    """`--json` is everywhere but where a person or a process stands at the other end."""
    without = {
        path for path, command in commands(typer.main.get_command(app)) if not any("--json" in p.opts for p in command.params)
    }
    assert without == {"serve", "chat"}


def test_writing_the_page(tmp_path: Path) -> None:
    """What stands between the markers is replaced, the rest stays; a page without markers is refused."""
    page = tmp_path / "cli.md"
    old = PAGE.read_text(encoding="utf-8")
    page.write_text(old.replace("### `prefrontal ask`", "### old"), encoding="utf-8")
    assert main([str(page)]) == 0
    assert page.read_text(encoding="utf-8") == old
    with pytest.raises(ValueError, match="needs the lines"):
        inserted("no markers")
