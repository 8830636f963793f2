"""What users can name is documented: public names, routes, headers, errors, metrics, profiles, dialects, folders."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

import prefrontal
from prefrontal.chat.request import Hints
from prefrontal.errors import AllAttemptsFailed, PrefrontalError, every_error
from prefrontal.execute.meter import SpendMeter
from prefrontal.ledger.store import RecordFilter
from prefrontal.providers.catalogue import load_profiles
from prefrontal.providers.effort import load_dialects
from prefrontal.providers.reference import inserted
from prefrontal.serve.metrics import Metrics
from prefrontal.serve.origins import EXPOSED
from prefrontal.serve.routes import KNOWN, build_routes
from prefrontal.serve.site import HOT

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text()
HTTP = (DOCS / "http-api.md").read_text()
ERRORS = HTTP.split("## Errors")[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
LINK = re.compile(r"\]\((?!https?:)([^)\s#]*)(?:#([^)\s]+))?\)")


def rows(page: str, first_cell: str) -> Iterator[list[str]]:
    """Yield the cells of the tables' rows whose first cell matches."""
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if line.startswith("|") and re.fullmatch(first_cell, cells[0]):
            yield cells


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE):
        text = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
        found.add(text.strip().replace(" ", "-") if not text.endswith(" ") else text.replace(" ", "-"))
    return found


def test_every_public_name_has_its_place_in_the_python_page() -> None:
    """Each name of `prefrontal.__all__` is in docs/library.md, can be loaded, and says what it is."""
    page = (DOCS / "library.md").read_text()
    assert [name for name in prefrontal.__all__ if f"`{name}`" not in page] == []
    assert [name for name in prefrontal.__all__ if not name.startswith("__") and not getattr(prefrontal, name).__doc__] == []
    assert list(prefrontal.__all__) == sorted(prefrontal.__all__)


def routes() -> list[tuple[str, str]]:
    """Return method and path of everything that is served."""
    router = build_routes(SimpleNamespace(pf=None))  # type: ignore[arg-type]  # the handlers are not called
    cold = [
        (method, re.sub(r"\{(\w+):path\}", r"{\1}", route.path)) for route in router.routes for method in route.methods - {"HEAD"}
    ]
    return [*[("POST", path) for path in HOT], *cold]


def test_every_route_is_documented() -> None:
    """Each route stands with its method in the table of docs/http-api.md, and each route there is served."""
    served = {f"{method} {path}" for method, path in routes()}
    table = " ".join(cells[0] for cells in rows(HTTP, r"`(GET|POST|DELETE) /.*"))
    documented = set(re.findall(r"`((?:GET|POST|DELETE) /[^`]*)`", table)) | set(re.findall(r"(GET /\S*?)`", table))
    assert served - documented == set()
    assert documented - served == set()


def test_the_hint_for_a_missing_v1_knows_the_routes() -> None:
    """The paths of which a 404 may remind are those that are served."""
    paths = {path for _, path in routes() if path.startswith("/v1/") and "{" not in path}
    assert paths - set(KNOWN) <= {"/v1/config/reload"}
    assert set(KNOWN) <= paths


def test_every_error_is_documented_as_it_is() -> None:
    """Each code of the error tree stands in docs/http-api.md with its status, type and origin."""
    documented = {
        (cells[0].strip("`"), cells[1], cells[2].strip("`"), cells[3])
        for cells in rows(ERRORS, r"`[a-z_]+`")
        if cells[1].isdigit()
    }
    for cls in every_error():
        if cls not in (PrefrontalError, AllAttemptsFailed):
            assert (cls.code, str(cls.status), cls.type, cls.origin) in documented, cls.__name__
    assert {code for code, *_ in documented} == {cls.code for cls in every_error()}


def test_every_header_is_documented() -> None:
    """Each header that pages of other origins may read, and each of ours in the code, is in docs/http-api.md."""
    source = "".join(path.read_text() for path in (ROOT / "src/prefrontal/serve").glob("*.py"))
    ours = set(re.findall(r'b"(x-[a-z-]+|retry-after[a-z-]*)"', source)) | set(EXPOSED.decode().split(", "))
    quiet = {"x-accel-buffering"}  # speaks to a proxy, not to a client
    assert sorted(name for name in ours - quiet if f"`{name}`" not in HTTP) == []


def test_every_hint_is_documented() -> None:
    """Each key of `x_prefrontal` in a request has a row in docs/http-api.md."""
    assert [name for name in Hints.__struct_fields__ if not list(rows(HTTP, f"`{name}`"))] == []


def test_every_filter_of_traces_is_documented() -> None:
    """Each query of GET /v1/traces has a row in docs/http-api.md."""
    section = HTTP.split("## Traces")[1].split("## ")[0]
    assert [name for name in RecordFilter.__struct_fields__ if f"`{name}`" not in section] == []


def families() -> set[str]:
    """Return the names of the metrics as a scrape shows them, of a gateway with one model and no traffic."""
    status = SimpleNamespace(ok=True, generation=1)
    ledger = SimpleNamespace(status=lambda: SimpleNamespace(queued=0, writable=True, content_dropped=0))
    pf = SimpleNamespace(
        clock=SimpleNamespace(monotonic=lambda: 0.0, now=lambda: 0.0),
        runtime=SimpleNamespace(all=list),
        registry=SimpleNamespace(enabled=()),
        engines=SimpleNamespace(status=list),
        engine_memory=None,
        machine=SimpleNamespace(parts=SimpleNamespace(meter=SpendMeter(1.0), door=None)),
        telemetry=None,
        replicas=None,
        status=lambda: status,
        ledger=ledger,
    )
    shown = Metrics(pf).render().decode()  # type: ignore[arg-type]  # what a scrape reads, and no more
    found = set(re.findall(r"^# TYPE (\S+) ", shown, re.MULTILINE))
    return {name for name in found if not name.endswith("_created")}  # the client library's own, beside each counter


def test_every_metric_is_documented() -> None:
    """Each metric a scrape shows has a row in the operator's guide, and each row is a metric."""
    page = (DOCS / "operators-guide.md").read_text()
    documented = {cells[0].strip("`") for cells in rows(page, r"`prefrontal_[a-z_]+`")}
    assert families()
    assert families() == documented


def test_the_table_of_profiles_is_current() -> None:
    """docs/providers.md has the tables made from the profiles, each with its evidence."""
    page = (DOCS / "providers.md").read_text()
    assert page == inserted(page), "run: python -m prefrontal.providers.reference docs/providers.md"
    assert [name for name in load_profiles() if not list(rows(page, f"`{name}`"))] == []


def test_every_effort_dialect_is_documented() -> None:
    """Each dialect has a row in docs/effort.md."""
    page = (DOCS / "effort.md").read_text()
    assert [name for name in load_dialects().dialects if not list(rows(page, f"`{name}`"))] == []


def test_every_room_has_a_line_in_the_readme() -> None:
    """Each module and folder of the package, and each folder beside it, has a row; and each row exists."""
    package = ROOT / "src" / "prefrontal"
    folders = {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
    modules = {path.name for path in package.glob("*.py") if not path.name.startswith("__")}
    listed = {cells[0].strip("`") for cells in rows(README, r"`[a-z_]+(/|\.py)`")}
    beside = {f"{name}/" for name in ("tests", "bench", "docs", "deploy", "examples")}
    assert listed == folders | modules | beside
    assert [name for name in beside if not (ROOT / name).is_dir()] == []


def test_every_page_is_in_the_index() -> None:
    """docs/index.md links each page."""
    index = (DOCS / "index.md").read_text()
    assert [page.name for page in DOCS.glob("*.md") if page.name != "index.md" and f"({page.name})" not in index] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Each relative link names a file of the project, and its anchor a heading there."""
    broken = []
    for target, anchor in LINK.findall(page.read_text()):
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(f"{target}#{anchor}")
    assert broken == []
