"""The reference of the command line, generated from the commands themselves.

``python -m prefrontal.cli.reference`` writes it into ``docs/cli.md``, between two markers.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

import typer

BEGIN = "<!-- reference: generated from the commands, do not edit by hand -->"
END = "<!-- end of the reference -->"
PAGE = Path("docs/cli.md")


def markdown() -> str:
    """Return the reference: one section a command, in the order of ``--help``."""
    from prefrontal.cli.app import app

    root = typer.main.get_command(app)
    sections = [_section("prefrontal", root)]
    for path, command in commands(root):
        sections.append(_section(f"prefrontal {path}", command))
    return "\n".join(sections).rstrip() + "\n"


def commands(group: Any, path: str = "") -> list[tuple[str, Any]]:
    """Return every command that can be run, with the words that run it."""
    found: list[tuple[str, Any]] = []
    for name, command in group.commands.items():
        words = f"{path} {name}".strip()
        if hasattr(command, "commands"):
            found += commands(command, words)
        else:
            found.append((words, command))
    return found


def inserted(page: str) -> str:
    """Return a documentation page with the reference between its two markers.

    Raises:
        ValueError: the page lacks a marker.
    """
    before, found, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not found or not end:
        raise ValueError(f"the page needs the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{markdown()}\n{END}{after}"


def _section(title: str, command: Any) -> str:
    parameters = [item for item in command.params if not getattr(item, "hidden", False)]
    arguments = [item for item in parameters if item.param_type_name == "argument"]
    options = [item for item in parameters if item.param_type_name == "option"]
    usage = " ".join([title, *[_usage(item) for item in arguments], *(["[OPTIONS]"] if options else [])])
    lines = [f"### `{title}`\n", f"`{usage}`\n", f"{inspect.cleandoc(command.help or '')}\n"]
    if arguments or options:
        lines += ["| argument or option | meaning | default |", "|---|---|---|"]
        lines += [f"| `{_cell(_usage(item))}` | {_cell(item.help)} | {_default(item)} |" for item in arguments]
        lines += [f"| {_names(item)} | {_cell(item.help)} | {_default(item)} |" for item in options]
        lines.append("")
    return "\n".join(lines)


def _usage(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    return name if argument.required or name.startswith("[") else f"[{name}]"


def _names(option: Any) -> str:
    spelled = [*option.opts, *option.secondary_opts]
    value = "" if option.is_flag else f" {_cell(option.metavar or 'TEXT')}"
    return ", ".join(f"`{name}{value if name.startswith('--') else ''}`" for name in sorted(spelled, key=len))


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|")


def _default(item: Any) -> str:
    if item.required:
        return "required"
    if item.default in (None, False, (), [], "") or callable(item.default):
        return ""
    return f"`{item.default}`"


def main(arguments: list[str]) -> int:
    """Write the page named in `arguments` (usually ``docs/cli.md``) anew."""
    page = Path(arguments[0]) if arguments else PAGE
    page.write_text(inserted(page.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
