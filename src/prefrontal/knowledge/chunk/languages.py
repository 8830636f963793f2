"""What a file is, by its name: the kind of its chunks, how it is cut and, for code, its language."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Literal

import msgspec

from prefrontal.knowledge.shape import Kind

Cutter = Literal["prose", "python", "structure", "table", "rows"]


class FileType(msgspec.Struct, frozen=True, kw_only=True):
    """`name` is what filters and listings call the type, e.g. `markdown`, `python`, `csv`."""

    name: str
    kind: Kind
    cutter: Cutter
    language: str = ""


def _code(language: str) -> FileType:
    return FileType(name=language, kind="code", cutter="python" if language == "python" else "structure", language=language)


TEXT = FileType(name="text", kind="prose", cutter="prose")
PYTHON = _code("python")

_PROSE = {"markdown": "md markdown mdx", "rst": "rst", "text": "txt text log adoc org tex"}
_CODE = {
    "python": "py pyi pyw",
    "javascript": "js jsx mjs cjs",
    "typescript": "ts tsx mts",
    "java": "java",
    "kotlin": "kt kts",
    "c": "c h",
    "cpp": "cc cpp cxx hh hpp hxx",
    "csharp": "cs",
    "go": "go",
    "rust": "rs",
    "ruby": "rb",
    "php": "php",
    "swift": "swift",
    "scala": "scala",
    "lua": "lua",
    "perl": "pl pm",
    "shell": "sh bash zsh fish",
    "sql": "sql",
    "r": "r",
    "css": "css scss less",
    "terraform": "tf hcl",
    "protobuf": "proto",
}
_NAMES = {"makefile": _code("make"), "dockerfile": _code("docker"), "gemfile": _code("ruby"), "jenkinsfile": _code("groovy")}


def _table() -> dict[str, FileType]:
    found: dict[str, FileType] = {}
    for name, endings in _PROSE.items():
        found.update({ending: FileType(name=name, kind="prose", cutter="prose") for ending in endings.split()})
    for language, endings in _CODE.items():
        found.update({ending: _code(language) for ending in endings.split()})
    found.update({end: FileType(name=end, kind="table", cutter="table") for end in ("csv", "tsv")})
    found.update({end: FileType(name="json", kind="data", cutter="structure") for end in ("json", "geojson")})
    found.update({end: FileType(name="jsonl", kind="data", cutter="rows") for end in ("jsonl", "ndjson")})
    found.update({end: FileType(name="yaml", kind="data", cutter="structure") for end in ("yaml", "yml")})
    found.update({end: FileType(name=end, kind="data", cutter="structure") for end in ("toml", "ini", "cfg", "xml")})
    return found


_ENDINGS = _table()


def file_type(path: str) -> FileType:
    """Return the type by the name's ending; an unknown ending is taken for plain text."""
    name = PurePosixPath(path).name.lower()
    ending = name.rsplit(".", 1)[-1] if "." in name else ""
    return _ENDINGS.get(ending) or _NAMES.get(name) or TEXT
