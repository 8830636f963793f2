"""`prefrontal keys` and `prefrontal spend`, in the database of this machine and through a gateway."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from prefrontal.chat.usage import Usage
from prefrontal.cli.main import main
from prefrontal.clock import SystemClock
from prefrontal.contracts.money import Charge
from prefrontal.ledger.sqlite import SqliteLedger
from prefrontal.ledger.sqlite_vault import SqliteVault


def run(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    """Return what the command wrote to stdout; its exit status is as expected."""
    capsys.readouterr()
    assert main(arguments) == status
    return capsys.readouterr().out


def test_a_key_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    """`create` prints the secret alone on stdout; `list` and `show` never have it, in tables or in JSON."""
    secret = run(
        capsys, "keys", "create", "search", "--team", "red", "--tag", "prod", "--budget-usd", "2.5", "--window", "day"
    ).strip()
    assert secret.startswith("sk-pf-")
    assert len(secret) > 40
    for arguments in (
        ("keys", "list"),
        ("keys", "list", "--json"),
        ("keys", "show", "search"),
        ("keys", "show", "search", "--json"),
    ):
        shown = run(capsys, *arguments)
        assert secret not in shown
        assert secret[-4:] in shown
        assert "red" in shown
    assert "$2.50 a day" in run(capsys, "keys", "list")


def test_everything_a_key_carries_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
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
    made = json.loads(run(capsys, "keys", "create", "full", *options, *limits, "--json"))
    found = json.loads(run(capsys, "keys", "show", "full", "--json"))
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


def test_a_revoked_key_stays_in_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    """`revoke` takes a name or an id, twice without harm; its name is free again; a name nobody has is said."""
    made = json.loads(run(capsys, "keys", "create", "one", "--json"))
    assert run(capsys, "keys", "create", "one", status=1) == ""
    run(capsys, "keys", "revoke", "one")
    run(capsys, "keys", "revoke", made["id"])
    assert "revoked" in run(capsys, "keys", "list")
    run(capsys, "keys", "create", "one")
    assert main(["keys", "revoke", "nobody"]) == 1
    assert "There is no key 'nobody'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("keys", "create", " "), "printable"),
        (("keys", "create", "x", "--expires", "soon"), "'soon' is not a date"),
        (("spend", "--by", "colour"), "Known: key, team, tag, model, day, month"),
        (("spend", "--since", "yesterday"), "is not a date"),
    ],
)
def test_mistakes_are_worded(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str) -> None:
    """A wrong option names itself and what would be right."""
    assert main(arguments) == 1
    assert said in capsys.readouterr().err


def test_spending_is_added_up(capsys: pytest.CaptureFixture[str]) -> None:
    """A reflex costs nothing and is no charge; what attempts cost stands by the groups asked for."""
    assert main(["spend"]) == 0
    assert "Nothing was spent" in capsys.readouterr().err

    async def fill() -> None:
        ledger = SqliteLedger(Path(os.environ["PREFRONTAL_HOME"]) / "prefrontal.db", clock=SystemClock()).open()
        vault = SqliteVault(ledger, clock=SystemClock())
        usage = Usage(uncached_input_tokens=1000, output_tokens=10, source="reported")
        for number, model in enumerate(("m", "m", "n")):
            vault.put_charge(Charge(id=f"r{number}/0", at_s=1_700_000_000.0, model=model, usage=usage, cost_pico=5 * 10**11))
        await vault.committed()
        await ledger.aclose()

    asyncio.run(fill())
    rows = json.loads(run(capsys, "spend", "--by", "model,day", "--json"))["data"]
    assert [(row["model"], row["day"], row["calls"], row["cost_usd"]) for row in rows] == [
        ("m", "2023-11-14", 2, 1.0),
        ("n", "2023-11-14", 1, 0.5),
    ]
    table = run(capsys, "spend", "--until", "2024-01-01")
    assert "$1.00" in table
    assert "2,000" in table
    assert json.loads(run(capsys, "spend", "--since", "2024-01-01", "--json"))["data"] == []
