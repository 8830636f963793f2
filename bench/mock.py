"""The mock upstream: nginx with fixed answers, far faster than any gateway, and the server whose streams are paced."""

from __future__ import annotations

import json
import pathlib
import sys

from bench.host import Proc, free_port, program, wait_for
from bench.paced import WHOLE
from bench.watched import Watched

ANSWER = json.dumps(
    {
        "id": "chatcmpl-mock",
        "object": "chat.completion",
        "created": 1763600000,
        "model": "mock",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "We are sorry about the faulty copy. We send you a new one today, and you need not return the old "
                    "one. It arrives within three working days.",
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 214,
            "completion_tokens": 31,
            "total_tokens": 245,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        },
        "service_tier": "default",
        "system_fingerprint": "fp_mock",
    }
)
VENDOR_HEADERS = {
    "x-request-id": "req-mock",
    "openai-processing-ms": "4",
    "x-ratelimit-limit-requests": "10000",
    "x-ratelimit-remaining-requests": "9999",
}
PARAMETER_BYTES = 3000
"""nginx takes up to 4 KB in one parameter, so long bodies are put together from variables."""


class Mock:
    """Upstreams: `plain` (a whole answer), `burst` (a stream in one piece), `paced` (50 events, one each 5 ms), `watched`."""

    def __init__(self, folder: pathlib.Path, core: int) -> None:
        self.ports = {"plain": free_port(), "burst": free_port(), "paced": free_port()}
        self.watched = Watched()
        self.ports["watched"] = self.watched.port
        fixed = _server(self.ports["plain"], "application/json", ANSWER) + _server(
            self.ports["burst"], "text/event-stream", WHOLE.decode()
        )
        here = pathlib.Path(__file__).resolve().parent.parent
        self.processes = [
            nginx("mock", fixed, folder, core),
            Proc("paced", [sys.executable, "-m", "bench.paced", str(self.ports["paced"])], core=core, folder=folder, cwd=here),
        ]
        wait_for(self.ports["plain"], self.processes[0])
        wait_for(self.ports["paced"], self.processes[1])

    def base(self, kind: str) -> str:
        """The base URL of an upstream, as clients of the OpenAI dialect want it."""
        return f"http://127.0.0.1:{self.ports[kind]}/v1"

    def stop(self) -> None:
        self.watched.stop()
        for process in self.processes:
            process.stop()


def nginx(name: str, servers: str, folder: pathlib.Path, core: int) -> Proc:
    """Start an nginx of one worker with the given servers."""
    own = folder / name
    own.mkdir()
    temporary = " ".join(f"{part}_temp_path {own}/{part};" for part in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    conf = own / "nginx.conf"
    conf.write_text(
        f"daemon off; worker_processes 1; pid {own}/pid; error_log {own}/error.log;\n"
        "events { worker_connections 4096; }\n"
        "http { access_log off; keepalive_requests 1000000000; keepalive_timeout 300s; tcp_nodelay on;\n"
        f"client_body_buffer_size 64k; {temporary}\n{servers} }}\n"
    )
    command = program("nginx")
    assert command is not None
    return Proc(name, [command, "-p", str(own), "-c", str(conf)], core=core, folder=folder)


def _server(port: int, kind: str, body: str) -> str:
    pieces = [body[i : i + PARAMETER_BYTES] for i in range(0, len(body), PARAMETER_BYTES)]
    quoted = [piece.replace("\\", "\\\\").replace("'", "\\'") for piece in pieces]
    variables = " ".join(f"set $body{port}_{i} '{piece}';" for i, piece in enumerate(quoted))
    joined = "".join(f"${{body{port}_{i}}}" for i in range(len(quoted)))
    headers = " ".join(f"add_header {name} {value};" for name, value in VENDOR_HEADERS.items())
    return (
        f"server {{ listen 127.0.0.1:{port} backlog=2048; default_type '{kind}'; {headers} "
        f'location / {{ {variables} return 200 "{joined}"; }} }}\n'
    )


def proxy(name: str, ports: dict[str, int], mock: Mock, folder: pathlib.Path, core: int) -> Proc:
    """Start an nginx that forwards each of `ports` to the mock's upstream of that name."""
    servers = "proxy_http_version 1.1; proxy_set_header Connection ''; proxy_buffering off;\n"
    for kind, port in ports.items():
        servers += (
            f"upstream {kind} {{ server 127.0.0.1:{mock.ports[kind]}; keepalive 256; keepalive_requests 1000000000; }}\n"
            f"server {{ listen 127.0.0.1:{port} backlog=2048; location / {{ proxy_pass http://{kind}; }} }}\n"
        )
    return nginx(name, servers, folder, core)
