"""Every mistake has one precise line: file, line, path, what is wrong, what to write."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from prefrontal.config.load import Loaded
from prefrontal.config.problems import ConfigProblems

MODEL = "models:\n  gpt: {profile: openai}\n"
CASES = yaml.safe_load((Path(__file__).parent / "bad_files.yaml").read_text())


@pytest.mark.parametrize("case", CASES, ids=[case["name"].replace(" ", "-") for case in CASES])
def test_each_mistake_is_told_precisely(case: dict[str, str], read: Callable[..., Loaded]) -> None:
    """The file is refused with exactly the line a person needs."""
    with pytest.raises(ConfigProblems) as refused:
        read(case["text"], {"ACME_KEY": "x"})
    assert str(refused.value) == case["says"]


def test_all_problems_of_a_file_come_together(read: Callable[..., Loaded]) -> None:
    """Several mistakes are reported at once, in the order of the file."""
    with pytest.raises(ConfigProblems) as refused:
        read("server: {prt: 1}\nlogging:\n  level: loud\nrecords: {queue_size: 1}\n")
    assert [(problem.line, problem.path) for problem in refused.value.problems] == [
        (1, "server.prt"),
        (3, "logging.level"),
        (4, "records.queue_size"),
    ]


def test_the_error_carries_file_path_rule_and_hint(read: Callable[..., Loaded]) -> None:
    """Programs read the same four fields that people see."""
    with pytest.raises(ConfigProblems) as refused:
        read("server:\n  prt: 1\n")
    error = refused.value
    assert (error.file, error.path, error.rule, error.hint, error.line) == (
        "prefrontal.yaml",
        "server.prt",
        "unknown_key",
        "did you mean `port`?",
        2,
    )


def test_a_missing_model_file_is_named(read: Callable[..., Loaded]) -> None:
    """A GGUF file that is not there yet is a warning with what fetches it, and nothing for a model that is disabled."""
    (warning,) = read("models: {m: {path: x.gguf}}").warnings
    assert warning.path == "models.m.path"
    assert re.search(r"no such file: .*home/models/x\.gguf .*models pull OWNER/REPO:x\.gguf`", warning.text)
    assert read("models: {m: {path: x.gguf, enabled: false}}").warnings == ()


def test_a_wrong_type_of_a_secret_does_not_show_it(read: Callable[..., Loaded]) -> None:
    """The value of a key never appears in a message."""
    with pytest.raises(ConfigProblems) as refused:
        read("server: {api_keys: hunter2}")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        (MODEL + "routing: {fallback: [gpt, gpt]}", "routing.fallback[1]", "already listed above"),
        (MODEL + "routing: {primary: gpt}", "routing.primary", "no rule uses the policy"),
        (MODEL + "routing: {task_routing: {code: {role: coding}}}", "routing.task_routing.code.role", "no model has the role"),
        (MODEL + "routing: {task_routing: {code: {}}}", "routing.task_routing.code", "says nothing"),
        ("models: {a: {profile: vllm, enabled: false}}\nroles: {coding: [a]}", "roles.coding[0]", "is disabled"),
        ("models: {a: {profile: vllm, pinned: true}}", "models.a.pinned", "no effect without `path`"),
        ("limits: {timeouts: {total_s: 10}}", "limits.timeouts.first_token_s", "never fires"),
        (
            "models: {a: {profile: vllm, price: {windows: [{from: '0:00', to: '24:00'}, {from: '1:00', to: '2:00'}]}}}",
            "models.a.price.windows[1]",
            "never applies",
        ),
    ],
)
def test_unreachable_rules_are_warnings(text: str, path: str, said: str, read: Callable[..., Loaded]) -> None:
    """A rule that cannot take effect is said, and the file still serves."""
    warnings = {warning.path: warning.message for warning in read(text).warnings}
    assert said in warnings[path]
