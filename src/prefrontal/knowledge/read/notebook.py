"""Jupyter notebooks: text cells as they are, code cells fenced, and what they printed."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from prefrontal.knowledge.read.reading import Lines, Reading, Seeker, Unreadable

MOST_OUTPUT = 2_000
"""Characters of one output that are kept (assumed: beyond, it is data)."""


def read_notebook(data: bytes) -> Reading:
    """Return the cells in order. Raises Unreadable when it is no notebook."""
    try:
        found = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable("invalid", f"not a notebook: {error}") from error
    if not isinstance(found, dict):
        raise Unreadable("invalid", "not a notebook: no cells")
    cells = found.get("cells")
    if not isinstance(cells, list):  # notebooks of format 3 keep them in worksheets
        sheets = found.get("worksheets")
        cells = (
            [c for sheet in sheets if isinstance(sheet, dict) for c in sheet.get("cells") or ()]
            if isinstance(sheets, list)
            else None
        )
    if cells is None:
        raise Unreadable("invalid", "not a notebook: no cells")
    language = _language(found)
    seeker, out = Seeker(data.decode("utf-8", "replace")), Lines()
    for cell in cells:
        if isinstance(cell, dict):
            _cell(cell, language, seeker, out)
    return out.reading(title=_title(cells))


def _cell(cell: dict[str, Any], language: str, seeker: Seeker, out: Lines) -> None:
    body = _text(cell.get("source", cell.get("input", "")))
    if not body.strip():
        return
    code = cell.get("cell_type") == "code"
    out.blank()
    if code:
        out.add(f"```{language}")
    _lines(body, seeker, out)
    if code:
        out.add("```")
    for output in cell.get("outputs") or () if code else ():
        text = _output(output)[:MOST_OUTPUT] if isinstance(output, dict) else ""
        if text.strip():
            out.blank()
            _lines(text, seeker, out)


def _lines(text: str, seeker: Seeker, out: Lines) -> None:
    for line in text.rstrip("\n").split("\n"):
        spelled = (json.dumps(line, ensure_ascii=False)[1:-1], json.dumps(line)[1:-1]) if line.strip() else ()
        out.add(line, seeker.line_of(spelled) if spelled else 0)


def _output(output: dict[str, Any]) -> str:
    if output.get("output_type") == "error":
        return f"{output.get('ename', '')}: {output.get('evalue', '')}"
    data = output.get("data")
    shown = data.get("text/markdown", data.get("text/plain", "")) if isinstance(data, dict) else output.get("text", "")
    return _text(shown)


def _text(source: object) -> str:
    if isinstance(source, list):
        return "".join(part for part in source if isinstance(part, str))
    return source if isinstance(source, str) else ""


def _language(notebook: dict[str, Any]) -> str:
    about = notebook.get("metadata")
    info = about.get("language_info") if isinstance(about, dict) else None
    name = info.get("name") if isinstance(info, dict) else None
    return name if isinstance(name, str) and name.isalnum() else ""


def _title(cells: list[Any]) -> str:
    for cell in cells:
        if isinstance(cell, dict) and cell.get("cell_type") == "markdown":
            first = _text(cell.get("source", "")).strip().split("\n", 1)[0]
            if first.startswith("#"):
                return first.lstrip("#").strip()
    return ""
