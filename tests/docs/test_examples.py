"""Every example in README.md, CONTRIBUTING.md and docs/ is run or checked.

python   executed, `await` at the top level included; after `print(…)  # → text` the text must have been printed
bash     executed with `bash -eu`; commands of NOT_RUN are left out of it, and the whole is checked for its syntax
json     parsed; directly after a bash block it is what that block printed: each value of the example stands in the answer too
yaml     loaded as a configuration
toml     parsed
text     shown only

What is replaced before an example runs is SUBSTITUTED; nothing else differs from what a reader types.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from prefrontal.config.check import Known
from prefrontal.config.load import load_text
from prefrontal.plan.policies import builtin_policies
from prefrontal.providers.catalogue import load_profiles
from prefrontal.providers.effort import load_dialects

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
LANGUAGES = {"python", "bash", "json", "yaml", "toml", "text"}

SUBSTITUTED = ("http://127.0.0.1:4123", "http://localhost:4123")
"""The address in the examples; replaced by that of the test's gateway."""

NOT_RUN = {
    "make": "installs and serves, or runs this very suite",
    "prefrontal serve": "serves until it is stopped",
    "prefrontal chat": "reads from a terminal",
    "prefrontal models pull": "downloads",
    "prefrontal models load": "needs a model file",
    "prefrontal models unload": "needs a model file",
    "prefrontal config import-litellm": "needs a file of the reader's",
    "prefrontal config check": "needs a file of the reader's",
    "pip": "installs",
    "export": "sets the reader's keys",
    "kill": "ends the reader's process",
    "systemctl": "speaks to the reader's system",
    "python bench": "measures for minutes",
    "python -m bench": "measures for minutes",
}
"""Commands that are shown and not run, and why."""

VOLATILE = {"id", "trace", "created", "loaded_at_s", "hash", "generation", "file", "x_prefrontal.overhead_ms", "embedding"} | {
    *("score", "part", "evidence"),  # of a search: they change with the tuning of the ranking
}
"""Keys whose values differ from run to run; only the kind of value is compared. Every duration is one."""

FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[^\n]*)\n(?P<body>.*?)^(?P=indent)```[ ]*$", re.MULTILINE | re.DOTALL)
EXPECTED = re.compile(r"print\(.*\)  # → (.+)$")


class Example(NamedTuple):
    """One fenced block. `output_of`: the bash block it directly follows, if it does."""

    page: Path
    line: int
    language: str
    body: str
    output_of: str | None

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}:{self.language}"


def examples() -> list[Example]:
    """Return the blocks of all pages."""
    found: list[Example] = []
    for page in PAGES:
        text = page.read_text() if page.is_file() else ""
        previous: tuple[int, str, str] | None = None
        for match in FENCE.finditer(text):
            body = textwrap.dedent(match["body"])
            follows = previous is not None and not text[previous[0] : match.start()].strip() and previous[1] == "bash"
            output_of = previous[2] if previous is not None and follows and match["language"] == "json" else None
            found.append(Example(page, text.count("\n", 0, match.start()) + 1, match["language"], body, output_of))
            previous = (match.end(), match["language"], body)
    return found


EXAMPLES = examples()


def of(language: str) -> list[Example]:
    """Return the examples in one language."""
    return [example for example in EXAMPLES if example.language == language]


def here(text: str, gateway: Any) -> str:
    """Return an example with the addresses of this run."""
    for address in SUBSTITUTED:
        text = text.replace(address, gateway.url)
    return text


def test_every_block_names_a_language_that_is_checked() -> None:
    """No fence is left without a language, or with one that nobody checks."""
    assert EXAMPLES
    assert [str(example) for example in EXAMPLES if example.language not in LANGUAGES] == []


@pytest.mark.parametrize("example", of("python"), ids=str)
def test_python_runs(
    example: Example,
    gateway: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """The code runs to its end and prints what the page says."""
    for name, value in gateway.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PREFRONTAL_HOME", str(tmp_path))  # the server owns its own database
    monkeypatch.chdir(tmp_path)
    source = here(example.body, gateway)
    code = compile(source, str(example), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    names: dict[str, Any] = {"__name__": "__example__"}
    result = eval(code, names)  # the only way to run code with `await` at its top level
    if inspect.iscoroutine(result):
        asyncio.run(result)
    printed = capsys.readouterr().out
    at = 0
    for line in example.body.splitlines():
        expected = EXPECTED.search(line)
        if expected:
            assert expected[1] in printed[at:], f"{expected[1]!r} is not in what was printed: {printed[at:]!r}"
            at = printed.index(expected[1], at) + len(expected[1])


def runnable(body: str) -> str:
    """Return a script without the commands of NOT_RUN."""
    kept = []
    for command in re.split(r"(?<!\\)\n", body):
        words = command.strip()
        if not any(words == name or words.startswith(f"{name} ") for name in NOT_RUN):
            kept.append(command)
    return "\n".join(kept)


def shell(script: str, gateway: Any, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a script as a reader would, `prefrontal` on the path."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {**os.environ, **gateway.env, "PATH": path, "PREFRONTAL_HOME": str(cwd / "home"), "COLUMNS": "120"}
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], env=env, cwd=cwd, capture_output=True, text=True, timeout=50, check=False
    )


@pytest.mark.parametrize("example", of("bash"), ids=str)
def test_bash_runs(example: Example, gateway: Any, tmp_path: Path) -> None:
    """The commands succeed."""
    checked = subprocess.run(["bash", "-n", "-c", example.body], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    script = runnable(here(example.body, gateway))
    if "curl" in script and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    if re.sub(r"#.*", "", script).strip():
        done = shell(script, gateway, tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        if not any(follower.output_of == example.body for follower in of("json")):  # that one is compared in full
            assert '"error":{' not in done.stdout


@pytest.mark.parametrize("example", of("json"), ids=str)
def test_json_is_what_is_printed(example: Example, gateway: Any, tmp_path: Path) -> None:
    """The example is valid JSON; after a command, it is part of what the command prints."""
    shown = json.loads(example.body)
    if example.output_of is None:
        return
    if "curl" in example.output_of and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    done = shell(runnable(here(example.output_of, gateway)), gateway, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    differences = list(missing(shown, json.loads(done.stdout), ""))
    assert differences == [], done.stdout


def missing(shown: Any, real: Any, path: str) -> Any:
    """Yield what an example shows and the real answer does not have."""
    key = path.rsplit(".", 1)[-1]
    if isinstance(shown, dict) and isinstance(real, dict):
        for name, value in shown.items():
            if name in real:
                yield from missing(value, real[name], f"{path}.{name}" if path else name)
            else:
                yield f"{path}.{name} is not there"
    elif isinstance(shown, list) and isinstance(real, list):
        if len(shown) > len(real):
            yield f"{path} has {len(real)} entries"
        for place, value in enumerate(shown[: len(real)]):
            yield from missing(value, real[place], f"{path}.{place}")
    elif key in VOLATILE or path in VOLATILE or key.endswith(("_ms", "_s")):
        if type(shown) is not type(real):
            yield f"{path} is {real!r}"
    elif shown != real:
        yield f"{path} is {real!r}, not {shown!r}"


@pytest.mark.parametrize("example", of("yaml"), ids=str)
def test_yaml_is_a_configuration(example: Example, tmp_path: Path) -> None:
    """The file loads; variables it refers to are set, and GGUF files it names exist."""
    variables = dict.fromkeys(re.findall(r"\$\{([A-Z_][A-Z0-9_]*)", example.body), "value-of-a-variable")
    models = tmp_path / "models"
    models.mkdir()
    for name in re.findall(r"path: (\S+\.gguf)", example.body):
        (models / name).touch()
    known = Known(
        profiles=load_profiles(), policies=tuple(builtin_policies()), dialects=tuple(load_dialects().dialects), tools=None
    )
    env = {"PREFRONTAL_HOME": str(tmp_path), "HOME": str(tmp_path), "OPENAI_API_KEY": "sk-of-a-test", **variables}
    load_text(example.body, env=env, known=known, file=Path("prefrontal.yaml"))


@pytest.mark.parametrize("example", of("toml"), ids=str)
def test_toml_parses(example: Example) -> None:
    """The block is valid TOML."""
    assert tomllib.loads(example.body)


def test_every_command_that_is_only_shown_has_its_reason() -> None:
    """The list of commands that are shown and not run names commands, each with the reason."""
    assert all(command and reason for command, reason in NOT_RUN.items())
    assert runnable("make run\ncurl -s x \\\n  -d y\nprefrontal serve --port 1") == "curl -s x \\\n  -d y"
