"""Keeping secrets out of what is shown and stored: masked settings, and text with anything key-shaped removed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

import msgspec

from prefrontal.config.schema import Config, DeploymentEntry, ModelEntry

REDACTED = "[redacted]"
_SECRET_WORDS = ("key", "token", "secret", "password", "authorization", "cookie", "credential")
_SECRET_PARTS = frozenset({"auth", "pass", "passwd", "pwd", "pin", "sig", "signature", "bearer", "jwt"})
_PUBLIC_HEADERS = frozenset(
    {"accept", "content-type", "user-agent", "referer", "http-referer", "x-title", "anthropic-version", "anthropic-beta"}
)
"""Headers whose values no log needs to hide."""
_NOT_SECRET = ("tokens", "template_key", "max_completion_tokens", "env_keys", "keyboard", "tokenizer")

_WORD = r"(?<![A-Za-z0-9])"  # keeps words such as `task-` and `disk-` whole

# Published prefixes of keys in the wild: literals one of which must occur, so that ordinary text costs no regular expression.
_SHAPES: tuple[tuple[tuple[str, ...], re.Pattern[str]], ...] = (
    # OpenAI, Anthropic, OpenRouter, DeepSeek, Moonshot, LiteLLM, our own
    (("sk-",), re.compile(_WORD + r"sk-[A-Za-z0-9_\-]{12,}")),
    (
        ("gsk_", "hf_", "r8_", "npm_", "gh", "glpat-", "github_pat"),  # Groq, Hugging Face, Replicate, npm, GitHub, GitLab
        re.compile(_WORD + r"(?:gsk|hf|r8|npm|ghp|gho|ghu|ghs|ghr|glpat|github_pat)[_-][A-Za-z0-9_\-]{16,}"),
    ),
    (("sk_", "rk_", "pk_", "whsec_"), re.compile(_WORD + r"(?:sk|rk|pk|whsec)_(?:live_|test_)?[A-Za-z0-9]{16,}")),  # Stripe
    (("xai-",), re.compile(_WORD + r"xai-[A-Za-z0-9]{16,}")),
    (("pypi-",), re.compile(_WORD + r"pypi-[A-Za-z0-9_\-]{16,}")),
    (("xox",), re.compile(_WORD + r"xox[abeoprs]-[A-Za-z0-9\-]{10,}")),  # Slack
    (("AIza",), re.compile(_WORD + r"AIza[A-Za-z0-9_\-]{30,}")),  # Google
    (("ya29.",), re.compile(_WORD + r"ya29\.[A-Za-z0-9_\-]{16,}")),  # Google OAuth
    (("AKIA", "ASIA"), re.compile(_WORD + r"(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])")),  # AWS
    (("SG.",), re.compile(_WORD + r"SG\.[A-Za-z0-9_\-]{16,}\.[A-Za-z0-9_\-]{16,}")),  # SendGrid
    (("eyJ",), re.compile(_WORD + r"eyJ[A-Za-z0-9_\-]{8,}\.eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{4,}")),  # signed web tokens
    (
        ("PRIVATE KEY-----",),
        re.compile(r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----[\s\S]{0,10000}?(?:-----END [A-Z ]{0,20}PRIVATE KEY-----|\Z)"),
    ),
)
# what follows a name that says it is a secret; the name stays, the value goes
_NAMED = re.compile(
    r"""((?:api[_-]?key|access[_-]?key|secret[_-]?key|client[_-]?secret|auth[_-]?token|access[_-]?token|password|passwd)["']?"""
    r"""\s{0,4}[:=]\s{0,4}["']?)([^\s"',;}]{6,})""",
    re.IGNORECASE,
)
_BEARER = re.compile(r"(\b(?:bearer|basic)\s{1,4})([A-Za-z0-9_\-.~+/]{12,}=*)", re.IGNORECASE)
_PARAMETER = re.compile(r"([?&](?:password|passwd|passfile|sslpassword)=)([^&\s#]{1,256})", re.IGNORECASE)
_URL = re.compile(r"(://[^\s/:@]{0,256}:)([^\s/]{1,256})(@)")  # to the last @: people forget to escape one in a password


class Redactor:
    """Removes secrets from text: those it was told of, and everything with the shape of a key. Safe for hostile text: linear."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = sorted({secret for secret in secrets if len(secret) >= 6}, key=len, reverse=True)
        self._known = re.compile("|".join(re.escape(secret) for secret in known)) if known else None

    def text(self, text: str) -> str:
        """Return `text` with every secret replaced by ``[redacted]``; text without one comes back as it is."""
        if self._known is not None:
            text = self._known.sub(REDACTED, text)
        text = _without_shapes(text)
        lowered = text.lower()
        if "bearer" in lowered or "basic" in lowered:
            text = _BEARER.sub(rf"\1{REDACTED}", text)
        if any(word in lowered for word in ("key", "secret", "token", "passw")):
            text = _NAMED.sub(rf"\1{REDACTED}", text)
        return _without_logins(text)

    def value(self, value: Any) -> Any:
        """Return `value`, any JSON value, with the text in it redacted, and the values of keys that name a secret removed."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        if isinstance(value, dict):
            return {key: self._entry(key, item) for key, item in value.items()}
        return value

    def _entry(self, key: Any, item: Any) -> Any:
        if isinstance(item, str) and isinstance(key, str) and item and names_secret(key):
            return REDACTED
        return self.value(item)


def _without_shapes(text: str) -> str:
    for literals, pattern in _SHAPES:
        if any(literal in text for literal in literals):
            text = pattern.sub(REDACTED, text)
    return text


def _without_logins(text: str) -> str:
    """Return a text without the passwords of the addresses in it, those among their parameters included."""
    if "://" not in text:
        return text
    return _PARAMETER.sub(rf"\1{REDACTED}", _URL.sub(rf"\1{REDACTED}\3", text))


def passwords_in(url: str | None) -> tuple[str, ...]:
    """Return the password of an address as it is written and as it is meant, none where it has none."""
    written = [match.group(2) for match in _URL.finditer(url or "")]
    written += [match.group(2) for match in _PARAMETER.finditer(url or "")]
    return tuple(dict.fromkeys([*written, *[unquote(password) for password in written]]))


def header_secrets(headers: Mapping[str, str]) -> list[str]:
    """Return the values of headers that are not known to be public."""
    return [value for name, value in headers.items() if name.lower() not in _PUBLIC_HEADERS]


def secrets_of(config: Config) -> tuple[str, ...]:
    """Return every secret written in `config`: our keys, the providers', headers, and fields named like a secret.

    Of the models' headers those are left out that are known to be public, so that ordinary words stay in what is stored.
    """
    found = [*config.server.api_keys, *config.server.admin_keys]
    for entry in config.models.values():
        found += [*_named_secrets(entry.extra_body or {})]
        places: tuple[ModelEntry | DeploymentEntry, ...] = (entry, *entry.deployments)
        for one in places:
            found += [one.key or "", *one.keys]
            found += header_secrets(one.headers)
    found += [*config.telemetry.headers.values(), config.records.user_key or ""]
    found += [*passwords_in(config.store.url), *passwords_in(config.redis.url)]
    return tuple(dict.fromkeys(secret for secret in found if secret))


def _named_secrets(value: Any) -> list[str]:
    """Return the texts, at any depth, that stand below a name of a secret."""
    if isinstance(value, list | tuple):
        return [secret for item in value for secret in _named_secrets(item)]
    if not isinstance(value, dict):
        return []
    found: list[str] = []
    for name, item in value.items():
        found += _texts(item) if isinstance(name, str) and names_secret(name) else _named_secrets(item)
    return found


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict | list | tuple):
        return [text for item in (value.values() if isinstance(value, dict) else value) for text in _texts(item)]
    return [value] if isinstance(value, str) else []


def redact(config: Config) -> dict[str, Any]:
    """Return the tree as plain values for ``config show``, with every secret masked."""
    shown: dict[str, Any] = masked(msgspec.to_builtins(config), ())
    return shown


def mask(secret: str) -> str:
    """Return what may be shown of a secret: its last four characters when it is long enough not to be guessed from them."""
    return f"…{secret[-4:]}" if len(secret) >= 16 else "…"


def masked(value: Any, path: tuple[str | int, ...]) -> Any:
    """Return a plain value that stands at `path` of the tree with the secrets in it masked."""
    if isinstance(value, dict):
        return {key: masked(item, (*path, key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item, (*path, index)) for index, item in enumerate(value)]
    if isinstance(value, str) and value:
        return mask(value) if is_secret(path) else _without_shapes(_without_logins(value))
    if isinstance(value, int | float) and not isinstance(value, bool) and is_secret(path):
        return mask(str(value))
    return value


def is_secret(path: tuple[str | int, ...]) -> bool:
    """Return whether the setting at `path` is a secret."""
    if path[:2] in (("server", "api_keys"), ("server", "admin_keys"), ("telemetry", "headers"), ("records", "user_key")):
        return True
    if len(path) < 3 or path[0] != "models":
        return False
    own = path[4:] if path[2] == "deployments" else path[2:]
    if not own:
        return False
    if own[0] in ("key", "keys"):
        return True
    if own[0] == "headers":
        return len(own) > 1  # a gateway in between may call its key whatever it likes
    return path[2] == "extra_body" and any(names_secret(part) for part in path[3:] if isinstance(part, str))


def names_secret(name: str) -> bool:
    """Return whether a header or field of that name usually carries a secret."""
    lowered = name.lower()
    if any(word in lowered for word in _SECRET_WORDS):
        return not any(word in lowered for word in _NOT_SECRET)
    return not _SECRET_PARTS.isdisjoint(re.split(r"[^a-z0-9]+", lowered))
