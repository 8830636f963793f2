"""Which reader takes a file: those that ship with the package, and those of other packages by entry point."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import PurePosixPath

import msgspec

from prefrontal.knowledge.read.apart import importable, read_apart
from prefrontal.knowledge.read.archive import read_tar, read_zip
from prefrontal.knowledge.read.documents import DOCUMENTS
from prefrontal.knowledge.read.html import read_html
from prefrontal.knowledge.read.mail import read_mail
from prefrontal.knowledge.read.notebook import read_notebook
from prefrontal.knowledge.read.reading import Reader, Reading, checked

ENTRY_POINT_GROUP = "prefrontal.readers"

SHIPPED = (
    Reader(name="html", endings=("html", "htm", "xhtml"), read=read_html, mapped=True),
    Reader(name="notebook", endings=("ipynb",), read=read_notebook, mapped=True),
    Reader(name="mail", endings=("eml",), read=read_mail, mapped=True),
    *DOCUMENTS.values(),
    Reader(name="zip", endings=("zip",), read=read_zip),
    Reader(name="tar", endings=("tar", "tgz", "tbz2", "txz", "tar.gz", "tar.bz2", "tar.xz"), read=read_tar),
)


class BrokenReader(msgspec.Struct, frozen=True, kw_only=True):
    """An entry point that gives no reader, and why."""

    name: str
    target: str
    reason: str


class Readers(msgspec.Struct, frozen=True, kw_only=True):
    """Readers by the ending they take, without its dot, and entry points that are broken."""

    by_ending: Mapping[str, Reader]
    broken: tuple[BrokenReader, ...] = ()

    def reader(self, path: str) -> Reader | None:
        """Return the reader of a file by its name, the longest ending first; None for plain text and unknown files."""
        _, *endings = PurePosixPath(path).name.lower().split(".")
        for n in range(len(endings)):
            found = self.by_ending.get(".".join(endings[n:]))
            if found is not None:
                return found
        return None


def readers(points: Iterable[EntryPoint] = ()) -> Readers:
    """Return the shipped readers and those that entry points name.

    An entry point of the group ``prefrontal.readers`` names a `Reader`. A broken one is reported in `broken` and stops nobody;
    one that takes an ending of a shipped reader takes its place.
    """
    by_ending = {ending: one for one in SHIPPED for ending in one.endings}
    broken: list[BrokenReader] = []
    for point in sorted(points, key=lambda one: one.name):
        try:
            found = point.load()
        except Exception as error:  # noqa: BLE001 - an edge: foreign code may fail in any way and must not take us along
            broken.append(BrokenReader(name=point.name, target=point.value, reason=f"{type(error).__name__}: {error}"))
            continue
        if not isinstance(found, Reader):
            broken.append(BrokenReader(name=point.name, target=point.value, reason=f"{type(found).__name__} is not a Reader."))
            continue
        by_ending.update(dict.fromkeys(found.endings, found))
    return Readers(by_ending=by_ending, broken=tuple(broken))


@lru_cache(maxsize=1)
def installed_readers() -> Readers:
    """Return the readers of this installation."""
    return readers(entry_points(group=ENTRY_POINT_GROUP))


def read(reader: Reader, data: bytes) -> Reading:
    """Return what a reader makes of a file, in a process of its own where the reader says so. Raises Unreadable only."""
    return read_apart(reader.name, data) if reader.apart and importable(reader.apart) else checked(reader, data)
