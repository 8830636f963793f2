"""Where the configuration comes from, in which order, and what its values may refer to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prefrontal.config.check import Known
from prefrontal.config.home import candidates, find_config, find_home
from prefrontal.config.load import MAX_FILE_BYTES, Loaded, load, load_text
from prefrontal.config.problems import ConfigProblems
from prefrontal.config.schema import Config, builtin_channels
from prefrontal.config.yaml_source import parse_yaml, write_yaml

Read = Callable[..., Loaded]


def test_no_file_is_the_default_tree(known: Known, tmp_path: Path) -> None:
    """Without any file everything has its default."""
    loaded = load(env={"PREFRONTAL_HOME": str(tmp_path)}, known=known, cwd=tmp_path)
    assert (loaded.config, loaded.file) == (Config(), None)


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n", "server:\nmodels:\nroles:\n", "\ufeffversion: 1\n"])
def test_an_empty_file_or_part_is_all_defaults(text: str, known: Known, tmp_path: Path) -> None:
    """A key with nothing below it, and a file with nothing in it, change nothing."""
    (tmp_path / "prefrontal.yaml").write_text(text, encoding="utf-8")
    assert load(env={"PREFRONTAL_HOME": str(tmp_path / "h")}, known=known, cwd=tmp_path).config == Config()


def test_the_nearest_file_wins(tmp_path: Path) -> None:
    """The flag, then the variable, then the working directory, then the home."""
    home, cwd = tmp_path / "home", tmp_path / "cwd"
    home.mkdir()
    cwd.mkdir()
    for place in (home / "prefrontal.yaml", cwd / "prefrontal.yaml", tmp_path / "env.yaml", tmp_path / "flag.yaml"):
        place.write_text("")
    env = {"PREFRONTAL_HOME": str(home), "PREFRONTAL_CONFIG": str(tmp_path / "env.yaml")}
    assert find_config(env, flag=tmp_path / "flag.yaml", cwd=cwd) == tmp_path / "flag.yaml"
    assert find_config(env, cwd=cwd) == tmp_path / "env.yaml"
    del env["PREFRONTAL_CONFIG"]
    assert find_config(env, cwd=cwd) == cwd / "prefrontal.yaml"
    (cwd / "prefrontal.yaml").unlink()
    assert find_config(env, cwd=cwd) == home / "prefrontal.yaml"
    assert candidates(env, cwd=cwd) == (cwd / "prefrontal.yaml", home / "prefrontal.yaml")


@pytest.mark.parametrize(("flag", "env"), [("gone.yaml", {}), (None, {"PREFRONTAL_CONFIG": "gone.yaml"})])
def test_a_named_file_must_exist(flag: str | None, env: dict[str, str], tmp_path: Path) -> None:
    """A file that was named and is not there is an error, not a reason to look elsewhere."""
    with pytest.raises(ConfigProblems, match=r"gone\.yaml: no such file") as refused:
        find_config(env, flag=flag, cwd=tmp_path)
    assert refused.value.hint == (None if flag else "named by $PREFRONTAL_CONFIG")  # whoever wrote the name knows where


@pytest.mark.parametrize(
    ("env", "root"),
    [
        ({"PREFRONTAL_HOME": "/p", "XDG_DATA_HOME": "/x", "HOME": "/h"}, "/p"),
        ({"PREFRONTAL_HOME": "~/p", "HOME": "/h"}, "/h/p"),
        ({"XDG_DATA_HOME": "/x", "HOME": "/h"}, "/x/prefrontal"),
        ({"XDG_DATA_HOME": "relative", "HOME": "/h"}, "/h/.local/share/prefrontal"),
        ({"HOME": "/h"}, "/h/.local/share/prefrontal"),
    ],
)
def test_the_home_follows_the_environment(env: dict[str, str], root: str) -> None:
    """PREFRONTAL_HOME, else the XDG data folder; the places lie below it."""
    home = find_home(env)
    assert (str(home.root), home.database.name, home.models.name, home.engrams.name) == (
        root,
        "prefrontal.db",
        "models",
        "engrams",
    )


def test_environment_beats_file_and_flags_beat_both(read: Read) -> None:
    """The file is below PREFRONTAL__… and that below flags; a flag that is None was not given."""
    text = "server: {port: 1, host: localhost, drain_s: 1}"
    env = {"PREFRONTAL__SERVER__PORT": "2", "PREFRONTAL__SERVER__DRAIN_S": "2.5"}
    server = read(text, env, {"server.port": 3, "server.host": None}).config.server
    assert (server.port, server.drain_s, server.host) == (3, 2.5, "localhost")


@pytest.mark.parametrize(
    ("name", "value", "path", "expected"),
    [
        ("PREFRONTAL__RECORDS__CONTENT", "true", "records.content", True),
        ("PREFRONTAL__SERVER__TRUSTED_HOSTS", "[a, b]", "server.trusted_hosts", ("a", "b")),
        ("PREFRONTAL__SERVER__TRUSTED_HOSTS", "null", "server.trusted_hosts", None),
        ("PREFRONTAL__LOGGING__LEVEL", "debug", "logging.level", "debug"),
        ("PREFRONTAL__DISCOVERY__PORTS", "{vllm: [1]}", "discovery.ports", {"vllm": (1,)}),
        ("PREFRONTAL__ROUTING__EFFORT__DEFAULT", "0.5", "routing.effort.default", 0.5),
    ],
)
def test_environment_values_take_the_settings_type(name: str, value: str, path: str, expected: object, read: Read) -> None:
    """Text from the environment becomes a number, truth value, list or nothing, as the setting asks."""
    found: object = read("", {name: value}).config
    for part in path.split("."):
        found = getattr(found, part)
    assert found == expected


def test_environment_reaches_a_model_whatever_its_name(read: Read) -> None:
    """Case and punctuation of existing names do not matter."""
    text = "models: {Qwen3-4B.q4: {profile: vllm}}"
    assert read(text, {"PREFRONTAL__MODELS__QWEN3_4B_Q4__PRIORITY": "7"}).config.models["Qwen3-4B.q4"].priority == 7


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"PREFRONTAL__SERVR__PORT": "1"}, "$PREFRONTAL__SERVR__PORT: servr: unknown setting (did you mean `server`?)"),
        ({"PREFRONTAL__SERVER__PORT": "x"}, "$PREFRONTAL__SERVER__PORT: server.port: expected a whole number, found"),
        ({"PREFRONTAL__SERVER__PORT__X": "1"}, "server.port"),
        ({"PREFRONTAL__": "1"}, "$PREFRONTAL__: names no setting"),
    ],
)
def test_a_wrong_variable_is_named(env: dict[str, str], said: str, read: Read) -> None:
    """A problem that came from the environment names the variable, not the file."""
    with pytest.raises(ConfigProblems) as refused:
        read("server: {port: 1}" if "PORT__X" in str(env) else "", env)
    assert said in str(refused.value)


def test_a_wrong_flag_is_named(read: Read) -> None:
    """A problem that came from a flag names the flag."""
    with pytest.raises(ConfigProblems, match=r"^--port: server\.port: expected a whole number of at most 65535"):
        read("", None, {"server.port": 70000})
    with pytest.raises(ConfigProblems, match=r"^--limits\.retries\.attempts: expected a whole number"):
        read("", None, {"limits.retries.attempts": "many"})


def test_a_configuration_that_is_no_file_has_no_lines(known: Known, tmp_path: Path) -> None:
    """A problem of a dict begins with its setting, since there is no file to count lines of."""
    with pytest.raises(ConfigProblems, match=r"^server\.prt: unknown setting"):
        load_text('{"server": {"prt": 1}}', env={"HOME": str(tmp_path)}, known=known)


def test_one_look_finds_mistakes_of_every_kind(read: Read) -> None:
    """Types, names, references, missing variables and addresses are reported together, in the order of the file."""
    text = (
        "models:\n  a: {profile: vlm, endpoint: 'htp:/x', timeout_s: soon}\n  b: {profile: openai, key: '${NOT_SET}'}\n"
        "  c: five\nroles: {coding: [a, bb, c]}\nrouting: {policy: cheapst, task_routing: {codee: {role: coding}}}\n"
        "logging: {levl: info}\n"
    )
    with pytest.raises(ConfigProblems) as refused:
        read(text)
    assert [(problem.line, problem.path) for problem in refused.value.problems] == [
        (2, "models.a.timeout_s"),
        (2, "models.a.profile"),
        (2, "models.a.endpoint"),
        (3, "models.b.key"),
        (4, "models.c"),
        (5, "roles.coding[1]"),
        (6, "routing.policy"),
        (6, "routing.task_routing.codee"),
        (7, "logging.levl"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "server: {host: 0.0.0.0, api_keys: secret}",
        "modls: {a: {profile: vllm}}\nroles: {coding: [a]}",
        "models: {a: {profle: vllm}}\nroles: {coding: [a]}",
        "models: {a: 5}\nrouting: {fallback: [a]}",
        "models: [a]\nrouting: {fallback: [a]}",
        "models: {a: {path: 5}}",
        "limits: {retries: {base_s: 99, max_s: long}}",
        "models: {a: {profile: vllm, price: {windows: [{to: '1:00'}]}}}",
    ],
)
def test_one_mistake_is_one_message(text: str, read: Read) -> None:
    """What only follows from a setting that could not be read is not reported beside it."""
    with pytest.raises(ConfigProblems) as refused:
        read(text)
    assert len(refused.value.problems) == 1, str(refused.value)


@pytest.mark.parametrize(
    ("endpoint", "hint"),
    [
        ("htp:/x", "write http://host:port/path"),
        ("ftp://x", "write http://host:port/path"),
        ("localhost:8000/v1", "write http://localhost:8000/v1"),
        ("[::1]:8000", "write http://[::1]:8000"),
    ],
)
def test_an_address_is_mended_where_it_can_be(endpoint: str, hint: str, read: Read) -> None:
    """A missing scheme is put before an address, not before what is none."""
    with pytest.raises(ConfigProblems) as refused:
        read(f"models: {{a: {{profile: vllm, endpoint: '{endpoint}'}}}}")
    assert refused.value.hint == hint


def test_a_variable_is_compared_with_those_that_may_hold_such_a_value(read: Read) -> None:
    """One word left out is recognised; a variable that says where our home is is nobody's key."""
    for name, hint in (("OPENAI_KEY", "did you mean `OPENAI_API_KEY`?"), ("PREFRONTAL_ADMIN_KEY", "set PREFRONTAL_ADMIN_KEY")):
        with pytest.raises(ConfigProblems) as refused:
            read(f"server: {{api_keys: ['${{{name}}}']}}", {"OPENAI_API_KEY": "k", "OTHER": "x"})
        assert (refused.value.hint or "").startswith(hint)


def test_the_first_key_comes_from_the_environment(read: Read) -> None:
    """PREFRONTAL_API_KEY is the first key, once."""
    assert read("", {"PREFRONTAL_API_KEY": "sk-1"}).config.server.api_keys == ("sk-1",)
    keys = read("server: {api_keys: ['${A}', sk-1]}", {"PREFRONTAL_API_KEY": "sk-1", "A": "sk-2"}).config.server.api_keys
    assert keys == ("sk-1", "sk-2")
    assert read("server: {host: 0.0.0.0}", {"PREFRONTAL_API_KEY": "sk-1"}).config.server.host == "0.0.0.0"


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("${A}", "x"),
        ("p${A}s", "pxs"),
        ("${B:-d}", "d"),
        ("${E:-d}", "d"),
        ("${A:-d}", "x"),
        ("$${A}", "${A}"),
        ("$A", "$A"),
        ("${N}", "k"),
    ],
)
def test_references_are_replaced(written: str, value: str, read: Read) -> None:
    """${NAME} and ${NAME:-default} are replaced, a doubled dollar is kept, an ending newline is not."""
    text = f"models: {{m: {{profile: vllm, licence: '{written}'}}}}"
    assert read(text, {"A": "x", "E": "", "N": "k\n"}).config.models["m"].licence == value


def test_a_reference_may_stand_for_a_number(read: Read) -> None:
    """`port: ${PORT:-5000}` is a number."""
    assert read("server: {port: '${PORT:-5000}'}").config.server.port == 5000
    assert read("server: {port: '${PORT:-5000}'}", {"PORT": "6000"}).config.server.port == 6000


def test_a_disabled_model_may_miss_its_key(read: Read) -> None:
    """Only models in service need their variables."""
    assert read("models: {m: {profile: vllm, enabled: false, key: '${NO_SUCH}'}}").config.models["m"].key == ""


def test_channels_of_the_file_lie_over_the_builtin_ones(read: Read) -> None:
    """A file changes single keys of a built-in channel, adds its own, and never loses one."""
    channels = read("routing: {channels: {code: {effort: 0.9}, mine: {prefer: cost}}}").config.routing.channels
    assert set(channels) == {"chat", "code", "system_health", "mine"}
    assert channels["code"] == msgspec.structs.replace(builtin_channels()["code"], effort=0.9)
    assert channels["chat"] == builtin_channels()["chat"]


def test_yaml_scalars_have_no_surprises() -> None:
    """Words stay words, times stay times, codes keep their zeros."""
    text = "a: on\nb: no\nc: 08:30\nd: 010\ne: 2026-01-01\nf: 1_000\ng: 1e3\nh: true\ni: ~\non: 1\n1: 2\nj: .5\nk: 0x10\n"
    assert parse_yaml(text).raw == {
        "a": "on",
        "b": "no",
        "c": "08:30",
        "d": "010",
        "e": "2026-01-01",
        "f": 1000,
        "g": 1000.0,
        "h": True,
        "i": None,
        "on": 1,
        "1": 2,
        "j": 0.5,
        "k": 16,
    }


def test_anchors_and_merge_keys_work(read: Read) -> None:
    """Shared parts may be written once; a key of one's own wins over a merged one."""
    text = "models:\n  a: &base {profile: vllm, priority: 1, tags: [x]}\n  b:\n    <<: *base\n    priority: 2\n"
    models = read(text).config.models
    assert (models["b"].profile, models["b"].priority, models["a"].priority, models["b"].tags) == ("vllm", 2, 1, ("x",))


def test_aliases_that_multiply_are_refused() -> None:
    """A few lines cannot fill the memory."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(ConfigProblems, match="multiply without end"):
        parse_yaml("\n".join(lines))


def test_a_file_that_is_not_text_is_refused(known: Known, tmp_path: Path) -> None:
    """Wrong encodings and giant files are told, not tried."""
    file = tmp_path / "prefrontal.yaml"
    file.write_bytes(b"server:\n  host: \xff\xfe\n")
    with pytest.raises(ConfigProblems, match=r"prefrontal\.yaml:2: not UTF-8 text \(save the file as UTF-8\)"):
        load(env={}, known=known, flag=file)
    file.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(ConfigProblems, match="too large"):
        load(env={}, known=known, flag=file)


words = st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True).filter(lambda word: word not in ("auto", "reflex"))
prices = st.none() | st.floats(0, 1000, allow_nan=False)
entries = st.fixed_dictionaries(
    {"profile": st.sampled_from(["openai", "vllm", "deepseek"])},
    optional={
        "priority": st.integers(-1000, 1000),
        "tags": st.lists(words, max_size=3),
        "memory": st.sampled_from([1, "6GiB", "500 MB"]),
        "context_tokens": st.integers(1, 10**7),
        "price": st.fixed_dictionaries({}, optional={"input_usd": prices, "output_usd": prices}),
        "capabilities": st.dictionaries(words, st.booleans() | st.integers(0, 9), max_size=3),
        "enabled": st.booleans(),
        "licence": st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="$"), max_size=20),
    },
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    models=st.dictionaries(words, entries, max_size=5), port=st.integers(0, 65535), prefer=st.sampled_from(["cost", "quality"])
)
def test_valid_trees_survive_writing_and_reading(
    models: dict[str, object], port: int, prefer: str, known: Known, tmp_path: Path
) -> None:
    """Whatever is valid, written out as YAML and read back is the same tree."""
    tree = msgspec.convert({"models": models, "server": {"port": port}, "routing": {"prefer": prefer}}, Config)
    text = write_yaml(tree)
    loaded = load_text(text, env={"PREFRONTAL_HOME": str(tmp_path)}, known=known)
    assert loaded.config == tree
    again = load_text(write_yaml(loaded.config), env={"PREFRONTAL_HOME": str(tmp_path)}, known=known)
    assert again.hash == loaded.hash


@settings(max_examples=150, deadline=None)
@given(text=st.text(max_size=200) | st.text(alphabet="{}[]:-&*!|>'\"%@`#,? \n\tab0", max_size=80))
def test_no_text_breaks_the_reader(text: str) -> None:
    """Any text is either settings or refused with a problem."""
    try:
        said = None if isinstance(parse_yaml(text).raw, dict) else "not a mapping"
    except ConfigProblems as refused:
        said = None if refused.problems[0].message else "no message"
    assert said is None


def test_a_syntax_error_after_odd_line_ends_is_told() -> None:
    """YAML counts line ends that other tools do not; the message survives that."""
    with pytest.raises(ConfigProblems, match="not YAML"):
        parse_yaml("a: 1\r\x85\u2028\t@: [\r\r\r{")


@pytest.mark.parametrize(
    "text", ["0E0", "1e5", "0x1F", "yes", "08:30", "null", "~", "", "1_000", "2026-11-20", "- a", "a: b", "<<", "é"]
)
def test_text_that_looks_like_something_else_is_written_as_text(text: str) -> None:
    """What `config show` and the importer write is read back as it was."""
    assert parse_yaml(write_yaml({"key": text, text: [text]})).raw == {"key": text, text: [text]}
