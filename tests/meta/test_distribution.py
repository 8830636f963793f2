"""What is built holds what is needed, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built by the build backend itself: pip would want a network for it."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    (file,) = folder.glob("*.whl")
    return zipfile.ZipFile(file)


def test_the_wheel_holds_every_module_and_data_file(wheel: zipfile.ZipFile) -> None:
    """Each Python, YAML and JSON file of the package is in the wheel, and the mark that it is typed."""
    wanted = {
        path.relative_to(SOURCE).as_posix()
        for path in (SOURCE / "prefrontal").rglob("*")
        if path.suffix in (".py", ".yaml", ".json", ".html", ".css") and not any(part.startswith(".") for part in path.parts[-3:])
    }
    assert "prefrontal/config/schema.json" in wanted
    assert wanted | {"prefrontal/py.typed"} <= set(wheel.namelist())


def test_the_wheel_holds_nothing_else(wheel: zipfile.ZipFile) -> None:
    """Only the package and its metadata are in the wheel; no cache, no test."""
    strange = [
        name
        for name in wheel.namelist()
        if not (name.startswith("prefrontal/") and name.endswith((".py", ".yaml", ".json", ".html", ".css", ".txt", ".typed")))
        and ".dist-info/" not in name
    ]
    assert strange == []
    assert [name for name in wheel.namelist() if "cache" in name.split("/")[1]] == []


def test_the_wheel_says_what_it_is(wheel: zipfile.ZipFile) -> None:
    """Name, licence, Python version and the command are in the metadata."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    info = f"prefrontal-{project['version']}.dist-info"
    metadata = wheel.read(f"{info}/METADATA").decode()
    for line in ("Name: prefrontal", "License-Expression: Apache-2.0", "Requires-Python: >=3.11", "License-File: LICENSE"):
        assert line in metadata
    assert "prefrontal = prefrontal.cli.main:main" in wheel.read(f"{info}/entry_points.txt").decode()


def test_there_is_one_version() -> None:
    """The package and its metadata name the same version, and the changelog knows it."""
    import prefrontal

    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert version == prefrontal.__version__
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_core_needs_no_compiler_and_no_engine() -> None:
    """What every user installs holds no engine, no numerics and no vendor's SDK."""
    names = {
        name.split(">")[0].split("=")[0].strip()
        for name in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    }
    assert not names & {"xllamacpp", "numpy", "torch", "openai", "anthropic", "huggingface-hub", "httpx", "sqlalchemy"}
