"""Python: a passage is a function, a method, the head of a class, or what stands between them."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Sequence

from prefrontal.knowledge.chunk.pieces import Cut, Piece

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
Label = tuple[str, str]
"""Symbol and summary of a passage."""

SUMMARY_CHARACTERS = 300
"""A longer first paragraph of a docstring is no summary; its beginning counts (assumed)."""


def cut_python(pieces: Sequence[Piece], text: str) -> list[Cut] | None:
    """Return the starts of passages, or None when the text is not Python that the running interpreter can read."""
    if "\r" in text.replace("\r\n", ""):
        return None  # the parser ends lines there, we do not
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    first_piece: dict[int, int] = {}
    for i, piece in enumerate(pieces):
        first_piece.setdefault(piece.line, i)
    labels: dict[int, Label] = {}
    _visit(tree.body, (), labels, last=len(first_piece))
    cuts = {first_piece[_lead(pieces, first_piece, line)]: label for line, label in sorted(labels.items()) if line in first_piece}
    cuts.setdefault(0, ("", _summary(tree)))
    return [Cut(start=start, symbol=name, heading=summary) for start, (name, summary) in sorted(cuts.items())]


def _summary(node: Definition | ast.Module) -> str:
    """Return the first paragraph of the docstring: what its author calls it, as a heading does for a section."""
    paragraph = (ast.get_docstring(node) or "").split("\n\n", 1)[0]
    return " ".join(paragraph.split())[:SUMMARY_CHARACTERS]


def _visit(body: Sequence[ast.stmt], path: tuple[str, ...], labels: dict[int, Label], *, last: int) -> None:
    """Note the first line of each definition, and the line after it as belonging to what is around."""
    around = ".".join(path)
    for node in body:
        if not isinstance(node, Definition):
            continue
        name = (*path, node.name)
        start = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        labels[start] = (".".join(name), _summary(node))
        if isinstance(node, ast.ClassDef):
            _visit(node.body, name, labels, last=last)
        after = (node.end_lineno or node.lineno) + 1
        if after <= last:
            labels.setdefault(after, (around, ""))
    # A definition that starts right after another takes the line over, because it is noted later.


def _lead(pieces: Sequence[Piece], first_piece: dict[int, int], line: int) -> int:
    """Return the line of the comment that stands right above `line`, if there is one."""
    while line - 1 in first_piece and pieces[first_piece[line - 1]].text.lstrip().startswith("#"):
        line -= 1
    return line
