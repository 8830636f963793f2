"""The settings of lenses: names that must exist, and what an entry without a word means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prefrontal.config.check import Known
from prefrontal.config.load import load_text
from prefrontal.config.problems import ConfigProblems
from prefrontal.config.schema_lenses import PRESETS, LensEntry
from prefrontal.decisions.lenses.reader import bounds_of
from prefrontal.providers.catalogue import load_profiles

MODEL = "models: {m: {profile: openai-compatible, endpoint: 'http://127.0.0.1:1/v1'}}\n"


def loaded(text: str, tmp_path: Path) -> Any:
    known = Known(profiles=load_profiles(), policies=(), dialects=(), tools=None)
    return load_text(MODEL + text, env={"PREFRONTAL_HOME": str(tmp_path)}, known=known).config


def test_an_entry_reads_and_unset_bounds_are_the_presets(tmp_path: Path) -> None:
    """What is named holds, the rest comes from the preset."""
    config = loaded("lenses: {domains: {model: m, preset: fast, retries: 4}}\nrouting: {channels: {x: {lens: [risk]}}}", tmp_path)
    bounds = bounds_of(config.lenses["domains"])
    assert (bounds.timeout_s, bounds.tries, bounds.deadline_s) == (3.0, 5, 3.0)
    assert config.routing.channels["x"].lens == ("risk",)
    for name, preset in PRESETS.items():
        assert bounds_of(LensEntry(preset=name)).deadline_s == preset.deadline_s >= preset.timeout_s


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("lenses: {domain: {}}", "lenses"),
        ("lenses: {domains: {model: nobody}}", "lenses.domains.model"),
        ("lenses: {domains: {secondary: nobody}}", "lenses.domains.secondary"),
        ("lenses: {domains: {model: role/nobody}}", "lenses.domains.model"),
        ("lenses: {domains: {preset: quick}}", "lenses.domains.preset"),
        ("lenses: {domains: {deadline_s: 0}}", "lenses.domains.deadline_s"),
        ("routing: {channels: {x: {lens: [domain]}}}", "routing.channels.x.lens"),
    ],
)
def test_wrong_settings_are_named(text: str, path: str, tmp_path: Path) -> None:
    """With the path of what is wrong."""
    with pytest.raises(ConfigProblems) as refused:
        loaded(text, tmp_path)
    assert path in str(refused.value)
