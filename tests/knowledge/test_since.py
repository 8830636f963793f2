"""Updates that look only at what Git names: the same engram as a whole update, and nothing of the repository is run."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from prefrontal.errors import InvalidRequest
from prefrontal.knowledge.ingest import run
from prefrontal.knowledge.ingest.run import ingest, update
from prefrontal.knowledge.ingest.since import changed_since
from prefrontal.knowledge.ingest.walk import Found, Source, picked, walk
from prefrontal.knowledge.store.engram import Engram, create
from prefrontal.testing.clock import FakeClock


def git(folder: Path, *words: str) -> None:
    own = {"GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@t", "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@t"}
    subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True, env=os.environ | own)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a folder of documents, an ignored file, and one commit."""
    root = tmp_path / "repo"
    (root / "docs/deep").mkdir(parents=True)
    for n in range(6):
        (root / f"docs/deep/f{n}.txt").write_text(f"words of file {n}")
    (root / "docs/ignored.log").write_text("noise")
    (root / ".gitignore").write_text("other/\n")
    (root / "docs/.gitignore").write_text("*.log\n!kept.log\n")
    (root / "outside.txt").write_text("outside of the documents")
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "first")
    return root


def engram_of(folder: Path, path: Path, prefix: str = "") -> Path:
    create(path, clock=FakeClock())
    ingest(path, [Source(root=str(folder), prefix=prefix)], clock=FakeClock())
    return path


def files(path: Path) -> list[tuple[str, str]]:
    with Engram(path) as engram:
        return sorted((file.path, file.sha256.hex()) for file in engram.files())


@pytest.mark.parametrize("prefix", ["", "manual"])
def test_an_update_since_a_revision_is_the_whole_update(repository: Path, tmp_path: Path, prefix: str) -> None:
    """Committed, changed, new, renamed, removed and newly ignored files: both ways give the same engram."""
    docs = repository / "docs"
    one = engram_of(docs, tmp_path / "one.engram", prefix)
    (docs / "deep/f0.txt").write_text("committed change")
    git(repository, "commit", "-qam", "second")
    (docs / "deep/f1.txt").write_text("change that is not committed")
    (docs / "deep/f2.txt").unlink()
    (docs / "deep/f3.txt").rename(docs / "renamed ü.txt")
    (docs / "new.log").write_text("ignored from birth")
    (docs / "kept.log").write_text("named by an exception")
    (docs / "link.txt").symlink_to(repository / "outside.txt")
    (repository / "outside.txt").write_text("changed, and none of our business")
    shutil.copy(one, tmp_path / "two.engram")
    told = update(one, clock=FakeClock(), since="HEAD~1")
    whole = update(tmp_path / "two.engram", clock=FakeClock())
    assert files(one) == files(tmp_path / "two.engram")
    assert (told.added, told.changed, told.removed) == (whole.added, whole.changed, whole.removed) == (2, 2, 2)
    with Engram(one) as a, Engram(tmp_path / "two.engram") as b:
        assert a.node() == b.node()


def test_only_what_git_names_is_looked_at(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No folder is walked; what changed without Git's knowledge of the revision is left for a whole update."""
    path = engram_of(repository / "docs", tmp_path / "one.engram")
    monkeypatch.setattr(run, "walk", lambda _source: pytest.fail("a folder was walked"))
    assert update(path, clock=FakeClock(), since="HEAD").version == 1
    (repository / "docs/deep/f4.txt").write_text("changed")
    report = update(path, clock=FakeClock(), since="HEAD")
    assert (report.changed, report.unchanged) == (1, 0)


def test_picking_every_file_is_walking(repository: Path) -> None:
    """Whatever a walk leaves out, picking leaves out too, for whole folders and for single files."""
    (repository / "other").mkdir()
    (repository / "other/x.txt").write_text("ignored folder")
    (repository / "node_modules").mkdir()
    (repository / "node_modules/x.js").write_text("never")
    (repository / "a.engram").write_text("an engram is not taken into one")
    every = [str(path.relative_to(repository)) for path in repository.rglob("*") if ".git/" not in f"{path}/"]
    for source in (
        Source(root=str(repository)),
        Source(root=str(repository), include=("*.txt",), exclude=("**/f1*",), prefix="p"),
        Source(root=str(repository), gitignore=False),
    ):
        assert sorted(map(repr, picked(source, every))) == sorted(map(repr, walk(source)))
    none = picked(Source(root=str(repository)), ["docs/ignored.log", "gone"])
    assert [one.path for one in none if isinstance(one, Found)] == []


@pytest.mark.parametrize("revision", ["nothing-of-this-name", "--output=x", "", "HEAD\x00", "-h"])
def test_what_is_no_revision_is_refused(repository: Path, revision: str) -> None:
    """Also what Git would take for an option."""
    with pytest.raises(InvalidRequest):
        changed_since(repository, revision)
    assert not (repository / "x").exists()


def test_outside_of_a_repository_it_is_said(tmp_path: Path) -> None:
    """And the engram stays as it is."""
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain/a.txt").write_text("a")
    path = engram_of(tmp_path / "plain", tmp_path / "one.engram")
    with pytest.raises(InvalidRequest, match="Git knows nothing"):
        update(path, clock=FakeClock(), since="HEAD")
    with Engram(path) as engram:
        assert [file.path for file in engram.files()] == ["a.txt"]


def test_a_repository_cannot_have_its_programs_run(repository: Path, tmp_path: Path) -> None:
    """Settings of the repository that name programs for looking at it are not obeyed."""
    script = tmp_path / "evil.sh"
    script.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    script.chmod(0o755)
    for name in ("core.fsmonitor", "diff.external", "diff.evil.textconv", "diff.evil.command"):
        git(repository, "config", name, str(script))
    (repository / ".gitattributes").write_text("* diff=evil\n")
    (repository / "docs/deep/f5.txt").write_text("changed")
    assert "docs/deep/f5.txt" in changed_since(repository, "HEAD")
    assert not (tmp_path / "ran").exists()
