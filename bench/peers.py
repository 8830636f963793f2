"""Installs the gateways we are measured beside, each in an environment of its own: ``python -m bench.peers`` (make bench-peers).

Only ordinary installs by package name. What is there already is left alone; delete the folder to start afresh.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
import venv

ROOT = pathlib.Path(os.environ.get("BENCH_PEERS") or pathlib.Path(__file__).resolve().parent.parent / ".bench-peers")
LITELLM = ROOT / "litellm"
PORTKEY = ROOT / "portkey"
PORTKEY_START = PORTKEY / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"

PORTKEY_PACKAGE = {
    "name": "portkey-bench",
    "private": True,
    "dependencies": {"@portkey-ai/gateway": "1.15.2"},
    # From 1.14.2 on this server makes every streamed answer of the gateway fail (Portkey-AI/gateway#1389).
    "overrides": {"@hono/node-server": "1.14.1"},
}


def litellm_command() -> list[str] | None:
    """Return how LiteLLM's proxy is started, or None when it is not installed."""
    program = LITELLM / "bin" / "litellm"
    return [str(program)] if program.exists() else None


def portkey_command() -> list[str] | None:
    """Return how Portkey's gateway is started, or None when it is not installed."""
    node = shutil.which("node")
    return [node, str(PORTKEY_START)] if node and PORTKEY_START.exists() else None


def litellm_version() -> str:
    """Return the installed version of LiteLLM."""
    code = "import importlib.metadata as m; print(m.version('litellm'))"
    return subprocess.run([LITELLM / "bin" / "python", "-c", code], capture_output=True, text=True, check=False).stdout.strip()


def portkey_version() -> str:
    """Return the installed version of Portkey's gateway."""
    return str(json.loads((PORTKEY_START.parent.parent / "package.json").read_text())["version"])


def _install_litellm() -> str:
    if litellm_command():
        return "already there"
    venv.create(LITELLM, with_pip=True)
    done = subprocess.run([LITELLM / "bin" / "python", "-m", "pip", "install", "--quiet", "litellm[proxy]"], check=False)
    return "installed" if done.returncode == 0 else "failed"


def _install_portkey() -> str:
    if portkey_command():
        return "already there"
    npm = shutil.which("npm")
    if npm is None:
        return "left out: npm is missing (Debian packages: nodejs npm)"
    PORTKEY.mkdir(parents=True, exist_ok=True)
    (PORTKEY / "package.json").write_text(json.dumps(PORTKEY_PACKAGE, indent=2))
    done = subprocess.run([npm, "install", "--silent", "--no-audit", "--no-fund"], cwd=PORTKEY, check=False)
    return "installed" if done.returncode == 0 and PORTKEY_START.exists() else "failed"


def main() -> int:
    ROOT.mkdir(parents=True, exist_ok=True)
    found = {"LiteLLM": _install_litellm(), "Portkey": _install_portkey()}
    for name, outcome in found.items():
        print(f"{name}: {outcome}")
    return int("failed" in found.values())


if __name__ == "__main__":
    sys.exit(main())
