"""Discovery over time: rounds by the clock, what is told and when, what outlives a bad moment."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from prefrontal.config.schema import Discovery as Settings
from prefrontal.config.schema import Engine
from prefrontal.contracts.model import ModelCard
from prefrontal.execute.discovery.local import ProbeReport
from prefrontal.execute.discovery.naming import name_cards
from prefrontal.execute.discovery.visit import SeenServer
from prefrontal.execute.discovery.watch import Discovery, Known, carry_over, fingerprint
from prefrontal.testing.gguf import build_rules

BASE = "http://127.0.0.1:8000/v1"


def card(name: str, base_url: str = BASE, **fields) -> ModelCard:
    return ModelCard(id=name, wire_name=name, profile="vllm", base_url=base_url, **fields)


def seen(state: str) -> tuple[SeenServer, ...]:
    return (SeenServer(profile="vllm", base_url=BASE, state=state),)


@pytest.fixture
async def begin(transport, providers, clock, quick):
    """Make a Discovery on a manual clock; all are closed at the end."""
    made: list[Discovery] = []

    def make(sources, *, settings: Settings = quick, **options) -> Discovery:
        discovery = Discovery(
            transport=transport, providers=providers, sources=sources, clock=clock, settings=settings, **options
        )
        made.append(discovery)
        return discovery

    yield make
    for discovery in made:
        await discovery.close()


def vllm_list(*names: str) -> dict:
    return {"object": "list", "data": [{"id": name, "object": "model", "owned_by": "vllm"} for name in names]}


async def test_the_first_round_is_at_once_and_the_next_after_the_interval(serve, at_ports, begin, clock):
    """Start looks without being waited for; then the clock decides; a change is told, no change is not."""
    server = await serve({"/v1/models": vllm_list("a")})
    told: list[list[str]] = []
    discovery = begin(at_ports(vllm=server.port), on_change=lambda cards: told.append([card.id for card in cards]))
    await discovery.start()
    assert told == []
    await discovery.looked()
    assert told == [["a"]]
    await clock.asleep()
    await clock.advance(29.9)
    assert len(server.asked) == 1
    await clock.advance(0.2)
    assert (len(server.asked), told) == (2, [["a"]])
    server.routes["/v1/models"] = vllm_list("a", "b")
    await clock.advance(30)
    assert told == [["a"], ["a", "b"]]
    assert [card.id for card in discovery.cards] == ["a", "b"]
    assert discovery.findings.rounds == 3


async def test_files_and_keys_are_there_before_the_first_probe_ends(serve, at_ports, begin, clock):
    """What needs no network serves the first request, even while a port keeps silent."""
    asked = asyncio.Event()

    async def never(_request):
        asked.set()
        await asyncio.sleep(30)

    server = await serve({"/v1/models": never})
    sources = msgspec.structs.replace(at_ports(vllm=server.port), env={"OPENAI_API_KEY": "k"})
    sources.models_dir.mkdir()
    build_rules(sources.models_dir / "tiny.gguf", {"login": "C"})
    discovery = begin(sources, settings=Settings(timeout_s=20))
    await discovery.start()
    await asked.wait()
    names = [card.id for card in discovery.cards]
    assert names[0] == "tiny"
    assert "gpt-5.1" in names
    assert discovery.findings.rounds == 0
    assert [key.variable for key in discovery.findings.keys] == ["OPENAI_API_KEY"]


async def test_a_server_that_goes_away_for_a_moment_keeps_its_models(serve, at_ports, begin, clock):
    """Two rounds of silence change nothing; at the third the models are gone, and back with the server."""
    server = await serve({"/v1/models": vllm_list("a")})
    port = server.port
    told: list[int] = []
    discovery = begin(at_ports(vllm=port), on_change=lambda cards: told.append(len(cards)))
    await discovery.start()
    await clock.asleep()
    await server.http.stop()
    await clock.advance(30)
    await clock.advance(30)
    assert (told, len(discovery.cards)) == ([1], 1)
    await clock.advance(30)
    assert (told, discovery.cards) == ([1, 0], ())
    await serve({"/v1/models": vllm_list("a")}, port=port)
    await clock.advance(30)
    assert told == [1, 0, 1]


def test_one_good_round_forgives_earlier_silence():
    """The rounds are counted in a row."""
    report = ProbeReport(cards=(card("a"),), seen=seen("ready"))
    known = carry_over((), report)
    for _ in range(3):
        known = carry_over(carry_over(carry_over(known, ProbeReport()), ProbeReport(seen=seen("silent"))), report)
    assert known == (Known(card=card("a")),)


@pytest.mark.parametrize(("state", "kept"), [("ready", 0), ("empty", 0), ("prefrontal", 0), ("loading", 1), ("foreign", 1)])
def test_a_server_that_answers_without_the_model_is_believed_at_once(state, kept):
    """A model that was deleted goes at once; one whose server cannot say stays for a while."""
    assert len(carry_over((Known(card=card("gone")),), ProbeReport(seen=seen(state)))) == kept


def test_details_a_busy_server_owes_are_those_it_gave_before():
    """A failed question for capabilities does not make a model forget them; a card that was never told stays bare."""
    full = card("a", context_tokens=4096)
    report = ProbeReport(cards=(card("a"), card("b")), seen=seen("ready"), partial=frozenset({(BASE, "a"), (BASE, "b")}))
    assert [known.card for known in carry_over((Known(card=full),), report)] == [full, card("b")]


async def test_the_models_folder_is_read_again_only_when_a_file_changed(sources, at_ports, begin, clock, monkeypatch):
    """A new file appears at the next round, a removed one goes at once, an unchanged folder is not read."""
    from prefrontal.execute.discovery import watch

    scans = []
    real = watch.scan_files
    monkeypatch.setattr(watch, "scan_files", lambda *args, **options: scans.append(1) or real(*args, **options))
    folder = sources.models_dir
    discovery = begin(at_ports())
    await discovery.start()
    await clock.asleep()
    assert (discovery.cards, len(scans)) == ((), 1)
    folder.mkdir()
    build_rules(folder / "one.gguf", {"login": "C"})
    await clock.advance(30)
    shutil.copy(folder / "one.gguf", folder / "two.gguf")
    await clock.advance(30)
    assert ([card.id for card in discovery.cards], len(scans)) == (["one", "two"], 3)
    await clock.advance(30)
    assert len(scans) == 3
    (folder / "one.gguf").unlink()
    await clock.advance(30)
    assert [card.id for card in discovery.cards] == ["two"]


async def test_a_file_that_is_dropped_in_is_served_within_seconds_and_said(sources, at_ports, begin, clock, caplog):
    """Between two rounds the folder is looked at every two seconds; a file is taken once it has stopped growing."""
    caplog.set_level(logging.INFO, "prefrontal.execute.discovery.watch")
    folder = sources.models_dir
    folder.mkdir()
    told: list[list[str]] = []
    discovery = begin(at_ports(), on_change=lambda cards: told.append([card.id for card in cards]))
    await discovery.start()
    await clock.asleep()
    build_rules(folder / "shop.gguf", {"login": "C"})
    await clock.advance(2)
    assert told == []  # seen for the first time: it may still be growing
    await clock.advance(2)
    assert told == [["shop"]]
    assert [record.getMessage() for record in caplog.records] == ["found: shop"]
    (folder / "shop.gguf").unlink()
    await clock.advance(2)
    await clock.advance(2)
    assert told[1:] == [[]]
    assert caplog.records[-1].getMessage() == "gone: shop"


async def test_a_file_the_registry_names_is_noticed_also_without_discovery(sources, at_ports, begin, clock, tmp_path):
    """Whoever fetches the missing file of a configured model needs no restart; a file that is there from the start is no news."""
    here, missing = tmp_path / "here.gguf", tmp_path / "missing.gguf"
    here.write_bytes(b"x")
    told: list[int] = []
    discovery = begin(
        at_ports(),
        settings=Settings(enabled=False),
        on_change=lambda cards: told.append(len(cards)),
        named_files=lambda: (here, missing),
    )
    await discovery.start()
    await clock.asleep()
    for _ in range(3):
        await clock.advance(2)
    assert told == []
    missing.write_bytes(b"y")
    for _ in range(3):
        await clock.advance(2)
    assert told == [0]


def test_a_file_that_grows_has_another_fingerprint(tmp_path: Path):
    """A download in progress is looked at again; other files do not count."""
    file = tmp_path / "m.gguf"
    file.write_bytes(b"GG")
    before = fingerprint(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    assert fingerprint(tmp_path) == before
    file.write_bytes(b"GGUF")
    assert fingerprint(tmp_path) != before
    assert fingerprint(tmp_path / "none") == ()


async def test_refresh_looks_now_and_forgets_what_rests(serve, at_ports, begin):
    """On demand even a port that rests is asked, and the findings come back."""
    server = await serve({})
    discovery = begin(at_ports(vllm=server.port))
    assert [found.state for found in (await discovery.refresh()).seen] == ["foreign"]
    server.routes["/v1/models"] = vllm_list("a")
    findings = await discovery.refresh()
    assert ([card.id for card in findings.cards], findings.seen[0].state) == (["a"], "ready")


async def test_settings_apply_at_once_and_off_means_off(serve, at_ports, begin, clock):
    """New ports begin a round; `enabled: false` takes back everything found; the same settings do nothing."""
    one, two = await serve({"/v1/models": vllm_list("a")}), await serve({"/v1/models": vllm_list("b")})
    sources = msgspec.structs.replace(at_ports(vllm=one.port), env={"OPENAI_API_KEY": "k"})
    settings = Settings(timeout_s=0.4, env_keys=False)
    discovery = begin(sources, settings=settings)
    await discovery.start()
    await clock.asleep()
    assert [card.id for card in discovery.cards] == ["a"]

    async def apply(new: Settings) -> list[str]:
        discovery.configure(new, Engine(), sources.models_dir)
        await clock.asleep()
        return [card.id for card in discovery.cards]

    assert set(await apply(msgspec.structs.replace(settings, ports={"vllm": (one.port, two.port)}))) == {"a", "b"}
    assert "gpt-5.1" in await apply(msgspec.structs.replace(settings, env_keys=True))
    assert await apply(msgspec.structs.replace(settings, enabled=False)) == []
    asked = len(one.asked)
    discovery.configure(msgspec.structs.replace(settings, enabled=False), Engine(), sources.models_dir)
    await asyncio.sleep(0.02)
    assert len(one.asked) == asked


async def test_a_listener_that_fails_does_not_stop_discovery(serve, at_ports, begin, clock, caplog):
    """The failure is logged, and the next change is told."""
    server = await serve({"/v1/models": vllm_list("a")})
    told: list[int] = []

    def listen(cards: tuple[ModelCard, ...]) -> None:
        told.append(len(cards))
        raise RuntimeError("no room")

    await begin(at_ports(vllm=server.port), on_change=listen).start()
    await clock.asleep()
    server.routes["/v1/models"] = vllm_list("a", "b")
    await clock.advance(30)
    assert told == [1, 2]
    assert "could not be taken in" in caplog.text


async def test_close_ends_a_round_in_progress(serve, at_ports, begin):
    """Closing cancels what is under way, leaves the connection closed, and may be done twice."""
    asked = asyncio.Event()

    async def never(_request):
        asked.set()
        await asyncio.sleep(30)

    server = await serve({"/v1/models": never})
    discovery: Discovery = begin(at_ports(vllm=server.port), settings=Settings(timeout_s=20))
    await discovery.start()
    await asked.wait()
    async with asyncio.timeout(2):
        await discovery.close()
        await discovery.close()
        await server.http.requests[0].over()
    assert [task for task in asyncio.all_tasks() if task.get_name() == "discovery"] == []


async def test_our_own_ports_and_name_are_asked_for_at_each_round(serve, at_ports, begin):
    """Ports of engines started later are left alone from then on; our own header is recognised."""
    server = await serve({"/v1/models": vllm_list("a")}, {"x-prefrontal-instance": "me"})
    ours: set[int] = set()
    options: dict[str, Callable[[], frozenset[int]] | str] = {"own_ports": lambda: frozenset(ours), "own_instance": "me"}
    discovery = begin(at_ports(vllm=server.port), **options)
    assert (await discovery.refresh()).seen[0].detail == "this process, left alone"
    ours.add(server.port)
    assert ((await discovery.refresh()).seen, len(server.asked)) == ((), 1)


def test_names_are_unique_and_never_reserved():
    """A model called auto or role/x would take over how clients let the gateway choose."""
    cards = [card("auto"), card("role/router"), card("m"), card("m", "http://127.0.0.1:8001/v1"), card("m", BASE)]
    assert [found.id for found in name_cards(cards)] == ["vllm/auto", "vllm/role/router", "m", "vllm/m", "vllm:8000/m"]
    assert len(name_cards([card("m")] * 5)) == 3
