"""Shipped profiles and the registry of wires."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from prefrontal.errors import ConfigError
from prefrontal.providers.base import Provider
from prefrontal.providers.catalogue import load_profiles
from prefrontal.providers.openai.provider import OpenAIProvider
from prefrontal.providers.profile import Profile
from prefrontal.providers.registry import ENTRY_POINT_GROUP, builtin_providers, discover_providers

PROFILES = load_profiles()


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_says_how_sure_it_is(name: str) -> None:
    """Each row has its evidence and source, its name, and a wire that is shipped; hosted ones have an address and a key."""
    profile = PROFILES[name]
    assert profile.name == name
    assert profile.source
    assert builtin_providers().for_profile(profile).wire == profile.wire
    assert profile.auth.required <= bool(profile.auth.env)
    assert not (profile.self_hosted and profile.base_url)
    assert profile.count_tokens == (profile.paths.count_tokens is not None)


def test_effort_dialects_of_profiles_exist() -> None:
    """A profile names a dialect that the shipped table has."""
    from prefrontal.providers.effort.dialects import load_dialects

    known = load_dialects().dialects
    assert {profile.effort_dialect for profile in PROFILES.values()} <= set(known)


def test_each_call_gives_a_new_map() -> None:
    """There is no module cache: whoever changes his map changes only his own."""
    mine = load_profiles()
    del mine["openai"]
    assert "openai" in load_profiles()


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("profiles: [", None),
        ("[]", "profiles"),
        ("profiles: {a: {title: t, wire: openai}}", "profiles.a"),
        ("profiles: {a: {title: t, wire: openai, provider: p, colour: red}}", "profiles.a"),
        ("profiles: {a: {title: t, wire: openai, provider: p, paths: {chat: 5}}}", "profiles.a.paths.chat"),
    ],
)
def test_a_bad_file_names_the_place(text: str, path: str | None) -> None:
    """Unknown and wrong fields are errors at their path."""
    with pytest.raises(ConfigError) as caught:
        load_profiles(text)
    assert caught.value.path == path


def test_an_unknown_wire_is_a_config_error() -> None:
    """The error names the wire and the nearest known one."""
    profile = Profile(name="x", title="t", wire="opennai", provider="p")
    with pytest.raises(ConfigError, match="'openai'"):
        builtin_providers().for_profile(profile)


class OtherProvider(OpenAIProvider):
    """A provider of another package."""

    wire = "other"


def broken() -> Provider:
    """An entry point that fails."""
    raise RuntimeError("no GPU")


def entry(name: str, what: str) -> EntryPoint:
    """An entry point into this module."""
    return EntryPoint(name=name, value=f"{__name__}:{what}", group=ENTRY_POINT_GROUP)


def test_plug_ins_are_found_and_broken_ones_reported() -> None:
    """One good plug-in joins; failing, missing, foreign and doubled ones are listed with their reason and stop nobody."""
    points = [
        entry("good", "OtherProvider"),
        entry("bad", "broken"),
        entry("gone", "nothing"),
        entry("dict", "dict_of"),
        entry("twice", "OtherProvider"),
    ]
    found = discover_providers(points)
    assert list(found.by_wire) == ["other"]
    reasons = {plugin.name: plugin.reason for plugin in found.broken}
    assert set(reasons) == {"bad", "gone", "dict", "twice"}
    assert "no GPU" in reasons["bad"]
    assert "dict lacks methods" in reasons["dict"]
    providers = builtin_providers().plus(found.by_wire)
    assert providers.for_profile(Profile(name="x", title="t", wire="other", provider="p")).wire == "other"
    assert "other" not in builtin_providers().wires


dict_of = dict


def test_installed_entry_points_are_read() -> None:
    """Without arguments the installed packages are asked; nothing installed here is broken."""
    assert discover_providers().broken == ()
