"""Load by wrk: one thread, bounded in time, results as JSON."""

from __future__ import annotations

import json
import os
import pathlib
import re
import resource
import subprocess

import msgspec

from bench.host import program

PROMPTS = 32
"""Different prompts, sent in turn: gateways that remember prompts are not flattered."""

SYSTEM = "You answer questions of the customers of an online shop for books, politely and in at most three sentences."
QUESTION = (
    "Order {n}: I ordered {n} books on the second of the month and the parcel arrived yesterday, but in one of the volumes the "
    "last forty pages are bound upside down. I would rather have another copy than my money back. Do I have to return the bad "
    "copy first, who pays for the postage, and how long does it take? It is a present for the end of next week. I looked through "
    "your help pages and found nothing about the second question. My account is the one under the address I write from. "
)

LUA = r"""
local bodies, turn = {}, 0
init = function(args)
  local file = assert(io.open(os.getenv("BENCH_BODIES"), "rb"))
  local headers = { ["content-type"] = "application/json" }
  for line in (os.getenv("BENCH_HEADERS") or ""):gmatch("[^\n]+") do
    local name, value = line:match("^(.-): (.*)$")
    headers[name] = value
  end
  for body in file:lines() do
    bodies[#bodies + 1] = wrk.format("POST", wrk.path, headers, body)
  end
  file:close()
end
request = function()
  turn = turn % #bodies + 1
  return bodies[turn]
end
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\nJSON {"requests":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"bad_status":%d,"socket_errors":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), e.status,
    e.connect + e.read + e.write + e.timeout))
end
"""


class Shot(msgspec.Struct, frozen=True, kw_only=True):
    """What wrk saw. bad_status: answers that were not 2xx or 3xx."""

    requests: int
    duration_us: int
    p50_us: int
    p99_us: int
    bad_status: int
    socket_errors: int
    load_cpu_s: float = 0.0

    @property
    def per_s(self) -> float:
        return self.requests / (self.duration_us / 1e6)


def bodies(folder: pathlib.Path, model: str, *, stream: bool) -> pathlib.Path:
    """Write the request bodies for a model, one a line, about 900 bytes each; return the file."""
    path = folder / f"bodies-{model.replace('/', '-')}-{int(stream)}"
    if not path.exists():
        lines = []
        for n in range(PROMPTS):
            body = {
                "model": model,
                "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION.format(n=48213 + n)}],
                "temperature": 0.2,
                "max_tokens": 128,
            }
            if stream:
                body |= {"stream": True, "stream_options": {"include_usage": True}}
            lines.append(json.dumps(body))
        path.write_text("\n".join(lines) + "\n")
    return path


def shoot(
    url: str,
    body_file: pathlib.Path,
    headers: dict[str, str],
    *,
    connections: int,
    seconds: float,
    core: int,
    folder: pathlib.Path,
) -> Shot:
    """Load `url` for `seconds`. Raises SystemExit when wrk fails."""
    script = folder / "load.lua"
    script.write_text(LUA)
    wrk = program("wrk")
    assert wrk is not None
    env = {
        **os.environ,
        "BENCH_BODIES": str(body_file),
        "BENCH_HEADERS": "\n".join(f"{name}: {value}" for name, value in headers.items()),
    }
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [wrk, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "20s", "-s", str(script), url],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + 60,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = re.search(r"^JSON (.*)$", done.stdout, re.MULTILINE)
    if found is None:
        raise SystemExit(f"wrk failed on {url}:\n{done.stdout}{done.stderr}")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return msgspec.convert({**json.loads(found[1]), "load_cpu_s": used}, Shot)
