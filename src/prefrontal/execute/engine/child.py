"""One model on llama.cpp, served on 127.0.0.1 until told to stop. Run as ``python -m prefrontal.execute.engine.child``.

It talks to its supervisor over three pipes: standard output carries exactly one line of JSON, ``{"port": N}``, when the model
is loaded and the socket listens; standard error carries the engine's log; standard input carries nothing, and its end means
that the supervisor is gone. Nobody else prints to the first: what the engine writes there goes to standard error.

Exit codes: 0 stopped as asked · 2 a wrong flag · 3 xllamacpp is missing · 4 the model cannot be used.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any

from prefrontal.execute.engine.exits import EXIT_CANNOT_LOAD, EXIT_NO_ENGINE

_PR_SET_PDEATHSIG = 1
_POOLINGS = {"none": 0, "mean": 1, "cls": 2, "last": 3, "rank": 4}  # llama.cpp's enum


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or the end of standard input; return the exit code. Blocks for the life of the engine."""
    options = _parser().parse_args(arguments)
    _die_with_parent(options.parent_pid)
    ready_pipe = _keep_stdout_clean()
    threading.Thread(target=_leave_when_stdin_ends, name="parent-watch", daemon=True).start()
    try:
        engine = importlib.import_module("xllamacpp")
    except ImportError as missing:
        _say(f"The local engine is not installed ({missing}). Install prefrontal[local].")
        return EXIT_NO_ENGINE
    try:
        server = engine.Server(_parameters(engine, options))
    except (RuntimeError, ValueError, TypeError, OSError) as refused:
        _say(f"The engine could not start with {options.model}: {refused}")
        return EXIT_CANNOT_LOAD
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, _setter(stop))
    os.write(ready_pipe, json.dumps({"port": int(server.listening_address.rsplit(":", 1)[1])}).encode() + b"\n")
    stop.wait()
    del server  # its destructor ends the engine's threads and closes the socket
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="prefrontal-engine", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("--model", required=True, help="path of the GGUF file (of the first part, if it has several)")
    add("--alias", default="", help="the name the engine gives in its answers")
    add("--port", type=int, default=0, help="0 lets the system choose")
    add("--parent-pid", type=int, default=0, help="leave at once if the parent is no longer this process")
    add("--context-tokens", type=int, default=0, help="tokens each slot can hold; 0 takes the model's own")
    add("--slots", type=int, default=1, help="requests served at the same time")
    add("--threads", type=int, default=1, help="threads that compute")
    add("--http-threads", type=int, default=64, help="at least the connections the supervisor's pool may hold open")
    add("--gpu-layers", type=int, default=-1, help="layers on the accelerator; -1 lets the engine decide")
    add("--cache-ram-mib", type=int, default=512, help="memory for prompts of earlier requests, in MiB; 0 switches it off")
    add("--embedding", action="store_true", help="serve embeddings instead of text")
    add("--pooling", choices=sorted(_POOLINGS), help="how token vectors become one; the default is the file's")
    add("--mmproj", default="", help="path of the vision projector's GGUF")
    add("--chat-template", default="", help="template text that replaces the file's; @PATH reads it from a file")
    add("--chat-template-kwargs", type=json.loads, default={}, help="JSON object given to the template with each request")
    add("--no-jinja", action="store_true", help="use the engine's built-in templates instead of the file's Jinja")
    add("--verbosity", type=int, default=3, help="1 errors, 2 warnings, 3 information, 4 and more: debugging")
    return parser


def _parameters(engine: Any, options: argparse.Namespace) -> Any:
    """Translate the flags to the engine's parameters."""
    params = engine.CommonParams()
    params.model.path = options.model
    params.model_alias = {options.alias} if options.alias else set()
    params.hostnames = ["127.0.0.1"]
    params.port = options.port
    params.n_threads_http = options.http_threads
    params.cors_origins = "http://127.0.0.1"  # the engine's default lets any web page call it
    params.ui = False
    params.endpoint_metrics = True
    params.n_parallel = options.slots
    params.n_ctx = options.context_tokens * options.slots  # the engine divides it among the slots
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
    params.n_gpu_layers = options.gpu_layers
    params.cache_ram_mib = options.cache_ram_mib
    params.verbosity = options.verbosity
    params.use_jinja = not options.no_jinja
    params.chat_template = _template(options.chat_template)
    params.default_template_kwargs = {name: json.dumps(value) for name, value in options.chat_template_kwargs.items()}
    if options.mmproj:
        params.mmproj.path = options.mmproj
    if options.embedding:
        params.embedding = True
        params.n_ubatch = params.n_batch  # an embedded text must fit one physical batch
        if options.pooling:
            params.pooling_type = _POOLINGS[options.pooling]
    return params


def _template(text: str) -> str:
    if not text.startswith("@"):
        return text
    with open(text[1:], encoding="utf-8") as file:
        return file.read()


def _die_with_parent(parent_pid: int) -> None:
    """Ask Linux for SIGKILL at the parent's death; leave if it died before we could ask.

    The signal also comes when the parent's *thread* that started us ends, which is the one its event loop runs in.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if parent_pid and os.getppid() != parent_pid:
        raise SystemExit(0)


def _keep_stdout_clean() -> int:
    """Return a descriptor of standard output for our own line, and send everything else printed there to standard error."""
    ours = os.dup(1)
    os.dup2(2, 1)
    return ours


def _leave_when_stdin_ends() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)  # the parent is gone: nobody is left to wait for a clean stop


def _setter(event: threading.Event) -> Any:
    def handle(_signal: int, _frame: FrameType | None) -> None:
        event.set()

    return handle


def _say(reason: str) -> None:
    sys.stderr.write(reason + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    raise SystemExit(main())
