"""What is written to terminals and to pipes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from prefrontal.cli.screen import DIM, PLAIN
from prefrontal.cli.words import duration, money, size, tokens

ScreenOf = Callable[..., Any]


def test_styles_appear_on_terminals_only(screen_of: ScreenOf) -> None:
    """A pipe gets the text as it is."""
    screen, out, _ = screen_of(tty=True)
    screen.write("thinking", DIM)
    assert out.getvalue() == f"{DIM}thinking{PLAIN}"
    screen, out, _ = screen_of(tty=False)
    screen.write("thinking", DIM)
    assert out.getvalue() == "thinking"


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_color_is_respected(screen_of: ScreenOf, env: dict[str, str]) -> None:
    """NO_COLOR and dumb terminals get no escape sequences, in tables either."""
    screen, out, err = screen_of(tty=True, env=env)
    screen.write("a", DIM)
    screen.note("b", style=DIM)
    screen.table(("x",), [("1",)])
    assert "\x1b" not in out.getvalue() + err.getvalue()


def test_a_model_cannot_steer_the_terminal(screen_of: ScreenOf) -> None:
    """Escape sequences in an answer are disarmed on a terminal and kept on a pipe."""
    hostile = "a\x1b]0;title\x07b\x9b31mc\r\n\td"
    screen, out, _ = screen_of(tty=True)
    screen.write(hostile)
    assert out.getvalue() == "a]0;titleb31mc\n\td"
    screen, out, _ = screen_of(tty=False)
    screen.write(hostile)
    assert out.getvalue() == hostile


def test_tables_on_a_pipe_are_aligned_and_never_cut(screen_of: ScreenOf) -> None:
    """Numbers stand right, text left, and long cells stay whole."""
    screen, out, _ = screen_of(tty=False)
    screen.table(("name", "n"), [("a" * 200, "7"), ("b", "100")], right=("n",))
    lines = out.getvalue().splitlines()
    assert lines[1] == "a" * 200 + "    7"
    assert lines[2] == "b" + " " * 199 + "  100"
    assert lines[0] == "name" + " " * 196 + "    n"


def test_markup_in_cells_is_text(screen_of: ScreenOf) -> None:
    """A model named like markup is shown by its name."""
    screen, out, _ = screen_of(tty=True)
    screen.table(("name",), [("[bold]x[/bold]",)])
    assert "[bold]x[/bold]" in out.getvalue()


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "unknown cost"), (0.0, "$0"), (0.0000125, "$0.0000125"), (0.5, "$0.5"), (3.14159, "$3.14"), (0.00123456, "$0.00123")],
)
def test_money_has_the_digits_it_needs(value: float | None, shown: str) -> None:
    """Small amounts are not rounded to nothing, large ones not padded."""
    assert money(value) == shown


def test_other_numbers_read_well() -> None:
    """Times, sizes and context windows come in the unit that suits them."""
    assert [duration(ms) for ms in (0.7, 42.4, 1500, 600_000)] == ["0.7 ms", "42 ms", "1.5 s", "10.0 min"]
    assert [size(n) for n in (None, 10, 1536, 3 * 1024**3)] == ["?", "10 B", "1.5 KiB", "3.0 GiB"]
    assert [tokens(n) for n in (None, 131072, 200_000, 1234)] == ["?", "128k", "200k", "1,234"]
