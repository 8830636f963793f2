"""Files with text or files inside: taken in, searched, traced back, updated, given back."""

from __future__ import annotations

import io
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from prefrontal.knowledge.extract import extract
from prefrontal.knowledge.ingest.run import Report, ingest, update
from prefrontal.knowledge.ingest.walk import Source
from prefrontal.knowledge.present import shown
from prefrontal.knowledge.search.filters import Filter
from prefrontal.knowledge.search.searcher import Searcher
from prefrontal.knowledge.store.engram import Engram, create
from prefrontal.knowledge.verify import verify
from prefrontal.testing.clock import FakeClock

PAGE = "<html><head><title>Pumps</title></head>\n<body>\n<p>Nothing.</p>\n<h2>Seals</h2>\n<p>Grease the seal.</p></body></html>"


def zipped(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    return out.getvalue()


@pytest.fixture
def folder(tmp_path: Path, pdf: Callable[..., bytes]) -> Path:
    """A page, a PDF, and an archive with a page and a source file in it."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "page.html").write_text(PAGE)
    (folder / "lava.pdf").write_bytes(pdf("Volcanoes erupt", "Lava cools into basalt"))
    (folder / "code.zip").write_bytes(zipped({"src/ice.py": b"def glacier():\n    return 1\n", "in.html": b"<p>moraine</p>"}))
    (folder / "plain.txt").write_text("plain words")
    return folder


@pytest.fixture
def engram(tmp_path: Path, clock: FakeClock) -> Path:
    path = tmp_path / "it.engram"
    create(path, clock=clock)
    return path


def take(engram: Path, folder: Path, clock: FakeClock) -> Report:
    return ingest(engram, [Source(root=str(folder))], clock=clock)


def paths(engram: Path) -> list[str]:
    with Engram(engram) as opened:
        return [file.path for file in opened.files()]


EVERYTHING = [
    "code.zip",
    "code.zip!/in.html",
    "code.zip!/in.html!/text",
    "code.zip!/src/ice.py",
    "lava.pdf",
    "lava.pdf!/text",
    "page.html",
    "page.html!/text",
    "plain.txt",
]


def test_texts_and_members_are_files_of_their_own(engram: Path, folder: Path, clock: FakeClock) -> None:
    """What is inside is searched; the file around it is kept; all of it verifies."""
    report = take(engram, folder, clock)
    assert report.skipped == ()
    assert paths(engram) == EVERYTHING
    with Engram(engram) as opened:
        assert verify(opened).sound
        assert {file.path: file.type for file in opened.files()}["page.html!/text"] == "html"
        assert opened.file("page.html").chunks == 0


@pytest.mark.parametrize(
    ("question", "path", "lines", "page"),
    [
        ("grease seal", "page.html", [4, 5], None),
        ("basalt", "lava.pdf", None, 2),
        ("glacier", "code.zip!/src/ice.py", [1, 2], None),
        ("moraine", "code.zip!/in.html", [1, 1], None),
        ("plain", "plain.txt", [1, 1], None),
    ],
)
def test_a_result_leads_back_to_the_file_as_it_came(
    question: str, path: str, lines: list[int] | None, page: int | None, engram: Path, folder: Path, clock: FakeClock
) -> None:
    """Lines are those of the page's source, pages those of the PDF; the citation names bytes that hold the text."""
    take(engram, folder, clock)
    with Searcher(engram) as searcher:
        found = shown(searcher.search(question, k=1), searcher.engram, "it")[0]
        cited = found["citation"]
        data = searcher.engram.content(searcher.engram.file(cited["file"]), *cited["bytes"])
    assert (found["path"], found["lines"], found["page"]) == (path, lines, page)
    assert data.decode() == found["text"]


def test_filters_know_the_file_around_a_text(engram: Path, folder: Path, clock: FakeClock) -> None:
    """A glob or type that means the page finds its text."""
    take(engram, folder, clock)
    with Searcher(engram) as searcher:
        for where in (Filter(paths=("*.html",)), Filter(types=("html",))):
            assert [hit.path for hit in searcher.search("seal grease", where=where)] == ["page.html!/text"]
        assert searcher.search("seal grease", where=Filter(paths=("*.pdf",))) == []


def test_an_update_changes_what_is_inside_with_the_file(engram: Path, folder: Path, clock: FakeClock) -> None:
    """Unchanged files keep what is inside; of a changed one the old goes and the new comes; a lost one takes all along."""
    take(engram, folder, clock)
    assert update(engram, clock=clock).version == 1
    (folder / "code.zip").write_bytes(zipped({"other.md": b"# Fjord\n\nA fjord is deep."}))
    (folder / "lava.pdf").unlink()
    done = update(engram, clock=clock)
    assert (done.version, done.changed) == (2, 1)
    expected = ["code.zip", "code.zip!/other.md", "page.html", "page.html!/text", "plain.txt"]
    assert paths(engram) == expected
    fresh = engram.with_name("fresh.engram")
    create(fresh, clock=clock)
    take(fresh, folder, clock)
    with Engram(engram) as one, Engram(fresh) as other:
        assert one.node().total == other.node().total  # type: ignore[union-attr]  # both hold something
        assert verify(one).sound


def test_a_text_that_became_unreadable_goes_from_its_archive(engram: Path, folder: Path, clock: FakeClock) -> None:
    """A member that is binary now is reported and no longer searched."""
    take(engram, folder, clock)
    (folder / "code.zip").write_bytes(zipped({"src/ice.py": b"\x00\x01\x02", "in.html": b"<p>moraine</p>"}))
    done = update(engram, clock=clock)
    assert [(one.path, one.reason) for one in done.skipped] == [("code.zip!/src/ice.py", "binary")]
    assert "code.zip!/src/ice.py" not in paths(engram)


def test_a_missing_library_takes_nothing_away(
    engram: Path, folder: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an engram has of a PDF stays when the library is gone; without it a new one is reported and left out."""
    take(engram, folder, clock)
    monkeypatch.setitem(sys.modules, "pypdf", None)
    os.utime(folder / "lava.pdf", (1, 1))
    done = update(engram, clock=clock)
    assert [(one.path, one.reason) for one in done.skipped] == [("lava.pdf", "needs")]
    assert "lava.pdf!/text" in paths(engram)
    fresh = engram.with_name("fresh.engram")
    create(fresh, clock=clock)
    assert [one.path for one in take(fresh, folder, clock).skipped] == ["lava.pdf"]
    assert "lava.pdf" not in paths(fresh)


def test_a_folder_may_end_like_an_archive(engram: Path, folder: Path, clock: FakeClock) -> None:
    """A real folder called `x!` is a folder: its files survive updates and are given back."""
    (folder / "x!").mkdir()
    (folder / "x!" / "a.txt").write_text("alpha")
    (folder / "x").write_text("beta")
    take(engram, folder, clock)
    assert update(engram, clock=clock).version == 1
    with Engram(engram) as opened:
        assert "x!/a.txt" in extract(opened, folder.parent / "out").paths


def test_files_come_back_without_what_was_read_out_of_them(engram: Path, folder: Path, clock: FakeClock, tmp_path: Path) -> None:
    """Extraction gives the files that went in; what is inside comes only when asked for."""
    take(engram, folder, clock)
    with Engram(engram) as opened:
        done = extract(opened, tmp_path / "out")
        assert done.paths == ("code.zip", "lava.pdf", "page.html", "plain.txt")
        assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == {
            p.name: p.read_bytes() for p in folder.iterdir()
        }
        inside = extract(opened, tmp_path / "more", globs=["code.zip!/**"], inside=True)
    assert inside.paths == ("code.zip!/in.html", "code.zip!/in.html!/text", "code.zip!/src/ice.py")


def test_archives_are_opened_to_a_depth(engram: Path, tmp_path: Path, clock: FakeClock) -> None:
    """Archives in archives are opened, and not without end."""
    folder = tmp_path / "deep"
    folder.mkdir()
    data = b"<p>core</p>"
    name = "core.html"
    for n in range(4):
        data, name = zipped({name: data}), f"{n}.zip"
    (folder / name).write_bytes(data)
    done = take(engram, folder, clock)
    assert [one.reason for one in done.skipped] == ["too_deep"]
    assert paths(engram) == ["3.zip", "3.zip!/2.zip", "3.zip!/2.zip!/1.zip"]


def test_bombs_of_archives_in_archives_are_refused(engram: Path, tmp_path: Path, clock: FakeClock) -> None:
    """An archive whose archives are bombs gives nothing of them, and the ingest goes on."""
    folder = tmp_path / "bombs"
    folder.mkdir()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("zeros.txt", bytes(20_000_000))
    (folder / "bomb.zip").write_bytes(zipped({"inner.zip": out.getvalue()}))
    (folder / "good.txt").write_text("good")
    done = take(engram, folder, clock)
    assert [(one.path, one.reason) for one in done.skipped] == [("bomb.zip!/inner.zip", "bomb")]
    assert paths(engram) == ["bomb.zip", "good.txt"]


def test_other_processes_read_them_too(engram: Path, folder: Path, clock: FakeClock) -> None:
    """Readers work in worker processes, with the same result."""
    ingest(engram, [Source(root=str(folder))], clock=clock, workers=1)
    assert paths(engram) == EVERYTHING
