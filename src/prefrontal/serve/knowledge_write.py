"""Changing engrams over HTTP, for admins: uploads, folders below the roots, updates, removals, and the jobs that do the work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from prefrontal.app.knowledge_admin import FolderWish, refresh, remove, remove_file, take_folder, take_uploads
from prefrontal.app.knowledge_jobs import ENDED, Job
from prefrontal.errors import InvalidRequest
from prefrontal.serve.admin import actor_of
from prefrontal.serve.body import read_body
from prefrontal.serve.described import described
from prefrontal.serve.multipart import parts_of

if TYPE_CHECKING:
    from prefrontal.serve.site import Site

T = TypeVar("T")

FORM_BYTES = 1_048_576
"""What the frames of a form may add to its files (assumed)."""

LONGEST_WAIT_S = 60.0


class WaitParams(msgspec.Struct, frozen=True, kw_only=True):
    """How many seconds the answer may wait for the job to end."""

    wait: Annotated[float, msgspec.Meta(ge=0, le=LONGEST_WAIT_S)] = 0


class UploadParams(WaitParams, frozen=True, kw_only=True):
    """What the file is called where the body is no form, below which folder its files lie, and a tag for them."""

    path: str | None = None
    prefix: str | None = None
    tag: str | None = None


FORM = "The body is a form (multipart/form-data) of files, or one file whose name is `path`."


def knowledge_routes(site: Site) -> list[Route]:
    """Return the routes; `site` has let only admins in."""
    pages = KnowledgePages(site)
    return [
        Route("/v1/knowledge/{name}", pages.remove, methods=["DELETE"]),
        Route("/v1/knowledge/{name}/files", pages.files, methods=["POST"]),
        Route("/v1/knowledge/{name}/files/{path:path}", pages.remove_file, methods=["DELETE"]),
        Route("/v1/knowledge/{name}/ingest", pages.ingest, methods=["POST"]),
        Route("/v1/knowledge/{name}/update", pages.update, methods=["POST"]),
        Route("/v1/knowledge/{name}/jobs", pages.jobs, methods=["GET"]),
        Route("/v1/knowledge/{name}/jobs/{job_id}", pages.job, methods=["GET"]),
        Route("/v1/knowledge/{name}/jobs/{job_id}", pages.stop, methods=["DELETE"]),
    ]


class KnowledgePages:
    """The handlers, one a route."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._pf = site.pf

    @described("knowledge", query=UploadParams, like=FORM, also=(202,), fails=(404, 409, 429, 503))
    async def files(self, request: Request) -> Response:
        """Take in the files of the body."""
        server, limit = self._pf.config.server, self._pf.config.knowledge.max_upload_bytes + FORM_BYTES
        wait_s = _wait_s(request)
        body = await read_body(
            request.scope, request.receive, max_bytes=limit, idle_s=server.idle_timeout_s, clock=self._pf.clock
        )
        query = request.query_params
        kind = request.headers.get("content-type", "")
        prefix = query.get("prefix", "")
        if kind.lower().startswith("multipart/"):
            files = {_joined(prefix, part.filename): part.data for part in parts_of(kind, body) if part.filename}
        elif query.get("path"):
            files = {_joined(prefix, query["path"]): body}
        else:
            raise InvalidRequest("A body that is no form needs its file's name.", param="path", hint="POST …/files?path=NAME")
        job = await take_uploads(self._pf, request.path_params["name"], files, actor_of(request), tuple(query.getlist("tag")))
        return await self._shown(job, wait_s)

    @described("knowledge", body=FolderWish, query=WaitParams, also=(202,), fails=(404, 409, 429, 503))
    async def ingest(self, request: Request) -> Response:
        """Take in a folder of this machine."""
        wait_s = _wait_s(request)
        wish = _decoded(await self._site.body(request.scope, request.receive), FolderWish)
        job = await take_folder(self._pf, request.path_params["name"], wish, actor_of(request))
        return await self._shown(job, wait_s)

    @described("knowledge", query=WaitParams, also=(202,), fails=(400, 404, 409, 429, 503))
    async def update(self, request: Request) -> Response:
        """Bring an engram up to date with its folders."""
        wait_s = _wait_s(request)
        return await self._shown(await refresh(self._pf, request.path_params["name"], actor_of(request)), wait_s)

    @described("knowledge", fails=(400, 404, 409, 503))
    async def remove_file(self, request: Request) -> Response:
        """Take a file out of an engram."""
        name, path = request.path_params["name"], request.path_params["path"]
        version = await remove_file(self._pf, name, path, actor_of(request))
        return _answer({"object": "knowledge.file.deleted", "engram": name, "path": path, "version": version})

    @described("knowledge", fails=(400, 404, 409, 503))
    async def remove(self, request: Request) -> Response:
        """Remove an engram."""
        name = request.path_params["name"]
        await remove(self._pf, name, actor_of(request))
        return _answer({"object": "engram.deleted", "id": name, "deleted": True})

    @described("knowledge", many=True, fails=(400, 404, 503))
    async def jobs(self, request: Request) -> Response:
        """The latest jobs of an engram, the newest first."""
        found = self._pf.knowledge.jobs.jobs(request.path_params["name"])
        return _answer({"object": "list", "data": [_job(job) for job in found]})

    @described("knowledge", query=WaitParams, fails=(400, 404, 503))
    async def job(self, request: Request) -> Response:
        """How far a job is, at once or when it has ended."""
        name, job_id = request.path_params["name"], request.path_params["job_id"]
        job = self._pf.knowledge.jobs.job(name, job_id)
        found = await self._pf.knowledge.jobs.ended(job.engram, job.id, _wait_s(request))
        return _answer(_job(found))

    @described("knowledge", fails=(400, 404, 409, 503))
    async def stop(self, request: Request) -> Response:
        """Ask a job to stop."""
        return _answer(_job(self._pf.knowledge.jobs.stop(request.path_params["name"], request.path_params["job_id"])))

    async def _shown(self, job: Job, wait_s: float) -> Response:
        found = await self._pf.knowledge.jobs.ended(job.engram, job.id, wait_s)
        return _answer(_job(found), 200 if found.state in ENDED else 202)


def _job(job: Job) -> dict[str, object]:
    return {"object": "knowledge.job", **msgspec.to_builtins(job)}


def _joined(prefix: str, name: str | None) -> str:
    name = name or ""
    return f"{prefix.rstrip('/')}/{name}" if prefix else name


def _wait_s(request: Request) -> float:
    text = request.query_params.get("wait", "0")
    try:
        wait_s = float(text)
    except ValueError:
        wait_s = -1.0
    if not 0 <= wait_s <= LONGEST_WAIT_S:
        raise InvalidRequest(f"'{text[:20]}' is no number of seconds from 0 to {LONGEST_WAIT_S:g}.", param="wait")
    return wait_s


def _decoded(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        text, _, path = str(error).partition(" - at `$")
        raise InvalidRequest(f"The body is wrong: {text}.", param=path.strip("`.") or None) from error


def _answer(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")
