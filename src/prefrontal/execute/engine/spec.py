"""Which models the local engine can serve, and with which settings: `EngineSpec`, and `scan_models` that finds them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from prefrontal.errors import ConfigError
from prefrontal.execute.engine.header import ModelHeader, part_name, read_header

DEFAULT_CONTEXT_TOKENS = 8192
"""Assumed: fits common chats, and keeps a 128k model from reserving gigabytes unasked."""
DEFAULT_SLOTS = 4
"""Assumed: at four at a time a tiny model gave its best rate on two cores."""
DEFAULT_HTTP_THREADS = 64
"""Measured: with 8 threads and 16 to 32 kept-alive clients the slowest answers took 5 to 17 s, with 64 at most 0.1 s."""

log = logging.getLogger(__name__)

OnProblem = Callable[[Path, ConfigError], None]


class EngineSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How one model is served.

    `threads` 0 leaves one processor core to the gateway: with every core computing, a loaded machine was measured to be
    40 times slower. `gpu_layers` None lets the engine decide. `idle_s` None never unloads. `extra_args` are further flags of
    `prefrontal.execute.engine.child`, for example ``("--mmproj", "vision.gguf")``.
    """

    model_id: str
    path: str
    context_tokens: int = DEFAULT_CONTEXT_TOKENS
    """What one request may hold, prompt and answer together. Each slot has its own; capped to what the model was made for."""
    slots: int = DEFAULT_SLOTS
    threads: int = 0
    embedding: bool = False
    pooling: str | None = None
    gpu_layers: int | None = None
    pinned: bool = False
    """Started at launch, started again whenever it ends, never unloaded for idleness."""
    idle_s: float | None = None
    http_threads: int = DEFAULT_HTTP_THREADS
    """Must be at least the connections that callers keep open to this engine."""
    extra_args: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("context_tokens", "slots", "http_threads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1.", path=f"models.{self.model_id}.{name}", rule="minimum")
        if self.idle_s is not None and self.idle_s <= 0:
            raise ConfigError("idle_s must be above 0, or left out.", path=f"models.{self.model_id}.idle_s", rule="minimum")


def child_arguments(spec: EngineSpec, *, cores: int) -> list[str]:
    """Return the child's flags for `spec` on a machine with `cores` physical cores."""
    flags = {
        "--model": spec.path,
        "--alias": spec.model_id,
        "--context-tokens": spec.context_tokens,
        "--slots": spec.slots,
        "--threads": spec.threads or max(1, cores - 1),
        "--http-threads": spec.http_threads,
        "--pooling": spec.pooling,
        "--gpu-layers": spec.gpu_layers,
    }
    given = [f"{flag}={value}" for flag, value in flags.items() if value is not None]
    return [*given, *(["--embedding"] if spec.embedding else []), *spec.extra_args]


def spec_for(path: str | Path, header: ModelHeader | None = None) -> EngineSpec:
    """Return the default settings for one file; the header is read when it is not given.

    Raises:
        ConfigError: the file is not a usable GGUF model.
    """
    file = Path(path)
    known = header or read_header(file)
    return EngineSpec(
        model_id=part_name(file).stem,
        path=str(file),
        context_tokens=max(1, min(known.context_tokens or DEFAULT_CONTEXT_TOKENS, DEFAULT_CONTEXT_TOKENS)),
        embedding=known.is_embedding,
        pooling="mean" if known.is_embedding and not known.pooling_type else None,
    )


def scan_models(folder: str | Path, on_problem: OnProblem | None = None) -> list[EngineSpec]:
    """Return a spec for each model in `folder` (not below it), ordered by model id. Blocks on the disk.

    A model of several parts counts once; vision projectors (``mmproj`` in the name, or the architecture ``clip``) are left
    out. A missing folder holds no models. A file that cannot be used is left out and given to `on_problem`, or logged as a
    warning when there is none.
    """
    report = on_problem or _log_problem
    root = Path(folder)
    if not root.is_dir():
        return []
    specs = []
    for path in sorted(root.glob("*.gguf")):
        if "mmproj" in path.name.lower() or part_name(path).part != 1:
            continue
        try:
            header = read_header(path)
        except ConfigError as problem:
            report(path, problem)
            continue
        if header.architecture != "clip":
            specs.append(spec_for(path, header))
    return sorted(specs, key=lambda spec: spec.model_id)


def _log_problem(path: Path, problem: ConfigError) -> None:
    log.warning("left out %s: %s", path, problem.text)
