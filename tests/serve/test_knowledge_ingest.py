"""Taking files into engrams over HTTP: uploads, folders below the roots, jobs, removals; who may, and what is refused."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest

import prefrontal
from prefrontal.app.knowledge_jobs import Job, Jobs
from prefrontal.app.money import KeyDraft
from prefrontal.clock import Chance, SystemClock
from prefrontal.errors import InvalidRequest
from prefrontal.knowledge.store.engram import Engram
from prefrontal.ledger.memory import MemoryLedger
from prefrontal.serve.metrics import Metrics
from prefrontal.serve.multipart import parts_of
from prefrontal.serve.site import Site

ADMIN = "Bearer admin-key"
HERONS = b"# Herons\n\nThe heron nests in reeds.\n"


async def call(site: Site, method: str, path: str, body: Any = b"", key: str | None = ADMIN, **headers: str) -> tuple[int, Any]:
    """Ask the site, in process; return status and document."""
    path, _, query = path.partition("?")
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {**headers, **({"authorization": key} if key else {})}
    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "root_path": "", "scheme": "http",
        "query_string": urlencode(parse_qsl(query, keep_blank_values=True)).encode(), "client": ("127.0.0.1", 5000),
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()],
        "server": ("127.0.0.1", 4123), "extensions": {},
    }  # fmt: skip
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": data, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await site(scope, receive, send)
    return sent[0]["status"], json.loads(b"".join(message.get("body", b"") for message in sent[1:]))


@pytest.fixture
async def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """A gateway with an admin key, one ordinary key, and one folder that may be taken in."""
    monkeypatch.setattr("prefrontal.reflex.tools.Reflexes.warm", lambda _self: None)
    docs = tmp_path / "docs"
    (docs / "birds").mkdir(parents=True)
    (docs / "birds/heron.md").write_bytes(HERONS)
    (docs / "notes.txt").write_bytes(b"Invoices are paid within thirty days.")
    (tmp_path / "secret.txt").write_bytes(b"The safe opens at nine.")
    (docs / "link").symlink_to(tmp_path)
    config = {
        "discovery": {"enabled": False},
        "server": {"admin_keys": ["admin-key"], "api_keys": ["plain-key"]},
        "knowledge": {"roots": [str(docs)], "max_upload_bytes": 100_000},
    }
    env = {"PREFRONTAL_HOME": str(tmp_path / "home")}
    async with prefrontal.open(config, env=env, ledger=MemoryLedger()) as pf:
        yield Site(pf, Metrics(pf), instance="pf_test")


def form(**files: bytes) -> tuple[bytes, str]:
    """Return a form as a browser writes it, and its type."""
    parts = [
        b'--xyz\r\nContent-Disposition: form-data; name="files"; filename="%s"\r\nContent-Type: text/plain\r\n\r\n%s\r\n'
        % (name.replace("__", "/").encode(), data)
        for name, data in files.items()
    ]
    return b"".join(parts) + b"--xyz--\r\n", "multipart/form-data; boundary=xyz"


async def test_an_upload_is_taken_in_and_found(site: Site) -> None:
    """One file as it is, several in a form; the job tells what was done, and the next search finds them."""
    status, job = await call(site, "POST", "/v1/knowledge/birds/files?path=heron.md&wait=30&tag=bird", HERONS)
    assert (status, job["state"], job["kind"]) == (200, "done", "files")
    assert job["report"] | {"skipped": []} == {
        "version": 1, "added": 1, "changed": 0, "removed": 0, "unchanged": 0, "chunks": 1, "size_bytes": len(HERONS),
        "left_out": 0, "skipped": [],
    }  # fmt: skip
    body, kind = form(**{"a__owl.md": b"Owls hunt at night.\r\n--xy", "b.bin": b"\x00\x01\x02" * 50})
    status, job = await call(site, "POST", "/v1/knowledge/birds/files?prefix=more&wait=30", body, content_type=kind)
    assert (status, job["report"]["added"], job["report"]["left_out"]) == (200, 1, 1)
    assert job["report"]["skipped"][0]["reason"] == "binary"
    _, found = await call(site, "POST", "/v1/knowledge/birds/search", {"query": "who hunts at night"})
    assert found["results"][0]["path"] == "more/a/owl.md"
    with Engram(site.pf.knowledge.folder / "birds.engram") as engram:
        assert engram.content(engram.file("more/a/owl.md")) == b"Owls hunt at night.\r\n--xy"
        assert engram.file("heron.md").tags == ("bird",)
    _, jobs = await call(site, "GET", "/v1/knowledge/birds/jobs")
    assert [one["state"] for one in jobs["data"]] == ["done", "done"]


async def test_a_folder_below_the_roots_is_taken_in_and_updated(site: Site, tmp_path: Path) -> None:
    """By its whole path or one below a root; update sees what changed; a removed file is gone."""
    status, job = await call(site, "POST", "/v1/knowledge/all/ingest?wait=30", {"path": str(tmp_path / "docs"), "tags": ["x"]})
    assert (status, job["report"]["added"], job["report"]["left_out"]) == (200, 2, 1)
    assert job["report"]["skipped"][0] == {"path": "link", "reason": "link", "detail": "links are not followed"}
    (tmp_path / "docs/notes.txt").write_bytes(b"Invoices are paid within ten days, or never.")
    _, job = await call(site, "POST", "/v1/knowledge/all/update?wait=30")
    assert (job["state"], job["report"]["changed"], job["report"]["version"]) == ("done", 1, 2)
    _, job = await call(site, "POST", "/v1/knowledge/few/ingest?wait=30", {"path": "birds", "prefix": "b"})
    assert job["report"]["added"] == 1
    status, gone = await call(site, "DELETE", "/v1/knowledge/few/files/b/heron.md")
    assert (status, gone["version"]) == (200, 2)
    status, _ = await call(site, "DELETE", "/v1/knowledge/few/files/b/heron.md")
    assert status == 404


@pytest.mark.parametrize(
    "path", ["/etc", "..", "../secret.txt", "birds/../../secret.txt", "link/secret.txt", "link", "/", "docs/../.."]
)
async def test_nothing_outside_the_roots_is_taken_in(site: Site, path: str) -> None:
    """Not by its path, not by dots, not by a link: 403, and no engram is made."""
    status, refused = await call(site, "POST", "/v1/knowledge/bad/ingest", {"path": path})
    assert (status, refused["error"]["code"]) == (403, "permission_denied")
    assert not (site.pf.knowledge.folder / "bad.engram").exists()


@pytest.mark.parametrize("name", ["../x.md", "/etc/passwd", "a/../../b", "", "c:\\x", "x\\..\\..\\y", "CON", "a!/text"])
async def test_an_upload_cannot_be_called_what_leaves_a_folder(site: Site, name: str) -> None:
    """Neither in the query nor in a form."""
    status, refused = await call(site, "POST", f"/v1/knowledge/bad/files?{urlencode({'path': name})}", b"x")
    assert (status, refused["error"]["param"]) == (400, "path")
    if name:
        body, kind = form(**{name.replace("/", "__"): b"x"})
        status, refused = await call(site, "POST", "/v1/knowledge/bad/files", body.replace(b"\\", b"\\\\"), content_type=kind)
        assert status == 400


async def test_uploads_have_a_bound(site: Site) -> None:
    """Of all files together, and of a body that is read at all."""
    status, refused = await call(site, "POST", "/v1/knowledge/big/files?path=a.txt", b"x" * 100_001)
    assert (status, refused["error"]["code"]) == (413, "payload_too_large")
    status, _ = await call(site, "POST", "/v1/knowledge/big/files?path=a.txt", b"x" * 2_000_000)
    assert status == 413


WRITES = [
    ("POST", "/v1/knowledge/all/files?path=a.txt"), ("POST", "/v1/knowledge/all/ingest"), ("POST", "/v1/knowledge/all/update"),
    ("DELETE", "/v1/knowledge/all"), ("DELETE", "/v1/knowledge/all/files/notes.txt"), ("GET", "/v1/knowledge/all/jobs"),
    ("GET", "/v1/knowledge/all/jobs/job_1"), ("DELETE", "/v1/knowledge/all/jobs/job_1"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), WRITES)
async def test_only_admins_change_engrams(site: Site, method: str, path: str) -> None:
    """An ordinary key and a virtual key that may search everything are refused; nobody without a key gets in."""
    secret = (await site.pf.money.issue(KeyDraft(name="v", engrams=("*",)), "test")).secret
    for key, expected in (("Bearer plain-key", 403), (f"Bearer {secret}", 403), (None, 401)):
        status, _ = await call(site, method, path, {"path": "."}, key=key)
        assert status == expected, key
    assert not site.pf.knowledge.folder.exists() or not list(site.pf.knowledge.folder.glob("*.engram"))


async def test_a_page_in_a_browser_needs_an_admin_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no key is asked for, the person at this machine may, and a page that the person has open may not."""
    monkeypatch.setattr("prefrontal.reflex.tools.Reflexes.warm", lambda _self: None)
    env = {"PREFRONTAL_HOME": str(tmp_path)}
    async with prefrontal.open({"discovery": {"enabled": False}}, env=env, ledger=MemoryLedger()) as pf:
        site = Site(pf, Metrics(pf), instance="pf_test")
        path = "/v1/knowledge/mine/files?path=a.txt&wait=30"
        status, _ = await call(site, "POST", path, b"words of mine", key=None, origin="http://localhost:3000", host="localhost")
        assert status == 403
        status, _ = await call(site, "POST", path, b"words of mine", key=None, host="127.0.0.1")
        assert status == 200


async def test_what_was_done_is_in_the_audit_log(site: Site) -> None:
    """Each change with who, what and how much."""
    await call(site, "POST", "/v1/knowledge/log/files?path=a.md&wait=30", HERONS)
    await call(site, "POST", "/v1/knowledge/log/ingest?wait=30", {"path": "birds"})
    await call(site, "POST", "/v1/knowledge/log/update?wait=30")
    await call(site, "DELETE", "/v1/knowledge/log/files/a.md")
    await call(site, "DELETE", "/v1/knowledge/log")
    audits = await site.pf.money.vault.audits(10)
    kinds = ["remove", "remove_file", "update", "ingest", "files"]
    assert [(one.action, one.target) for one in audits] == [(f"knowledge.{kind}", "log") for kind in kinds]
    assert all(len(one.actor) == 12 for one in audits)


async def test_a_removed_engram_is_gone_for_searches_and_jobs(site: Site) -> None:
    """Its file, its index and what was known of its jobs; the next upload of that name begins anew."""
    await call(site, "POST", "/v1/knowledge/birds/files?path=heron.md&wait=30", HERONS)
    await call(site, "POST", "/v1/knowledge/birds/search", {"query": "heron"})
    status, gone = await call(site, "DELETE", "/v1/knowledge/birds")
    assert (status, gone) == (200, {"object": "engram.deleted", "id": "birds", "deleted": True})
    search = ("POST", "/v1/knowledge/birds/search", {"query": "heron"})
    for method, path, body in (search, ("DELETE", "/v1/knowledge/birds", b"")):
        status, _ = await call(site, method, path, body)
        assert status == 404
    assert {path.name for path in site.pf.knowledge.folder.iterdir()} == {"birds.engram.lock", ".jobs"}
    _, job = await call(site, "POST", "/v1/knowledge/birds/files?path=heron.md&wait=30", HERONS)
    assert job["report"]["version"] == 1


async def test_a_job_can_be_watched_and_stopped(site: Site) -> None:
    """Its progress is shown while it runs; asked to stop it ends, and the engram is what it was."""
    from prefrontal.knowledge.ingest.run import Progress, Report

    await call(site, "POST", "/v1/knowledge/birds/files?path=heron.md&wait=30", HERONS)

    def slow(_engram: Path, watch: Any) -> Report:
        import time

        for n in range(2000):
            watch(Progress(seen=n, taken=n, size_bytes=n, chunks=n))
            time.sleep(0.01)
        return Report(version=1)

    job = site.pf.knowledge.jobs.start("birds", "ingest", slow)
    while not (await call(site, "GET", f"/v1/knowledge/birds/jobs/{job.id}"))[1]["progress"].get("seen"):
        await site.pf.clock.sleep(0.02)
    status, refused = await call(site, "DELETE", "/v1/knowledge/birds")
    assert (status, refused["error"]["code"]) == (409, "conflict")
    status, _ = await call(site, "DELETE", f"/v1/knowledge/birds/jobs/{job.id}")
    assert status == 200
    _, shown = await call(site, "GET", f"/v1/knowledge/birds/jobs/{job.id}?wait=30")
    assert shown["state"] == "stopped"
    status, _ = await call(site, "GET", "/v1/knowledge/birds/jobs/../../x")
    assert status == 404


async def test_a_job_that_fails_says_why_without_saying_where(site: Site) -> None:
    """A damaged engram: the code of the error and its words, without the folders of the machine."""
    site.pf.knowledge.folder.mkdir(parents=True, exist_ok=True)
    (site.pf.knowledge.folder / "bad.engram").write_bytes(b"no database" * 500)
    _, job = await call(site, "POST", "/v1/knowledge/bad/files?path=a.md&wait=30", HERONS)
    assert (job["state"], job["error"]["code"]) == ("failed", "store_error")
    assert str(site.pf.knowledge.folder) not in json.dumps(job)


def _work_until_killed(folder: str, ready: Any) -> None:
    import asyncio
    import time

    async def main() -> None:
        jobs = Jobs(Path(folder), clock=SystemClock(), chance=Chance())

        def work(_engram: Path, _watch: Any) -> Any:
            time.sleep(60)

        job = jobs.start("e", "ingest", work)
        while jobs.job("e", job.id).state != "running":
            await jobs._clock.sleep(0.01)
        ready.send(job.id)
        await asyncio.Event().wait()

    asyncio.run(main())


async def test_another_process_sees_a_job_and_its_death(tmp_path: Path) -> None:
    """Workers share what they know of jobs; one whose process was killed has failed, whatever its state was."""
    here, there = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_work_until_killed, args=(str(tmp_path), there))
    process.start()
    try:
        job_id = here.recv()
        jobs = Jobs(tmp_path, clock=SystemClock(), chance=Chance())
        assert jobs.job("e", job_id).state == "running"
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join(10)
        found = jobs.job("e", job_id)
        assert (found.state, found.error and found.error["code"]) == ("failed", "interrupted")
    finally:
        process.kill()


def test_only_the_latest_jobs_are_remembered(tmp_path: Path) -> None:
    """Ended jobs of long ago are forgotten when a new one begins."""
    import asyncio

    async def main() -> list[Job]:
        jobs = Jobs(tmp_path, clock=SystemClock(), chance=Chance())
        from prefrontal.knowledge.ingest.run import Report

        for _ in range(55):
            job = jobs.start("e", "ingest", lambda _path, _watch: Report(version=1))
            await jobs.ended("e", job.id, 10)
        return jobs.jobs("e")

    found = asyncio.run(main())
    assert len(found) == 50
    assert {job.state for job in found} == {"done"}


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=xyz", b""),
        ("multipart/form-data; boundary=xyz", b'--xyz\r\nContent-Disposition: form-data; name="a"\r\n\r\nhalf'),
        ("multipart/form-data; boundary=xyz", b"--xyz\r\nno headers at all\r\n--xyz--"),
        ("multipart/form-data; boundary=xyz", b"--xyz\r\nA: b\r\n\r\nx\r\n--xyz--"),
        ("multipart/form-data; boundary=" + "x" * 71, b"--xyz--"),
        ("multipart/mixed; boundary=xyz", b"--xyz--"),
        ("multipart/form-data; boundary=xyz", b"--xyz\r\n\r\n\r\n" * 1500 + b"--xyz--"),
        ("multipart/form-data; boundary=xyz", b"--xyz\r\n" + b"a" * 9000 + b"\r\n\r\nx\r\n--xyz--"),
    ],
)
def test_bodies_that_are_no_form_are_refused(kind: str, body: bytes) -> None:
    """Cut short, without headers, with too many parts: each is an answer, not a crash."""
    with pytest.raises(InvalidRequest):
        parts_of(kind, body)


def test_a_form_gives_bytes_and_names_as_they_are() -> None:
    """Line ends, boundaries in the middle of a line, and names outside of ASCII."""
    data = b"\r\n--xy z\r\n\r\n\x00\xff"
    body = b'--xyz\r\nContent-Disposition: form-data; name="f"; filename="\xc3\xa4.txt"\r\n\r\n' + data + b"\r\n--xyz--\r\n"
    (part,) = parts_of('multipart/form-data; boundary="xyz"', body)
    assert (part.field, part.filename, part.data) == ("f", "ä.txt", data)
    extended = b"--xyz\r\nContent-Disposition: form-data; name=f; filename*=UTF-8''%C3%A4.txt\r\n\r\nx\r\n--xyz--"
    assert parts_of("multipart/form-data; boundary=xyz", extended)[0].filename == "ä.txt"
