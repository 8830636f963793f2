"""Reading LiteLLM's configuration file and saying honestly what of it does not come along."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from prefrontal.config.import_litellm_money import take_model_money
from prefrontal.config.import_litellm_settings import IMPLIED, carry_settings, expand_environ, reference
from prefrontal.config.yaml_source import parse_yaml, write_yaml

PROFILES = {
    "openai": "openai",
    "azure": "azure-openai",
    "anthropic": "anthropic",
    "gemini": "gemini",
    "deepseek": "deepseek",
    "moonshot": "moonshot",
    "dashscope": "dashscope",
    "mistral": "mistral",
    "xai": "xai",
    "groq": "groq",
    "openrouter": "openrouter",
    "ollama": "ollama",
    "ollama_chat": "ollama",
    "vllm": "vllm",
    "hosted_vllm": "vllm",
    "lm_studio": "lmstudio",
    "llamafile": "llamacpp",
    "openai_like": "openai-compatible",
    "custom_openai": "openai-compatible",
}
"""LiteLLM's provider prefix → our profile."""

_PER_TOKEN = {
    "input_cost_per_token": "input_usd",
    "output_cost_per_token": "output_usd",
    "cache_read_input_token_cost": "cache_read_usd",
    "cache_creation_input_token_cost": "cache_write_usd",
}
_SUPPORTS = {
    "supports_function_calling": "tools",
    "supports_vision": "vision",
    "supports_reasoning": "thinking",
    "supports_audio_input": "audio",
    "supports_pdf_input": "files",
    "supports_response_schema": "structured_output",
}
_SILENT = {
    "id",
    "base_model",
    "mode",
    "db_model",
    "drop_params",
}  # no loss: ours by other means, or only LiteLLM's own bookkeeping


MONEY = ("rpm", "tpm", "max_budget", "budget_duration")
"""What bounds a deployment and lies elsewhere here."""


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """Our configuration as plain values, and one line for each thing that did not come along or needs a hand."""

    config: dict[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The configuration as YAML, the notes as comments above it."""
        head = "".join(f"# {note}\n" for note in self.notes)
        return head + ("\n" if head else "") + write_yaml(self.config)


def import_litellm(text: str, *, file: str | None = None, profiles: Collection[str] | None = None) -> Imported:
    """Return our form of a LiteLLM proxy configuration. `profiles` are those that exist (None: assume the shipped ones).

    Secrets written in the file are not copied: each becomes a reference to a variable, and a note says which.

    Raises:
        ConfigProblems: the text is not YAML.
    """
    raw = parse_yaml(text, file).raw
    notes: list[str] = []
    models: dict[str, Any] = {}
    groups: dict[str, list[str]] = {}
    bounds: dict[str, Any] = {}
    rows = raw.get("model_list") or []
    if not isinstance(rows, list):
        notes.append("model_list is not a list: no model was read")
        rows = []
    for index, row in enumerate(rows):
        where = f"model_list[{index}]"
        reader = _Entry(where, row, profiles, notes) if isinstance(row, dict) else None
        money = {} if reader is None else reader.money
        entry = None if reader is None else reader.read()
        if entry is None:
            notes.append(f"{where}: not carried")
            continue
        group = str(row.get("model_name") or entry["model"])
        name = group if group not in models else f"{group}-{len(groups[group]) + 1}"
        models[name] = entry
        take_model_money(name, money, bounds, notes)
        groups.setdefault(group, []).append(name)
    config: dict[str, Any] = {"version": 1, "models": models, **bounds}
    many = {_role(group): names for group, names in groups.items() if len(names) > 1}
    for role, names in many.items():
        notes.append(f"{role}: {len(names)} deployments became {', '.join(names)}; `role/{role}` stands for all of them")
    if many:
        config["roles"] = many
    carry_settings(raw, config, groups, notes)
    return Imported(config=config, notes=tuple(notes))


def _role(group: str) -> str:
    return re.sub(r"[\s/]+", "-", group)


class _Entry:
    """Reads one deployment."""

    def __init__(self, where: str, row: Mapping[str, Any], profiles: Collection[str] | None, notes: list[str]) -> None:
        self._where = where
        self._params = dict(row.get("litellm_params") or {})
        self._info = dict(row.get("model_info") or {})
        self._profiles = profiles
        self._notes = notes
        self._entry: dict[str, Any] = {}
        self.money = {name: self._params.pop(name) for name in MONEY if name in self._params}

    def read(self) -> dict[str, Any] | None:
        """Return our entry, or None after a note said why there is none."""
        model = self._params.pop("model", None)
        if not isinstance(model, str) or "*" in model:
            self._note("litellm_params.model is a wildcard or missing: name each model")
            return None
        profile, wire_name = self._profile(model)
        if profile is None:
            return None
        self._entry = {"profile": profile, "model": wire_name}
        self._endpoint(profile)
        self._secrets(profile)
        self._limits()
        self._facts()
        if "drop_params" in self._params:
            self._note(f"drop_params: {IMPLIED['drop_params']}")
        for name in (*self._params, *(f"model_info.{name}" for name in self._info)):
            if name.removeprefix("model_info.") not in _SILENT:
                self._note(f"{name} not carried")
        return self._entry

    def _profile(self, model: str) -> tuple[str | None, str]:
        prefix, slash, rest = model.partition("/")
        given = self._params.pop("custom_llm_provider", None)
        if given:
            prefix, rest = str(given), model.removeprefix(f"{given}/")
        elif not slash:
            prefix, rest = (
                ("anthropic" if model.startswith("claude") else "gemini" if model.startswith("gemini") else "openai"),
                model,
            )
        profile = PROFILES.get(prefix)
        base = str(self._params.get("api_base") or self._params.get("base_url") or "")
        if profile == "openai" and base and "api.openai.com" not in base:
            profile = "openai-compatible"  # LiteLLM writes openai/ for any endpoint that speaks this wire
        if profile is None or (self._profiles is not None and profile not in self._profiles):
            self._note(f"provider `{prefix}` has no profile here")
            return None, rest
        return profile, rest

    def _endpoint(self, profile: str) -> None:
        endpoint = self._params.pop("api_base", None) or self._params.pop("base_url", None)
        self._params.pop("base_url", None)
        version = self._params.pop("api_version", None)
        if endpoint is not None:
            self._entry["endpoint"] = expand_environ(str(endpoint)).rstrip("/")
        if profile == "azure-openai":
            if endpoint is None:
                self._note("add `endpoint:`, https://RESOURCE.openai.azure.com/openai/v1")
                self._entry["enabled"] = False
            elif "/openai/" not in str(endpoint) and "${" not in self._entry["endpoint"]:
                self._entry["endpoint"] += "/openai/v1"
            if version is not None:
                self._note("api_version not carried: the v1 API has none; `model` must be the deployment's name")

    def _secrets(self, profile: str) -> None:
        key = self._params.pop("api_key", None)
        if key is not None:
            name = f"{re.sub(r'[^A-Z0-9]', '_', profile.upper())}_API_KEY"
            found = reference(key, name, f"{self._where}.api_key", self._notes)
            if found is not None:
                self._entry["key"] = found
        headers = self._params.pop("extra_headers", None) or self._params.pop("headers", None) or {}
        organization = self._params.pop("organization", None)
        if organization:
            headers = {**headers, "openai-organization": organization}
        if headers:
            self._entry["headers"] = {name: expand_environ(value) for name, value in headers.items()}
        if self._params.pop("ssl_verify", True) is False:
            self._entry["tls"] = {"verify": False}

    def _limits(self) -> None:
        for theirs, ours in (
            ("timeout", "timeout_s"),
            ("max_parallel_requests", "concurrency"),
            ("max_tokens", "max_output_tokens"),
        ):
            value = self._params.pop(theirs, None)
            if isinstance(value, int | float):
                self._entry[ours] = value
            elif value is not None:
                self._note(f"{theirs} not carried")
        body = self._params.pop("extra_body", None)
        if body:
            self._entry["extra_body"] = body
        tags = self._params.pop("tags", None)
        if tags:
            self._entry["tags"] = list(tags)

    def _facts(self) -> None:
        price: dict[str, float] = {}
        for theirs, ours in _PER_TOKEN.items():
            values = [source.pop(theirs, None) for source in (self._params, self._info)]
            value = next((value for value in values if value is not None), None)
            if value is not None:
                price[ours] = round(float(value) * 1_000_000, 9)  # theirs are per token, ours per million
        if price:
            self._entry["price"] = price
        capabilities = {ours: bool(self._info.pop(theirs)) for theirs, ours in _SUPPORTS.items() if theirs in self._info}
        if self._info.get("mode") == "embedding":
            capabilities |= {"embedding": True, "chat": False}
        if capabilities:
            self._entry["capabilities"] = capabilities
        context = self._info.pop("max_input_tokens", None)
        output = self._info.pop("max_output_tokens", None)
        both = self._info.pop("max_tokens", None)
        if context or both:
            self._entry["context_tokens"] = int(context or both)
        if output:
            self._entry["max_output_tokens"] = min(int(output), self._entry.get("context_tokens", int(output)))

    def _note(self, text: str) -> None:
        self._notes.append(f"{self._where}: {text}")
