"""A clock that stands still, a small corpus of its own, and engrams made of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from prefrontal.knowledge.ingest.run import ingest
from prefrontal.knowledge.ingest.walk import Source
from prefrontal.knowledge.shape import Shape
from prefrontal.knowledge.store.engram import create
from prefrontal.testing.clock import FakeClock

CORPUS = Path(__file__).parent / "corpus"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def make(tmp_path: Path, clock: FakeClock) -> Callable[..., Path]:
    """Return a function that makes an engram of a folder, or an empty one."""

    def made(folder: Path | None = None, *, name: str = "it", shape: Shape | None = None) -> Path:
        path = tmp_path / "engrams" / f"{name}.engram"
        create(path, clock=clock, shape=shape)
        if folder is not None:
            ingest(path, [Source(root=str(folder))], clock=clock)
        return path

    return made


@pytest.fixture(scope="session")
def pdf() -> Callable[..., bytes]:
    """Return a function that makes a PDF of one line of text a page."""

    def made(*pages: str) -> bytes:
        kids = " ".join(f"{3 + 2 * n} 0 R" for n in range(len(pages)))
        font = "<< /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>"
        objects = ["<< /Type /Catalog /Pages 2 0 R >>", f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>"]
        for n, text in enumerate(pages):
            drawn = f"BT /F1 12 Tf 20 200 Td ({text}) Tj ET" if text else ""
            page = f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 300] /Contents {4 + 2 * n} 0 R /Resources {font} >>"
            objects += [page, f"<< /Length {len(drawn)} >>\nstream\n{drawn}\nendstream"]
        body, places = "%PDF-1.4\n", []
        for n, text in enumerate(objects, 1):
            places.append(len(body))
            body += f"{n} 0 obj\n{text}\nendobj\n"
        table = "".join(f"{place:010d} 00000 n \n" for place in places)
        head = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
        tail = f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(body)}\n%%EOF\n"
        return (body + head + tail).encode()

    return made
