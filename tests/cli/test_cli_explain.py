"""`prefrontal explain`: reasons a person can read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefrontal.testing.upstream import MockUpstream

Run = Callable[..., Any]
POEM = "write a poem about autumn rain"


def test_it_says_who_would_answer_and_why(run: Run, registry: Path, upstream: MockUpstream) -> None:
    """Model, effort with factors, task, reasons and candidates are shown, and nothing is called."""
    result = run("explain", POEM)
    assert result.exit_code == 0, result.stderr
    text = result.stdout
    assert "answered by  the model parrot" in text
    assert "chat writing" in text
    for heading in ("Why", "Candidates"):
        assert f"\n{heading}\n" in text
    assert re.search(r"^  effort: 0\.\d\d of 1: complexity 0\.\d\d$", text, re.MULTILINE)
    assert "product of" not in text  # a table of one row says nothing that the reason does not
    assert "parrot" in text.split("Candidates")[1]
    assert "chosen" in text.split("Candidates")[1]
    assert upstream.requests == []


def test_losers_and_their_reasons_are_listed(run: Run, write_config: Run) -> None:
    """A model that cannot take the request is named with what it lacks."""
    file = write_config("http://127.0.0.1:9/v1")
    text = file.read_text().replace(
        "discovery:", "  tiny: {profile: openai-compatible, endpoint: 'http://127.0.0.1:9/v1', context_tokens: 64}\ndiscovery:"
    )
    file.write_text(text)
    shown = run("explain", "write a poem about " + "autumn rain " * 100).stdout
    row = next(line for line in shown.splitlines() if line.startswith("tiny"))
    assert "64" in row
    assert "chosen" not in row


def test_a_reflex_is_explained(run: Run) -> None:
    """A sum needs no model, not even a configured one."""
    shown = run("explain", "what is 17.5% of 2,340?", env={"PREFRONTAL__DISCOVERY__ENABLED": "false"}).stdout
    assert "calculator, a reflex: no model is needed" in shown
    assert "Candidates" not in shown


def test_json_is_what_the_http_api_gives(run: Run, registry: Path, gateway: Any) -> None:
    """Machines get the explanation as it is; the same from a running gateway."""
    here = json.loads(run("explain", "--json", POEM).stdout)
    there = json.loads(run("explain", "--json", "--url", gateway.url, POEM).stdout)
    assert here["model"] == there["model"] == "parrot"
    assert here["reasons"] == there["reasons"]
    assert here["object"] == "explanation"


def test_channel_and_effort_change_the_plan(run: Run, registry: Path) -> None:
    """What is asked for is in the plan."""
    plain = json.loads(run("explain", "--json", POEM).stdout)
    asked = json.loads(run("explain", "--json", "--channel", "code", "--effort", "0.9", POEM).stdout)
    assert (plain["channel"], asked["channel"]) == ("chat", "code")
    assert asked["effort"]["score"] == 0.9
    assert asked["effort"]["origin"] == "caller"


def test_without_any_model_the_way_out_is_said(run: Run) -> None:
    """No plan is an error that says what to do."""
    result = run("explain", POEM, env={"PREFRONTAL__DISCOVERY__ENABLED": "false"})
    assert result.exit_code == 1
    assert "prefrontal doctor" in result.stderr
