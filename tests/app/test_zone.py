"""The machine's time zone: what the environment says, else what the system's link says, else UTC."""

from __future__ import annotations

from pathlib import Path

import pytest

import prefrontal
from prefrontal.app.zone import machine_zone
from prefrontal.testing.clock import FakeClock
from prefrontal.testing.scripted import ScriptedTransport, scripted_config


@pytest.mark.parametrize(
    ("tz", "zone"),
    [("Asia/Tokyo", "Asia/Tokyo"), (":Asia/Tokyo", "Asia/Tokyo"), ("Mars/Base", "Europe/Berlin"), (None, "Europe/Berlin")],
)
def test_the_environment_goes_before_the_link(tmp_path: Path, tz: str | None, zone: str) -> None:
    """A zone nobody knows counts as none."""
    folder = tmp_path / "zoneinfo" / "Europe"
    folder.mkdir(parents=True)
    (folder / "Berlin").write_bytes(b"")
    link = tmp_path / "localtime"
    link.symlink_to(folder / "Berlin")
    assert machine_zone({} if tz is None else {"TZ": tz}, link) == zone


def test_without_a_link_it_is_utc(tmp_path: Path) -> None:
    """A container has none, or a plain file."""
    assert machine_zone({}, tmp_path / "none") == "UTC"
    (tmp_path / "plain").write_bytes(b"TZif")
    assert machine_zone({}, tmp_path / "plain") == "UTC"


@pytest.mark.parametrize(
    ("settings", "hints", "hour"), [({}, {}, "9:00 PM"), ({"timezone": "UTC"}, {}, "12:00"), ({}, {"timezone": "UTC"}, "12:00")]
)
async def test_the_time_is_told_in_the_machines_zone_unless_somebody_names_one(
    settings: dict[str, str], hints: dict[str, str], hour: str
) -> None:
    """The caller's zone goes before the configuration's, that before the machine's."""
    clock = FakeClock(1_700_000_000.0 - 1_700_000_000.0 % 86400 + 43_200, auto=True)
    config = scripted_config(routing={"reflexes": settings})
    async with prefrontal.open(config, env={"TZ": "Asia/Tokyo"}, clock=clock, transport=ScriptedTransport(clock=clock)) as pf:
        reply = await pf.chat("what time is it?", x_prefrontal=hints)
    assert hour in reply.text
