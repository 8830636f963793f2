"""`prefrontal keys` and `prefrontal spend`, in the database of this machine and through a gateway."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prefrontal.chat.usage import Usage
from prefrontal.clock import SystemClock
from prefrontal.contracts.money import Charge
from prefrontal.ledger.sqlite import SqliteLedger
from prefrontal.ledger.sqlite_vault import SqliteVault

Ask = Callable[..., Any]


def out(run: Ask, *arguments: str) -> str:
    """Return what the command wrote to stdout; it went well."""
    result = run(*arguments)
    assert result.exit_code == 0, result.stderr
    text: str = result.stdout
    return text


def test_a_key_is_shown_once(run: Ask) -> None:
    """`create` prints the secret alone on stdout; `list` and `show` never have it, in tables or in JSON."""
    secret = out(
        run, "keys", "create", "search", "--team", "red", "--tag", "prod", "--budget-usd", "2.5", "--window", "day"
    ).strip()
    assert secret.startswith("sk-pf-")
    assert len(secret) > 40
    for arguments in (
        ("keys", "list"),
        ("keys", "list", "--json"),
        ("keys", "show", "search"),
        ("keys", "show", "search", "--json"),
    ):
        shown = out(run, *arguments)
        assert secret not in shown
        assert secret[-4:] in shown
        assert "red" in shown
    assert "$2.50 a day" in out(run, "keys", "list")


def test_everything_a_key_carries_is_shown(run: Ask) -> None:
    """What the options say is what the key has."""
    options = [
        "--model",
        "m",
        "--model",
        "n",
        "--tool",
        "calculator",
        "--channel",
        "code",
        "--expires",
        "2099-01-02",
        "--no-content",
    ]
    limits = ["--budget-tokens", "500", "--degrade", "--rpm", "7", "--tpm", "900", "--concurrency", "2"]
    made = json.loads(out(run, "keys", "create", "full", *options, *limits, "--json"))
    found = json.loads(out(run, "keys", "show", "full", "--json"))
    assert {**made, "key": None} == {**found, "key": None}
    assert (found["models"], found["tools"], found["channel"], found["store_content"]) == (
        ["m", "n"],
        ["calculator"],
        "code",
        False,
    )
    assert found["expires_s"] == 4_070_995_200
    (budget,) = found["budgets"]
    assert (budget["window"], budget["usd"], budget["tokens"], budget["on_exhaustion"]) == ("month", None, 500, "degrade")
    assert found["rates"] == [{"window": "minute", "requests": 7, "tokens": 900, "concurrency": 2}]


def test_a_revoked_key_stays_in_the_list(run: Ask) -> None:
    """`revoke` takes a name or an id, twice without harm; its name is free again; a name nobody has is said."""
    made = json.loads(out(run, "keys", "create", "one", "--json"))
    again = run("keys", "create", "one")
    assert (again.exit_code, again.stdout) == (1, "")
    out(run, "keys", "revoke", "one")
    out(run, "keys", "revoke", made["id"])
    assert "revoked" in out(run, "keys", "list")
    out(run, "keys", "create", "one")
    unknown = run("keys", "revoke", "nobody")
    assert unknown.exit_code == 1
    assert "There is no key 'nobody'" in unknown.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("keys", "create", " "), "printable"),
        (("keys", "create", "x", "--expires", "soon"), "'soon' is not a date"),
        (("spend", "--by", "colour"), "Known: key, team, tag, model, day, month"),
        (("spend", "--since", "yesterday"), "is not a date"),
    ],
)
def test_mistakes_are_worded(run: Ask, arguments: tuple[str, ...], said: str) -> None:
    """A wrong option names itself and what would be right."""
    result = run(*arguments)
    assert result.exit_code == 1
    assert said in result.stderr


def test_spending_is_added_up(run: Ask) -> None:
    """A reflex costs nothing and is no charge; what attempts cost stands by the groups asked for."""
    assert "Nothing was spent" in run("spend").stderr

    async def fill() -> None:
        ledger = SqliteLedger(Path(os.environ["PREFRONTAL_HOME"]) / "prefrontal.db", clock=SystemClock()).open()
        vault = SqliteVault(ledger, clock=SystemClock())
        usage = Usage(uncached_input_tokens=1000, output_tokens=10, source="reported")
        for number, model in enumerate(("m", "m", "n")):
            vault.put_charge(Charge(id=f"r{number}/0", at_s=1_700_000_000.0, model=model, usage=usage, cost_pico=5 * 10**11))
        await vault.committed()
        await ledger.aclose()

    asyncio.run(fill())
    rows = json.loads(out(run, "spend", "--by", "model,day", "--json"))["data"]
    assert [(row["model"], row["day"], row["calls"], row["cost_usd"]) for row in rows] == [
        ("m", "2023-11-14", 2, 1.0),
        ("n", "2023-11-14", 1, 0.5),
    ]
    table = out(run, "spend", "--until", "2024-01-01")
    assert "$1.00" in table
    assert "2,000" in table
    assert json.loads(out(run, "spend", "--since", "2024-01-01", "--json"))["data"] == []


def test_a_running_gateway_is_asked_by_its_address(run: Ask, registry: Path, serve: Ask) -> None:
    """With --url the gateway itself makes, shows, counts and revokes; what it wrote is in the database too."""
    url = serve("--port", "0").url
    secret = out(run, "keys", "create", "live", "--team", "red", "--url", url).strip()
    assert secret.startswith("sk-pf-")
    assert "live" in out(run, "keys", "list", "--url", url)
    assert "red" in out(run, "keys", "show", "live", "--url", url)
    assert "live" in out(run, "keys", "list")
    assert json.loads(out(run, "spend", "--by", "key", "--url", url, "--json"))["data"] == []
    assert json.loads(out(run, "keys", "revoke", "live", "--url", url, "--json"))["revoked_s"] is not None
    assert run("keys", "show", "nobody", "--url", url).exit_code == 1
