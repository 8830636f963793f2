"""Secrets stay out of what is shown and stored."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from prefrontal.config.load import Loaded
from prefrontal.config.problems import ConfigProblems
from prefrontal.config.redact import REDACTED, Redactor, mask, redact, secrets_of

LONG = "Ab3" * 14


@pytest.mark.parametrize(
    "secret",
    [
        "sk-" + LONG,
        "sk-ant-api03-" + LONG,
        "sk-proj-" + LONG,
        "sk-or-v1-" + LONG,
        "gsk_" + LONG,
        "hf_" + LONG,
        "xai-" + LONG,
        "AIza" + LONG[:35],
        "ya29." + LONG,
        "AKIA" + "A1B2C3D4E5F6G7H8",
        "ghp_" + LONG,
        "github_pat_" + LONG,
        "glpat-" + LONG,
        "xoxb-123456789012-abc",
        "r8_" + LONG,
        "sk_live_" + LONG,
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcdefghij",
        "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_everything_with_the_shape_of_a_key_goes(secret: str) -> None:
    """A key in the middle of a text is replaced and the text around it kept."""
    assert Redactor().text(f"before {secret} after") == f"before {REDACTED} after"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Authorization: Bearer abcdef1234567890", f"Authorization: Bearer {REDACTED}"),
        ("api_key=abcdef123456", f"api_key={REDACTED}"),
        ('{"password": "hunter2hunter2"}', f'{{"password": "{REDACTED}"}}'),
        ("postgres://user:secret@host/db", f"postgres://user:{REDACTED}@host/db"),
    ],
)
def test_what_is_named_a_secret_goes(text: str, expected: str) -> None:
    """The name stays, the value goes."""
    assert Redactor().text(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "the task-force met on the disk-based system",
        "max_tokens: 4096, tokenizer: fast",
        "import sklearn as sk",
        "Bearer of bad news",
        "https://example.com:8080/path@home",
        "The key to success: persistence",
        "a risk-averse, desk-bound person",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    """Nothing that only looks a little like a secret is touched."""
    assert Redactor().text(text) == text


def test_known_secrets_go_whatever_their_shape() -> None:
    """A configured key is removed even when nothing else would recognise it."""
    assert Redactor(["plain-password"]).text("it is plain-password!") == f"it is {REDACTED}!"


def test_values_are_redacted_inside_and_by_name() -> None:
    """Nested values are searched, and the value of a key that names a secret goes whatever it is."""
    value = {"messages": [{"content": "use sk-" + LONG}], "api_key": "abc", "max_tokens": 5, "n": None}
    assert Redactor().value(value) == {
        "messages": [{"content": f"use {REDACTED}"}],
        "api_key": REDACTED,
        "max_tokens": 5,
        "n": None,
    }


@pytest.mark.parametrize(
    "text", ["sk-" * 60_000, "-----BEGIN PRIVATE KEY-----" * 300, "a:" * 50_000, "password" * 20_000, "://a" * 40_000]
)
def test_hostile_text_costs_no_more_than_other_text(text: str) -> None:
    """The patterns are linear: 200 KB of the worst text take well under a second."""
    started = time.perf_counter()
    Redactor().text(text)
    assert time.perf_counter() - started < 1.0


def test_config_show_holds_no_secret(read: Callable[..., Loaded]) -> None:
    """Keys, all headers and secrets in extra fields are masked; everything else is shown."""
    secrets = {
        "A": "our-own-key-0123456789",
        "B": "their-key-0123456789",
        "C": "header-secret-0123456789",
        "D": "extra-secret-0123456789",
    }
    text = (
        "server: {api_keys: ['${A}']}\nmodels:\n  m:\n    profile: vllm\n    key: ${B}\n    licence: MIT\n"
        "    headers: {Authorization: '${C}', X-Team: red}\n    extra_body: {auth_token: '${D}', top_k: 3}\n"
    )
    config = read(text, secrets).config
    shown = redact(config)
    assert not [value for value in secrets.values() if value in json.dumps(shown)]
    model = shown["models"]["m"]
    assert (model["key"], model["licence"], model["headers"]["X-Team"], model["extra_body"]["top_k"]) == ("…6789", "MIT", "…", 3)
    assert set(secrets_of(config)) >= {secrets["A"], secrets["B"], secrets["C"]}


def test_a_short_secret_shows_nothing_of_itself() -> None:
    """Four characters of a short password would give it away."""
    assert (mask("hunter2"), mask("sk-0123456789abcdef")) == ("…", "…cdef")


def test_a_header_is_masked_whatever_it_is_called(read: Callable[..., Loaded]) -> None:
    """A gateway in between may ask for its key under any name; also the log and the records keep it out."""
    text = (
        "models: {m: {profile: vllm, headers: {X-Corp-Id: hunter2-tenant-77, User-Agent: my-own-agent},"
        " extra_body: {auth: {user: me-myself-1, pin: 123456}, author: Jane-Austen, list: [{api_key: nested-one}]}}}"
    )
    config = read(text).config
    shown = redact(config)["models"]["m"]
    assert shown["headers"] == {"X-Corp-Id": "…t-77", "User-Agent": "…"}
    assert shown["extra_body"] == {"auth": {"user": "…", "pin": "…"}, "author": "Jane-Austen", "list": [{"api_key": "…"}]}
    secrets = secrets_of(config)
    assert {"hunter2-tenant-77", "me-myself-1", "nested-one"} <= set(secrets)
    assert not {"my-own-agent", "Jane-Austen"} & set(secrets)


def test_a_secret_of_the_wrong_type_is_not_shown(read: Callable[..., Loaded]) -> None:
    """A key of digits alone is a number to YAML; the message says where it is and not what it is."""
    with pytest.raises(ConfigProblems) as caught:
        read("models: {m: {profile: vllm, key: 12345678, headers: {X-Pin: 87654321}}}")
    said = str(caught.value)
    assert "models.m.key" in said
    assert "models.m.headers.X-Pin" in said
    assert "12345678" not in said
    assert "87654321" not in said
