"""`prefrontal config`: check, show, schema, import."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

Run = Callable[..., Any]


def test_check_lists_every_problem_with_its_place(run: Run, folder: Path) -> None:
    """All problems are printed as file:line: path: message (hint), and the status is 2."""
    (folder / "bad.yaml").write_text("server:\n  prot: 1\nmodels:\n  a: {profile: vlm}\n")
    result = run("config", "check", "bad.yaml")
    assert result.exit_code == 2
    assert result.stdout.splitlines()[0] == "bad.yaml:2: server.prot: unknown setting (did you mean `port`?)"
    found = json.loads(run("config", "check", "--json", "bad.yaml").stdout)
    assert found["ok"] is False
    assert found["problems"][0]["line"] == 2


def test_several_problems_are_all_said(run: Run, folder: Path) -> None:
    """Nobody has to run the check once a mistake."""
    (folder / "prefrontal.yaml").write_text("server:\n  prot: 1\n  hots: x\n")
    result = run("config", "check")
    assert [line.split(": ")[1] for line in result.stdout.splitlines()] == ["server.prot", "server.hots"]
    assert "2 problems" in result.stderr


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{instructions: x, options: [a, b], rule: 'state.('}", "decisions.types.t: the rule is not valid CEL"),
        ("{instructions: x, options: [a, b], rule: state.n, samples: [{n: c}]}", "the rule fails on the sample"),
        ("{instructions: x, options: [a, b], models: [zz]}", "decisions.types.t.models[0]: unknown model `zz`"),
    ],
)
def test_a_wrong_decision_type_is_found_before_it_serves(run: Run, folder: Path, entry: str, said: str) -> None:
    """Its rule is compiled and tried on its samples, and its models must exist."""
    (folder / "prefrontal.yaml").write_text(f"decisions: {{types: {{t: {entry}}}}}\n")
    result = run("config", "check")
    assert result.exit_code == 2
    assert said in result.stdout


def test_check_of_a_good_file_is_one_line(run: Run, registry: Path) -> None:
    """A file that can be used is said to be ok, by its name."""
    result = run("config", "check")
    assert (result.exit_code, result.stdout) == (0, "prefrontal.yaml: ok\n")
    assert json.loads(run("config", "check", "--json").stdout)["ok"] is True


def test_check_without_a_file_checks_the_environment(run: Run) -> None:
    """Settings in variables are checked too."""
    assert run("config", "check").stdout == "no file: the defaults: ok\n"
    assert run("config", "check", env={"PREFRONTAL__SERVER__PORT": "none"}).exit_code == 2


def test_show_is_the_tree_in_use_without_secrets(run: Run, registry: Path) -> None:
    """File, environment and defaults together, as YAML that says where it came from; keys are masked."""
    result = run("config", "show", env={"PREFRONTAL__SERVER__PORT": "5005", "PREFRONTAL_API_KEY": "a-rather-long-key-of-mine"})
    assert result.stdout.startswith("# prefrontal.yaml; tree ")
    tree = yaml.safe_load(result.stdout)
    assert tree["server"]["port"] == 5005
    assert tree["models"]["parrot"]["context_tokens"] == 32768
    assert tree["limits"]["discovered_spend_usd_per_day"] == 1.0
    assert "sk-a-secret" not in result.stdout
    assert "a-rather-long" not in result.stdout


def test_show_as_json_names_the_file(run: Run, registry: Path) -> None:
    """Machines get file, hash and tree in one document."""
    found = json.loads(run("config", "show", "--json").stdout)
    assert found["file"] == "prefrontal.yaml"
    assert len(found["hash"]) == 16
    assert found["config"]["models"]["parrot"]["model"] == "mock-model"


def test_schema_is_the_json_schema(run: Run) -> None:
    """Editors get the schema that ships."""
    schema = json.loads(run("config", "schema").stdout)
    assert schema["title"] == "Prefrontal configuration"


LITELLM = """\
model_list:
  - model_name: fast
    litellm_params: {model: openai/gpt-4o-mini, api_key: os.environ/OPENAI_API_KEY}
    unknown_thing: 1
"""


def test_import_writes_a_file_that_checks(run: Run, folder: Path) -> None:
    """The translation goes to --out, can be used as it is, and is never written over another file."""
    (folder / "litellm.yaml").write_text(LITELLM)
    assert run("config", "import-litellm", "litellm.yaml", "--out", "new.yaml").exit_code == 0
    assert run("config", "check", "new.yaml", env={"OPENAI_API_KEY": "sk-test-only"}).exit_code == 0
    again = run("config", "import-litellm", "litellm.yaml", "--out", "new.yaml")
    assert again.exit_code == 1
    assert "new.yaml exists already" in again.stderr


def test_import_to_a_pipe_and_as_json(run: Run, folder: Path) -> None:
    """Without --out the YAML goes to stdout; --json gives tree and notes."""
    (folder / "litellm.yaml").write_text(LITELLM)
    assert "fast" in yaml.safe_load(run("config", "import-litellm", "litellm.yaml").stdout)["models"]
    found = json.loads(run("config", "import-litellm", "--json", "litellm.yaml").stdout)
    assert found["config"]["models"]["fast"]["profile"] == "openai"


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_is_none(run: Run, name: str) -> None:
    """A wrong file name is a configuration error, not a stack trace."""
    for arguments in (("config", "check", name), ("config", "import-litellm", name), ("config", "show", "-c", name)):
        result = run(*arguments)
        assert result.exit_code == 2
        assert name in result.stdout + result.stderr
