"""A new configuration takes the old one's place as a whole, or not at all."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from prefrontal.clock import SystemClock
from prefrontal.config.changes import Change, diff
from prefrontal.config.check import Known
from prefrontal.config.load import Loaded, load
from prefrontal.config.reload import ConfigHolder, Current
from prefrontal.config.schema import Config
from prefrontal.config.watch import fingerprint, watch
from prefrontal.errors import ConfigError

Names = tuple[str, ...]


class Bench:
    """A configuration file, and a holder that reads it; the registry is just the names of the models."""

    def __init__(self, file: Path, known: Known) -> None:
        self.file = file
        self.refuse = False
        self.env = {"PREFRONTAL_HOME": str(file.parent / "home"), "HOME": str(file.parent)}
        self._known = known
        self.holder: ConfigHolder[Names] = ConfigHolder(self.load(), build=self.build, load=self.load, clock=SystemClock())

    def load(self) -> Loaded:
        return load(env=self.env, known=self._known, cwd=self.file.parent)

    def build(self, config: Config) -> Names:
        if self.refuse:
            raise ConfigError("the registry says no", path="models", rule="test")
        return tuple(config.models)

    def write(self, *models: str) -> None:
        self.file.write_text("models:\n" + "".join(f"  {name}: {{profile: vllm}}\n" for name in models))


@pytest.fixture
def bench(tmp_path: Path, known: Known) -> Bench:
    file = tmp_path / "prefrontal.yaml"
    file.write_text("models: {a: {profile: vllm}}\n")
    return Bench(file, known)


async def test_a_good_file_takes_the_old_ones_place(bench: Bench) -> None:
    """Tree, registry, hash and generation change together; who holds the old generation keeps it whole."""
    old = bench.holder.current
    bench.write("b", "c")
    status = await bench.holder.reload_now()
    new = bench.holder.current
    assert (new.registry, new.generation, status.ok) == (("b", "c"), 2, True)
    assert (old.registry, tuple(old.config.models), old.generation) == (("a",), ("a",), 1)
    assert new.hash != old.hash


@pytest.mark.parametrize("broken", ["models: [", "server: {prt: 1}", "models: {x: {profile: nope}}", "a: 1\na: 2"])
async def test_a_broken_file_leaves_the_last_good_one_and_says_so(broken: str, bench: Bench) -> None:
    """The status names the problem, the old generation serves on, and a good file mends it."""
    bench.file.write_text(broken)
    status = await bench.holder.reload_now()
    assert (status.ok, status.generation, bench.holder.current.registry, status.failures) == (False, 1, ("a",), 1)
    assert status.last_error[0].file == str(bench.file)
    assert status.last_error[0].rule
    assert status.last_error_at_s is not None
    bench.write("b")
    status = await bench.holder.reload_now()
    assert (status.ok, status.last_error, bench.holder.current.registry) == (True, (), ("b",))


async def test_a_registry_that_cannot_be_built_refuses_the_file(bench: Bench) -> None:
    """The tree is not swapped without its registry."""
    bench.write("b")
    bench.refuse = True
    status = await bench.holder.reload_now()
    assert (status.ok, status.last_error[0].message, tuple(bench.holder.current.config.models)) == (
        False,
        "the registry says no",
        ("a",),
    )


async def test_a_file_that_vanishes_keeps_serving(bench: Bench) -> None:
    """Deleting the file is not an empty configuration."""
    bench.file.unlink()
    status = await bench.holder.reload_now()
    assert (status.ok, status.last_error[0].message) == (False, "the file is gone; what it said stays in use")
    assert bench.holder.current.registry == ("a",)


@pytest.mark.parametrize("nothing", ["", "\n", "# all commented out\n", "---\n"])
async def test_a_file_that_is_emptied_keeps_serving(nothing: str, bench: Bench) -> None:
    """A file that suddenly says nothing is refused like a deleted one; whoever wants the defaults says so."""
    bench.file.write_text(nothing)
    status = await bench.holder.reload_now()
    assert (status.ok, status.last_error[0].message) == (False, "the file is empty; what it said stays in use")
    assert (bench.holder.current.registry, status.generation) == (("a",), 1)
    bench.file.write_text("version: 1\n")
    status = await bench.holder.reload_now()
    assert (status.ok, bench.holder.current.registry) == (True, ())


async def test_a_file_that_was_empty_at_the_start_may_stay_so(tmp_path: Path, known: Known) -> None:
    """Nothing is lost when a file that said nothing says nothing again."""
    file = tmp_path / "prefrontal.yaml"
    file.write_text("")
    bench = Bench(file, known)
    file.write_text("# later\n")
    assert (await bench.holder.reload_now()).ok
    bench.write("b")
    assert (await bench.holder.reload_now()).ok
    file.write_text("")
    assert not (await bench.holder.reload_now()).ok


async def test_the_same_content_again_changes_nothing(bench: Bench) -> None:
    """A save without a change is no new generation, and nobody is called."""
    calls: list[object] = []
    bench.holder.listen(lambda old, new, changes: calls.append(changes))
    bench.file.write_text("# a comment\nmodels: {a: {profile: vllm}}\n")
    status = await bench.holder.reload_now()
    assert (status.generation, calls) == (1, [])


async def test_listeners_get_old_new_and_changes_and_may_fail(bench: Bench) -> None:
    """Each listener is told what changed; one that fails does not keep the others from hearing it."""
    heard: list[tuple[Names, Names, tuple[Change, ...]]] = []

    def fails(old: Current[Names], new: Current[Names], changes: tuple[Change, ...]) -> None:
        raise RuntimeError("no")

    bench.holder.listen(fails)
    stop = bench.holder.listen(lambda old, new, changes: heard.append((old.registry, new.registry, changes)))
    bench.write("a", "b")
    await bench.holder.reload_now()
    stop()
    bench.write("a")
    await bench.holder.reload_now()
    assert [(old, new, [change.path for change in changes]) for old, new, changes in heard] == [
        (("a",), ("a", "b"), ["models.b"])
    ]


async def test_discovery_rebuilds_the_registry_of_the_same_tree(bench: Bench) -> None:
    """rebuild() replaces the registry and keeps tree and generation."""
    heard: list[tuple[Change, ...]] = []
    bench.holder.listen(lambda old, new, changes: heard.append(changes))
    before = bench.holder.current
    bench.holder.rebuild()
    assert (bench.holder.current.config, bench.holder.current.generation, heard) == (before.config, 1, [()])


async def test_settings_that_wait_for_a_restart_are_named(bench: Bench) -> None:
    """Host and port are accepted and reported as pending."""
    bench.file.write_text("server: {port: 5001, cors_origins: ['*']}\n")
    status = await bench.holder.reload_now()
    assert status.restart_needed == ("server.port",)
    assert {change.path: change.restart for change in status.changes} == {
        "server.port": True,
        "server.cors_origins": False,
        "models.a": False,
    }


def test_changes_mask_secrets(read: Callable[..., Loaded]) -> None:
    """A changed key is a change, and its value is not shown."""
    text = "models: {m: {profile: vllm, key: '%s', headers: {X-Api-Key: '%s', X-Team: '%s'}}}"
    old = read(text % ("sk-old-000000000000001111", "h-000000000000002222", "red")).config
    new = read(text % ("sk-new-000000000000003333", "h-000000000000004444", "blue")).config
    assert diff(old, new) == [
        Change(path="models.m.key", before="…1111", after="…3333"),
        Change(path="models.m.headers.X-Api-Key", before="…2222", after="…4444"),
        Change(path="models.m.headers.X-Team", before="…", after="…"),
    ]


def test_a_new_model_is_one_change_without_its_secret(read: Callable[..., Loaded]) -> None:
    """Adding and removing name the model; its key stays masked."""
    old, new = read("").config, read("models: {m: {profile: vllm, key: abcdefghijklmnopqrst}}").config
    added, removed = diff(old, new), diff(new, old)
    assert [(change.path, change.before) for change in added] == [("models.m", None)]
    assert added[0].after == {"profile": "vllm", "key": "…qrst"}  # what the file says, and none of some forty defaults
    assert [(change.path, change.after) for change in removed] == [("models.m", None)]


async def test_readers_never_see_half_a_configuration(bench: Bench) -> None:
    """While 20 reloads run, 5 of them broken, every one of many readers sees a tree and a registry that belong together."""
    done = asyncio.Event()
    seen: set[int] = set()

    async def reader() -> int:
        count = 0
        while not done.is_set():
            current = bench.holder.current
            await asyncio.sleep(0.001)
            assert tuple(current.config.models) == current.registry
            seen.add(current.generation)
            count += 1
        return count

    readers = [asyncio.create_task(reader()) for _ in range(20)]
    for number in range(20):
        if number % 4 == 3:
            bench.file.write_text("models: {")
        else:
            bench.write(*(f"m{index}" for index in range(number + 1)))
        await bench.holder.reload_now()
    done.set()
    assert min(await asyncio.gather(*readers)) > 0
    assert bench.holder.current.generation == 16
    assert len(seen) > 3


async def test_reloads_at_once_take_turns(bench: Bench) -> None:
    """Many calls at the same time end with the newest file and one generation."""
    bench.write("z")
    await asyncio.gather(*(bench.holder.reload_now() for _ in range(8)))
    assert (bench.holder.current.registry, bench.holder.current.generation) == (("z",), 2)


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait up to 5 s for another thread's effect, which no event of this loop announces."""
    for _ in range(250):
        if holds():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not happen within 5 s")


class Watched:
    """Runs the watcher on a bench and waits for a registry."""

    def __init__(self, bench: Bench, *files: Path) -> None:
        self.bench = bench
        self.stop = asyncio.Event()
        self.task = asyncio.create_task(
            watch(files or (bench.file,), bench.holder.reload_now, clock=SystemClock(), stop=self.stop)
        )

    async def until(self, *models: str) -> None:
        await eventually(lambda: self.bench.holder.current.registry == models)

    async def end(self) -> None:
        self.stop.set()
        await self.task


async def test_the_watcher_follows_every_way_of_saving(bench: Bench) -> None:
    """Writing in place, replacing the file, and breaking and mending it are all followed."""
    watched = Watched(bench)
    await asyncio.sleep(0.2)
    bench.write("in-place")
    await watched.until("in-place")
    new = bench.file.with_suffix(".tmp")
    new.write_text("models: {replaced: {profile: vllm}}\n")
    os.replace(new, bench.file)
    await watched.until("replaced")
    bench.file.write_text("models: {")
    await eventually(lambda: not bench.holder.status().ok)
    assert bench.holder.current.registry == ("replaced",)
    bench.write("mended")
    await watched.until("mended")
    await watched.end()


async def test_a_save_that_empties_the_file_first_is_waited_for(bench: Bench) -> None:
    """An editor that truncates and then writes never makes all models vanish."""
    seen: list[Names] = []
    bench.holder.listen(lambda old, new, changes: seen.append(new.registry))
    watched = Watched(bench)
    await asyncio.sleep(0.2)
    bench.file.write_text("")
    await asyncio.sleep(0.3)
    bench.write("later")
    await watched.until("later")
    await watched.end()
    assert seen == [("later",)]


async def test_a_file_created_after_the_start_is_found(tmp_path: Path, known: Known) -> None:
    """A nearer file, or a first one, takes effect when it appears, also in a folder that did not exist."""
    bench = Bench(tmp_path / "prefrontal.yaml", known)
    home = Path(bench.env["PREFRONTAL_HOME"]) / "prefrontal.yaml"
    watched = Watched(bench, bench.file, home)
    await asyncio.sleep(0.2)
    home.parent.mkdir()
    home.write_text("models: {from-home: {profile: vllm}}\n")
    await watched.until("from-home")
    bench.write("from-here")
    await watched.until("from-here")
    await watched.end()


async def test_without_notifications_the_watcher_polls(tmp_path: Path, known: Known) -> None:
    """In a folder that cannot be watched the file is looked at every second."""
    folder = tmp_path / "not-yet"
    bench = Bench(folder / "prefrontal.yaml", known)
    watched = Watched(bench)
    await asyncio.sleep(0.1)
    folder.mkdir()
    bench.write("polled")
    await watched.until("polled")
    await watched.end()


async def test_a_save_between_loading_and_watching_is_noticed(bench: Bench) -> None:
    """A file saved before the watcher runs is not missed when its fingerprint was taken before the load."""
    before = fingerprint([bench.file])
    bench.write("early")
    stop = asyncio.Event()
    task = asyncio.create_task(watch([bench.file], bench.holder.reload_now, clock=SystemClock(), stop=stop, since=before))
    await eventually(lambda: bench.holder.current.registry == ("early",))
    stop.set()
    await task


async def test_a_reload_that_fails_does_not_end_the_watch(bench: Bench) -> None:
    """The watcher logs the failure and follows the next save."""
    calls: list[int] = []

    async def reload() -> None:
        calls.append(len(calls))
        if len(calls) == 1:
            raise RuntimeError("no")

    stop = asyncio.Event()
    task = asyncio.create_task(watch([bench.file], reload, clock=SystemClock(), stop=stop))
    await asyncio.sleep(0.2)
    bench.write("one")
    await eventually(lambda: len(calls) == 1)
    bench.write("one", "two")
    await eventually(lambda: len(calls) == 2)
    stop.set()
    await task
