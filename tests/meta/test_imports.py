"""Importing the package costs next to nothing, reaches nobody, and the rooms import downwards only."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

MAX_IMPORT_S = 0.5
"""Specified. Measured: 0.01 s; the least of three is taken, because other tests run beside this one."""

HEAVY = (
    "aiohttp",
    "asyncio",
    "httptools",
    "huggingface_hub",
    "jsonschema_rs",
    "msgspec",
    "numpy",
    "pint",
    "prometheus_client",
    "psutil",
    "rich",
    "sqlite3",
    "starlette",
    "typer",
    "uvicorn",
    "watchfiles",
    "xllamacpp",
    "yaml",
)
"""None of these may be loaded before it is needed."""


def python(code: str) -> str:
    """Run code in a fresh interpreter and return what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_takes_less_than_half_a_second() -> None:
    """`import prefrontal` is quick in a fresh interpreter."""
    code = "import time; t = time.perf_counter(); import prefrontal; print(time.perf_counter() - t)"
    assert min(float(python(code)) for _ in range(3)) < MAX_IMPORT_S


def test_importing_the_package_loads_nothing_heavy() -> None:
    """After `import prefrontal` no library is loaded."""
    loaded = json.loads(python("import json, sys, prefrontal; print(json.dumps(sorted(sys.modules)))"))
    assert sorted(set(HEAVY) & set(loaded)) == []


def test_the_command_loads_no_server_for_its_help() -> None:
    """The command line's own module needs neither HTTP server nor client nor engine."""
    loaded = json.loads(python("import json, sys, prefrontal.cli.app; print(json.dumps(sorted(sys.modules)))"))
    assert sorted({"aiohttp", "uvicorn", "starlette", "numpy", "pint", "xllamacpp", "rich", "yaml"} & set(loaded)) == []


def test_a_gateway_on_sqlite_loads_nothing_of_postgres(tmp_path: Path) -> None:
    """Everything is open, and neither the driver nor what migrates was imported."""
    code = f"""
import asyncio, json, sys, prefrontal
async def main():
    async with prefrontal.open({{"discovery": {{"enabled": False}}}}, env={{"PREFRONTAL_HOME": {str(tmp_path)!r}}}):
        print(json.dumps(sorted(sys.modules)))
asyncio.run(main())
"""
    assert sorted({"asyncpg", "sqlalchemy", "alembic", "redis"} & set(json.loads(python(code)))) == []


def test_importing_every_module_reaches_nobody() -> None:
    """No module of the package opens a socket or asks for a name while it is imported."""
    code = """
import importlib, pkgutil, socket
def refuse(*args, **kwargs):
    raise AssertionError(f"network at import: {args}")
socket.socket.connect = socket.socket.connect_ex = socket.socket.bind = refuse
socket.getaddrinfo = socket.gethostbyname = refuse
import prefrontal
count = 0
for module in pkgutil.walk_packages(prefrontal.__path__, "prefrontal."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
        count += 1
print(count)
"""
    assert int(python(code)) > 100


def test_rooms_import_downwards_only() -> None:
    """The layers and the purity of the policies hold."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout
