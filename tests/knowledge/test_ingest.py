"""Ingest takes in what is text, reports what is not, and an updated engram equals a fresh one."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prefrontal.errors import NotFound
from prefrontal.knowledge.ingest.corpus import Fields
from prefrontal.knowledge.ingest.decode import decode
from prefrontal.knowledge.ingest.run import ingest, ingest_bytes, ingest_corpus, update
from prefrontal.knowledge.ingest.walk import Found, Source, walk
from prefrontal.knowledge.shape import Shape
from prefrontal.knowledge.store.engram import Engram, create
from prefrontal.testing.clock import FakeClock

Make = Callable[..., Path]


def state(path: Path) -> tuple[object, ...]:
    """Everything that must be equal: files, passages, vectors, statistics and accumulators, byte for byte."""
    with Engram(path) as engram:
        files = []
        for file in engram.files():
            chunks = [msgspec.structs.replace(chunk, id=0, file=0) for chunk in engram.chunks(file.id)]
            vectors = [
                (one.length, *(a.tobytes() for a in (one.indices, one.values, one.terms, one.counts, one.flags)))
                for one in engram.encoded(file.id)
            ]
            files.append((file.path, file.sha256, file.type, engram.content(file), chunks, vectors))
        rows = engram.connection.execute("SELECT * FROM node ORDER BY path").fetchall()
    return files, rows


def tree(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        root.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        root.joinpath(name).write_bytes(data)
    return root


def test_a_folder_is_taken_in_and_given_reasons(make: Make, tmp_path: Path, clock: FakeClock) -> None:
    """Text comes in; binaries, large files, links and special files are reported with a reason, and nothing is fatal."""
    folder = tree(
        tmp_path / "f",
        {
            "a.md": b"# A\n\ntext\n",
            "b/c.py": b"def f():\n    pass\n",
            "bin.dat": b"\x00\x01",
            "big.txt": b"x" * 5000,
            "empty.txt": b"",
        },
    )
    folder.joinpath("link.md").symlink_to("a.md")
    os.mkfifo(folder / "pipe")
    path = make()
    report = ingest(path, [Source(root=str(folder), max_file_bytes=4000)], clock=clock)
    assert report.added == 3
    assert {one.path: one.reason for one in report.skipped} == {
        "bin.dat": "binary",
        "big.txt": "too_large",
        "link.md": "link",
        "pipe": "special",
    }
    with Engram(path) as engram:
        assert [(f.path, f.type, f.chunks) for f in engram.files()] == [
            ("a.md", "markdown", 1),
            ("b/c.py", "python", 1),
            ("empty.txt", "text", 0),
        ]


def test_unreadable_files_and_folders_are_reported(
    make: Make, tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that the system does not give is skipped; on an update what is known of it stays."""
    folder = tree(tmp_path / "f", {"a.txt": b"alpha", "b.txt": b"beta"})
    path = make(folder)
    folder.joinpath("b.txt").write_bytes(b"beta two")
    opened = os.open

    def refuse(name: str, *args: int) -> int:
        if str(name).endswith("b.txt"):
            raise PermissionError(13, "Permission denied")
        return opened(name, *args)

    monkeypatch.setattr(os, "open", refuse)
    report = update(path, clock=clock)
    assert [(one.path, one.reason) for one in report.skipped] == [("b.txt", "unreadable")]
    assert report.removed == 0
    with Engram(path) as engram:
        assert engram.content(engram.file("b.txt")) == b"beta"


def test_gitignore_is_honoured_in_every_folder(tmp_path: Path) -> None:
    """Rules of inner folders win, a folder that is ignored is not entered, and it can be switched off."""
    folder = tree(
        tmp_path / "f",
        {
            ".gitignore": b"*.log\nbuild/\n/only_top.txt\n",
            "a.txt": b"",
            "x.log": b"",
            "only_top.txt": b"",
            "build/b.txt": b"",
            "in/.gitignore": b"!keep.log\n",
            "in/keep.log": b"",
            "in/y.log": b"",
            "in/only_top.txt": b"",
            ".git/config": b"",
        },
    )
    names = {one.path for one in walk(Source(root=str(folder)))}
    assert names == {".gitignore", "a.txt", "in/.gitignore", "in/keep.log", "in/only_top.txt"}
    assert "x.log" in {one.path for one in walk(Source(root=str(folder), gitignore=False))}


def test_globs_choose_files(tmp_path: Path) -> None:
    """`include` and `exclude` go by the path below the folder; a prefix stands before the names."""
    folder = tree(tmp_path / "f", {"a.py": b"", "b/c.py": b"", "b/d.md": b"", "b/test_e.py": b""})
    found = [one.path for one in walk(Source(root=str(folder), prefix="p", include=("*.py",), exclude=("b/test_*",)))]
    assert found == ["p/a.py", "p/b/c.py"]


def test_a_single_file_is_a_source(tmp_path: Path) -> None:
    """Its name is its path; what is not there is not found."""
    tree(tmp_path, {"a.py": b"x"})
    found = list(walk(Source(root=str(tmp_path / "a.py"))))
    assert [one.path for one in found if isinstance(one, Found)] == ["a.py"]
    with pytest.raises(NotFound):
        list(walk(Source(root=str(tmp_path / "gone"))))


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (b"plain", "utf-8"),
        ("Käse".encode(), "utf-8"),
        ("\ufeffKäse".encode(), "utf-8"),
        ("\ufeffKäse".encode("utf-16-le"), "utf-16-le"),
        ("\ufeffKäse".encode("utf-16-be"), "utf-16-be"),
        (b"\x00\x01\x02", None),
        (bytes(range(1, 32)) * 40 + b"\xff", None),
        (b"\xff\xfe\x00\xd8", None),
    ],
)
def test_encodings_are_detected(data: bytes, encoding: str | None) -> None:
    """Marks and UTF-8 are recognised, binary data is called so."""
    found = decode(data)
    assert (found[1] if found else None) == encoding


def test_old_encodings_give_readable_text() -> None:
    """Western and Cyrillic text of old code pages is read as letters."""
    german = "Die Größe des Behälters übersteigt das zulässige Maß für Prüfungen.\n" * 20
    russian = "Насос перекачивает воду из нижнего бака в верхний бак.\n" * 20
    assert decode(german.encode("latin-1"))[0] == german  # type: ignore[index]
    assert "насос" in decode(russian.encode("cp1251"))[0].lower()  # type: ignore[index]


@given(st.binary(max_size=400))
def test_decoding_loses_nothing(data: bytes) -> None:
    """What is called text gives the same bytes again."""
    found = decode(data)
    assert found is None or found[0].encode(found[1]) == data


NAMES = st.sampled_from(["a.txt", "b.md", "d/a.txt", "d/b.py", "d/e/f.txt", "g/h.csv"])
CONTENT = st.sampled_from(
    [
        b"",
        b"alpha beta gamma\n",
        b"# H\n\nalpha delta\n\n## I\n\nbeta\n",
        b"def f(x):\n    return x\n\n\ndef g():\n    pass\n",
        b"a,b\n1,2\n",
        "Käse \u6771\u4eac".encode(),
    ]
)
STEP = st.one_of(
    st.tuples(st.just("write"), NAMES, CONTENT), st.tuples(st.just("delete"), NAMES), st.tuples(st.just("rename"), NAMES, NAMES)
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(STEP, max_size=5), min_size=1, max_size=4), st.sampled_from(["int8", "ternary"]))
def test_any_sequence_of_updates_equals_a_fresh_build(rounds: list[list[tuple[object, ...]]], mode: str) -> None:
    """Adding, changing, deleting and renaming in any order leaves exactly what ingesting the result at once would."""
    clock, shape = FakeClock(), Shape(mode=mode, nonzeros=40)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as room:
        folder, updated, fresh = Path(room, "files"), Path(room, "updated.engram"), Path(room, "fresh.engram")
        folder.mkdir()
        create(updated, clock=clock, shape=shape)
        ingest(updated, [Source(root=str(folder))], clock=clock)
        for steps in rounds:
            for step in steps:
                act(folder, *step)
            update(updated, clock=clock, full=True)
        create(fresh, clock=clock, shape=shape)
        ingest(fresh, [Source(root=str(folder))], clock=clock)
        assert state(updated) == state(fresh)


def act(folder: Path, verb: object, *names: object) -> None:
    first = folder / str(names[0])
    if verb == "write":
        first.parent.mkdir(parents=True, exist_ok=True)
        first.write_bytes(names[1])  # type: ignore[arg-type]
    elif verb == "delete":
        first.unlink(missing_ok=True)
    elif first.exists():
        second = folder / str(names[1])
        second.parent.mkdir(parents=True, exist_ok=True)
        first.rename(second)


@given(st.permutations(["a.txt", "d/b.md", "d/e/c.py", "z.csv"]))
@settings(max_examples=8, deadline=None)
def test_the_order_of_ingest_does_not_matter(names: list[str]) -> None:
    """Documents in another order give the same vectors and sums."""
    clock = FakeClock()
    with tempfile.TemporaryDirectory() as room:
        marks = []
        for order in (sorted(names), names):
            path = Path(room, f"{len(marks)}.engram")
            create(path, clock=clock)
            for name in order:
                ingest_bytes(path, name, f"# {name}\n\nalpha beta {name}\n".encode(), clock=clock)
            marks.append(state(path))
        assert marks[0] == marks[1]


def test_processes_prepare_what_one_process_prepares(make: Make, tmp_path: Path, clock: FakeClock) -> None:
    """Other processes give the same engram."""
    folder = tree(tmp_path / "f", {f"{n}/a{n}.md": f"# T{n}\n\nalpha {n} beta\n".encode() for n in range(12)})
    alone, helped = make(folder, name="alone"), make(name="helped")
    ingest(helped, [Source(root=str(folder))], clock=clock, workers=2)
    assert state(alone) == state(helped)


def test_only_what_changed_is_read_again(make: Make, tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Size, stamp and inode decide; a touched file is hashed and found the same; `full` reads all."""
    folder = tree(tmp_path / "f", {"a.txt": b"alpha", "b.txt": b"beta", "c.txt": b"gamma"})
    for name in ("a.txt", "b.txt", "c.txt"):
        os.utime(folder / name, ns=(10**18, 10**18))
    path = make(folder)
    folder.joinpath("b.txt").write_bytes(b"bets")
    os.utime(folder / "c.txt", ns=(10**18, 10**18 + 5 * 10**9))
    read: list[str] = []
    opened = os.open
    monkeypatch.setattr(os, "open", lambda name, *args: (read.append(Path(str(name)).name), opened(name, *args))[1])
    report = update(path, clock=clock)
    assert (report.changed, report.unchanged, report.version) == (1, 2, 2)
    assert {"b.txt", "c.txt"} == {name for name in read if name.endswith(".txt")}
    read.clear()
    assert update(path, clock=clock, full=True).version == 2
    assert "a.txt" in read


def test_a_file_changed_within_the_clocks_resolution_is_not_missed(make: Make, tmp_path: Path, clock: FakeClock) -> None:
    """A file written just before it is read is hashed again the next time, whatever its stamp says."""
    folder = tree(tmp_path / "f", {"a.txt": b"alpha"})
    stamp = int(clock.now() * 1e9)
    os.utime(folder / "a.txt", ns=(stamp, stamp))
    path = make(folder)
    folder.joinpath("a.txt").write_bytes(b"omega")
    os.utime(folder / "a.txt", ns=(stamp, stamp))
    assert update(path, clock=clock).changed == 1


def test_lost_files_go_and_lost_sources_do_not(make: Make, tmp_path: Path, clock: FakeClock) -> None:
    """A deleted file leaves the next version; a folder that is not there leaves the engram as it is."""
    folder = tree(tmp_path / "f", {"a.txt": b"alpha", "b.txt": b"beta"})
    path = make(folder)
    ingest_bytes(path, "note.txt", b"came from nowhere", clock=clock)
    folder.joinpath("a.txt").unlink()
    assert update(path, clock=clock).removed == 1
    with Engram(path) as engram:
        assert [file.path for file in engram.files()] == ["b.txt", "note.txt"]
        assert [file.path for file in engram.files(version=1)] == ["a.txt", "b.txt"]
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(NotFound, match="nothing was changed"):
        update(path, clock=clock)
    with Engram(path) as engram:
        assert len(list(engram.files())) == 2


def test_text_that_became_binary_goes(make: Make, tmp_path: Path, clock: FakeClock) -> None:
    """An update does not keep the old text of a file that is no text any more."""
    folder = tree(tmp_path / "f", {"a.txt": b"alpha"})
    path = make(folder)
    folder.joinpath("a.txt").write_bytes(b"\x00\x01\x02")
    report = update(path, clock=clock)
    assert (report.removed, [one.reason for one in report.skipped]) == (1, ["binary"])


def test_binary_files_can_be_kept(make: Make, tmp_path: Path, clock: FakeClock) -> None:
    """Kept binaries have no passages and come back as they were."""
    data = bytes(range(256)) * 700
    folder = tree(tmp_path / "f", {"a.bin": data})
    path = make()
    assert ingest(path, [Source(root=str(folder), keep_binary=True)], clock=clock).skipped == ()
    with Engram(path) as engram:
        file = engram.file("a.bin")
        assert (file.chunks, engram.content(file)) == (0, data)
        assert engram.content(file, 65_530, 65_545) == data[65_530:65_545]


def test_a_corpus_comes_as_it_is(make: Make, clock: FakeClock) -> None:
    """Documents are found under their ids; lines that are none are named by number."""
    lines = [
        b'{"_id": "d1", "title": "Pumps", "text": "They move water."}',
        b"not json",
        b"",
        b'{"_id": "d2", "text": 7}',
        b'{"text": "no id"}',
        b'{"_id": 3, "text": "def f(x):\\n    return x\\n"}',
    ]
    path = make()
    report = ingest_corpus(path, io.BytesIO(b"\n".join(lines)), clock=clock, name="c.jsonl")
    assert report.added == 2
    assert [(one.path, one.reason) for one in report.skipped] == [
        ("c.jsonl:2", "invalid"),
        ("c.jsonl:4", "invalid"),
        ("c.jsonl:5", "invalid"),
    ]
    with Engram(path) as engram:
        assert [(f.path, f.type, f.title) for f in engram.files()] == [("3", "python", ""), ("d1", "text", "Pumps")]


def test_a_corpus_may_name_its_fields(make: Make, clock: FakeClock) -> None:
    """Field names are parameters; a path field decides the type."""
    path = make()
    line = b'{"key": "k", "body": "function f() {}", "file": "src/a.js"}'
    ingest_corpus(path, io.BytesIO(line), clock=clock, fields=Fields(id="key", text="body", path="file"))
    with Engram(path) as engram:
        file = engram.file("k")
        assert (file.type, file.source) == ("javascript", "src/a.js")
