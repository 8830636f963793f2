"""`prefrontal models pull`: which file is taken, and how it comes to lie in the folder."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from prefrontal.cli.hub import HuggingFaceHub
from prefrontal.cli.pull import INCOMING, HubFile, Pulled, Wanted, choose, parse_wanted, pull, quant_of
from prefrontal.config.schema_egress import Egress
from prefrontal.errors import (
    Conflict,
    EgressDenied,
    InvalidRequest,
    NotAllowed,
    NotFound,
    ProviderMisbehaved,
    ProviderUnreachable,
)

Run = Callable[..., Any]


class FakeHub:
    """A hub with one repository. `breaks` makes the next download end in the middle, as a lost connection does."""

    def __init__(self, files: dict[str, bytes], *, wrong: str | None = None) -> None:
        self.contents = files
        self.wrong = wrong
        self.breaks = False
        self.sent = 0

    def files(self, repo: str) -> list[HubFile]:
        return [
            HubFile(name=name, size_bytes=len(data), sha256=self.wrong or hashlib.sha256(data).hexdigest())
            for name, data in self.contents.items()
        ]

    def download(self, repo: str, name: str, folder: Path) -> Path:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + ".part")
        have = part.stat().st_size if part.exists() else 0
        data = self.contents[name][have:]
        if self.breaks:
            data = data[: len(data) // 2]
        with part.open("ab") as out:
            out.write(data)
        self.sent += len(data)
        if self.breaks:
            raise ProviderUnreachable("The hub cannot be reached.")
        return part.replace(target)


@pytest.fixture
def pulling(folder: Path, screen_of: Run) -> Callable[..., Pulled]:
    """Pull from a fake hub into ``models``."""
    return lambda text, hub: pull(text, folder / "models", hub, screen_of(tty=False)[0], as_json=False)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Qwen/Qwen3-0.6B-GGUF", Wanted(repo="Qwen/Qwen3-0.6B-GGUF")),
        ("a/b:Q8_0", Wanted(repo="a/b", which="Q8_0")),
        ("a/b:sub/x.gguf", Wanted(repo="a/b", which="sub/x.gguf")),
        ("https://huggingface.co/a/b", Wanted(repo="a/b")),
        ("hf.co/a/b:q4_0", Wanted(repo="a/b", which="q4_0")),
        ("https://huggingface.co/a/b/blob/main/x.gguf", Wanted(repo="a/b", which="x.gguf")),
    ],
)
def test_what_a_name_means(text: str, wanted: Wanted) -> None:
    """Repositories, files, quantisations and addresses are understood."""
    assert parse_wanted(text) == wanted


@pytest.mark.parametrize("text", ["", "llama", "a/b/c", "a/b:", "../etc", "https://example.com/a/b"])
def test_what_is_no_name(text: str) -> None:
    """Everything else is refused with the forms that are taken."""
    with pytest.raises(InvalidRequest) as caught:
        parse_wanted(text)
    assert "OWNER/REPO" in caught.value.text


@pytest.mark.parametrize(
    ("name", "quant"),
    [
        ("Qwen3-0.6B-Q4_K_M.gguf", "Q4_K_M"),
        ("model.Q8_0.gguf", "Q8_0"),
        ("m-UD-Q4_K_XL-00001-of-00002.gguf", "UD-Q4_K_XL"),
        ("m-iq2_xxs.gguf", "IQ2_XXS"),
        ("BF16/m-bf16.gguf", "BF16"),
        ("Qwen3.gguf", None),
    ],
)
def test_the_quantisation_in_a_name(name: str, quant: str | None) -> None:
    """The usual ways of writing it are read."""
    assert quant_of(name) == quant


def files(*names: str) -> list[HubFile]:
    return [HubFile(name=name) for name in names]


def chosen(*names: str, which: str | None = None) -> list[str]:
    return [file.name for file in choose(files(*names), Wanted(repo="a/b", which=which))]


def test_four_bits_are_the_usual_choice() -> None:
    """Q4_K_M wins, then its neighbours, then whatever there is."""
    assert chosen("README.md", "m-Q8_0.gguf", "m-Q4_K_M.gguf", "m-Q2_K.gguf") == ["m-Q4_K_M.gguf"]
    assert chosen("m-Q8_0.gguf", "m-Q2_K.gguf") == ["m-Q8_0.gguf"]
    assert chosen("m-odd.gguf") == ["m-odd.gguf"]


def test_projectors_are_no_models() -> None:
    """The vision part of a model is not taken for the model."""
    assert chosen("mmproj-m-Q4_K_M.gguf", "m-Q8_0.gguf") == ["m-Q8_0.gguf"]


def test_what_is_asked_for_is_taken() -> None:
    """By quantisation in any case, by file name, with or without its ending."""
    names = ("m-Q4_K_M.gguf", "m-Q8_0.gguf", "sub/m-Q5_0.gguf")
    assert chosen(*names, which="q8_0") == ["m-Q8_0.gguf"]
    assert chosen(*names, which="m-Q5_0.gguf") == ["sub/m-Q5_0.gguf"]
    assert chosen(*names, which="m-q8_0") == ["m-Q8_0.gguf"]


def test_parts_come_together() -> None:
    """A model in several files is one choice, in order."""
    parts = ["m-Q4_K_M-00002-of-00002.gguf", "m-Q4_K_M-00001-of-00002.gguf"]
    assert chosen(*parts, "m-Q8_0.gguf") == sorted(parts)
    assert chosen(*parts, which="m-Q4_K_M-00001-of-00002.gguf") == sorted(parts)


def test_what_is_not_there_is_said_with_what_is() -> None:
    """A wrong quantisation gets the nearest or the list; a repository without GGUF is told apart."""
    with pytest.raises(NotFound) as caught:
        chosen("m-Q4_K_M.gguf", "m-Q8_0.gguf", which="Q4_K_N")
    assert "Did you mean Q4_K_M?" in caught.value.text
    with pytest.raises(NotFound, match="no GGUF"):
        chosen("model.safetensors")


def test_a_file_arrives_whole_or_not_at_all(pulling: Run, folder: Path) -> None:
    """A broken-off download leaves nothing that could be taken for a model, and the next one goes on where it ended."""
    hub = FakeHub({"sub/m-Q4_K_M.gguf": b"x" * 1000})
    hub.breaks = True
    with pytest.raises(ProviderUnreachable):
        pulling("a/b", hub)
    assert list((folder / "models").glob("*.gguf")) == []
    hub.breaks = False
    pulled = pulling("a/b", hub)
    assert (folder / "models" / "m-Q4_K_M.gguf").read_bytes() == b"x" * 1000
    assert hub.sent == 1000
    assert (pulled.model, pulled.size_bytes, pulled.fetched) == ("m-Q4_K_M", 1000, True)
    assert not list((folder / "models" / INCOMING).iterdir())


def test_what_is_there_is_not_fetched_again(pulling: Run) -> None:
    """The second pull sends nothing."""
    hub = FakeHub({"m-Q4_K_M.gguf": b"x" * 10})
    pulling("a/b", hub)
    assert pulling("a/b", hub).fetched is False
    assert hub.sent == 10


def test_another_file_of_that_name_stays(pulling: Run, folder: Path) -> None:
    """Somebody's file is not overwritten."""
    (folder / "models").mkdir()
    mine = folder / "models" / "m-Q4_K_M.gguf"
    mine.write_bytes(b"mine")
    with pytest.raises(Conflict, match="another file of that name"):
        pulling("a/b", FakeHub({"m-Q4_K_M.gguf": b"x" * 10}))
    assert mine.read_bytes() == b"mine"


def test_a_damaged_file_is_thrown_away(pulling: Run, folder: Path) -> None:
    """A wrong checksum is an error, and the bytes are gone."""
    with pytest.raises(ProviderMisbehaved, match="checksum"):
        pulling("a/b", FakeHub({"m-Q4_K_M.gguf": b"x" * 10}, wrong="0" * 64))
    assert list((folder / "models").rglob("*.gguf")) == []


def test_too_little_space_is_said_before(pulling: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is fetched that cannot fit."""
    monkeypatch.setattr("shutil.disk_usage", lambda _path: SimpleNamespace(free=1000))
    hub = FakeHub({"m-Q4_K_M.gguf": b"x" * 10})
    with pytest.raises(Conflict, match="are free"):
        pulling("a/b", hub)
    assert hub.sent == 0


def test_a_name_cannot_leave_the_folder(pulling: Run, folder: Path) -> None:
    """Whatever path a repository gives its files, they land in the models folder."""
    pulled = pulling("a/b", FakeHub({"deep/er/m-Q4_K_M.gguf": b"x"}))
    assert pulled.files == (str(folder / "models" / "m-Q4_K_M.gguf"),)


class Refused(Exception):
    """Stands for the client's own errors."""


def client(**calls: Any) -> ModuleType:
    """Return a stand-in for the hub's client library."""
    kinds = ("HfHubHTTPError", "RepositoryNotFoundError", "GatedRepoError", "EntryNotFoundError", "LocalEntryNotFoundError")
    errors = SimpleNamespace(**{name: type(name, (Refused,), {}) for name in kinds})
    module: Any = ModuleType("huggingface_hub")
    module.errors = errors
    module.HfApi = lambda: SimpleNamespace(model_info=calls.get("model_info"))
    module.hf_hub_download = calls.get("download")
    return module


def install(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """Put the stand-in where the client is imported from."""
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    parts = {
        "constants": SimpleNamespace(ENDPOINT="https://huggingface.co"),
        "errors": module.errors,
        "utils": SimpleNamespace(disable_progress_bars=lambda: None),
    }
    for name, part in parts.items():
        monkeypatch.setitem(sys.modules, f"huggingface_hub.{name}", part)


def raising(module: ModuleType, name: str) -> Callable[..., Any]:
    def call(*_: Any, **__: Any) -> Any:
        raise getattr(module.errors, name)("words of the client\nmore of them")

    return call


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        ("RepositoryNotFoundError", NotFound, "There is no repository a/b"),
        ("GatedRepoError", NotAllowed, "https://huggingface.co/a/b"),
        ("HfHubHTTPError", Exception, "words of the client"),
    ],
)
def test_the_hubs_refusals_in_our_words(monkeypatch: pytest.MonkeyPatch, error: str, kind: type[Exception], said: str) -> None:
    """Each of the client's errors says what helps."""
    module = client()
    module.HfApi = lambda: SimpleNamespace(model_info=raising(module, error))
    install(monkeypatch, module)
    with pytest.raises(kind) as caught:
        HuggingFaceHub().files("a/b")
    assert said in caught.value.text  # type: ignore[attr-defined]


def test_offline_is_said_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network the error names the other way to get a model."""

    def unreachable(*_: Any, **__: Any) -> Any:
        raise ConnectionError("name resolution failed")

    install(monkeypatch, client(model_info=unreachable))
    with pytest.raises(ProviderUnreachable) as caught:
        HuggingFaceHub().files("a/b")
    assert "copy a .gguf file into the models folder" in caught.value.text


def test_files_come_with_size_and_checksum(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the hub knows of a file is kept; small files have no checksum."""
    rows = [
        SimpleNamespace(rfilename="m.gguf", size=7, lfs=SimpleNamespace(sha256="ab")),
        SimpleNamespace(rfilename="README.md", size=3, lfs=None),
    ]
    module = client(model_info=lambda *_, **__: SimpleNamespace(siblings=rows))
    install(monkeypatch, module)
    assert HuggingFaceHub().files("a/b") == [
        HubFile(name="m.gguf", size_bytes=7, sha256="ab"),
        HubFile(name="README.md", size_bytes=3),
    ]


def test_egress_rules_hold_for_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that egress.allow leaves out is not contacted."""
    install(monkeypatch, client())
    with pytest.raises(EgressDenied) as caught:
        HuggingFaceHub(egress=Egress(allow=("api.openai.com",)))
    assert "egress.allow" in caught.value.text
    hooks: list[Any] = []
    made: list[Any] = []
    http = SimpleNamespace(
        default_client_factory=lambda: SimpleNamespace(event_hooks={"request": hooks}), set_client_factory=made.append
    )
    monkeypatch.setitem(sys.modules, "huggingface_hub.utils._http", http)
    HuggingFaceHub(egress=Egress(allow=("huggingface.co",)))
    made[0]()
    hooks[0](SimpleNamespace(url="https://huggingface.co/a"))
    with pytest.raises(EgressDenied):  # where it redirects to is asked about, too
        hooks[0](SimpleNamespace(url="https://files.elsewhere.net/a"))


def test_without_the_extra_the_command_to_install_it_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A core install says which extra is missing."""
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    result = run("models", "pull", "a/b")
    assert result.exit_code == 1
    assert 'pip install "prefrontal[local]"' in result.stderr


def test_the_whole_command(run: Run, monkeypatch: pytest.MonkeyPatch, own_environment: Path) -> None:
    """`models pull` puts the file where `serve` looks for it and says how to use it."""
    rows = [SimpleNamespace(rfilename="tiny-Q4_K_M.gguf", size=4, lfs=None)]

    def download(_repo: str, name: str, local_dir: Path) -> str:
        (local_dir / name).write_bytes(b"GGUF")
        return os.fspath(local_dir / name)

    module = client(model_info=lambda *_, **__: SimpleNamespace(siblings=rows), download=download)
    install(monkeypatch, module)
    result = run("models", "pull", "a/b")
    assert (own_environment / "prefrontal" / "models" / "tiny-Q4_K_M.gguf").read_bytes() == b"GGUF"
    assert "prefrontal ask --model tiny-Q4_K_M" in result.stderr
    again = json.loads(run("models", "pull", "--json", "a/b").stdout)
    assert (again["model"], again["fetched"]) == ("tiny-Q4_K_M", False)


class SmallHub(BaseHTTPRequestHandler):
    """Speaks as much of the hub's protocol as the real client needs for one repository of one file."""

    data = b"GGUF" + bytes(range(256)) * 64

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        name = "tiny-Q4_K_M.gguf"
        digest = hashlib.sha256(self.data).hexdigest()
        if self.path.startswith("/api/models/a/b"):
            file = {
                "rfilename": name,
                "size": len(self.data),
                "lfs": {"size": len(self.data), "sha256": digest, "pointerSize": 1},
            }
            self.reply(200, json.dumps({"id": "a/b", "sha": "f" * 40, "siblings": [file]}).encode())
        elif self.path.startswith(f"/a/b/resolve/main/{name}"):
            self.reply(200, self.data, {"ETag": f'"{digest}"', "X-Repo-Commit": "f" * 40, "Accept-Ranges": "bytes"})
        else:
            self.reply(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), "Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Stay quiet."""


def test_the_real_client_against_a_small_hub(process: Run, folder: Path, own_environment: Path) -> None:
    """The shipped client fetches the file; a repository that is not there is said in our words."""
    with ThreadingHTTPServer(("127.0.0.1", 0), SmallHub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            at = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HUB_DISABLE_TELEMETRY": "1"}
            done = process("models", "pull", "--json", "a/b", **at)
            missing = process("models", "pull", "a/c", **at)
        finally:
            server.shutdown()
            thread.join()
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["fetched"] is True
    assert (own_environment / "prefrontal" / "models" / "tiny-Q4_K_M.gguf").read_bytes() == SmallHub.data
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "There is no repository a/c on the hub" in missing.stderr
