"""What `doctor` looks at on this machine, one function a thing. Nothing here leaves the machine or changes it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import shutil
import socket
import stat
import sys
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from prefrontal import __version__
from prefrontal.cli.words import size
from prefrontal.config.schema import Config

State = Literal["ok", "note", "missing", "wrong"]

LOW_SPACE_BYTES = 2 * 1024**3
"""Below this a disk is said to be nearly full (assumed: the smallest useful model takes half of it)."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at.

    state: ok · note (works, worth knowing) · missing (something more would be possible) · wrong (must be mended).
    mend: the one command that mends it.
    """

    name: str
    state: State
    found: str
    mend: str | None = None


def program() -> Check:
    """Return which program on which Python this is."""
    found = f"prefrontal {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    return Check(name="program", state="ok", found=found)


def home(root: Path) -> Check:
    """Return whether the home can be written, is private, and has room. A home that does not exist yet is made on first use."""
    place = root
    while not place.exists() and place != place.parent:
        place = place.parent
    free = shutil.disk_usage(place).free
    if not os.access(place, os.W_OK | os.X_OK):
        return Check(name="home", state="wrong", found=f"{root} cannot be written", mend=f"sudo chown -R $USER {place}")
    if place != root:
        return Check(name="home", state="ok", found=f"{root} (made when first needed), {size(free)} free")
    mode = stat.S_IMODE(root.stat().st_mode)
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        return Check(name="home", state="wrong", found=f"{root} can be written by other users", mend=f"chmod go-w {root}")
    if free < LOW_SPACE_BYTES:
        return Check(name="home", state="note", found=f"{root}, only {size(free)} free", mend=f"du -ah {root} | sort -h | tail")
    return Check(name="home", state="ok", found=f"{root}, {size(free)} free")


def local_engine() -> Check:
    """Return whether GGUF files can be run here."""
    if importlib.util.find_spec("xllamacpp") is None:
        return Check(
            name="local engine",
            state="missing",
            found="not installed: GGUF files cannot be run",
            mend=f'{sys.executable} -m pip install "prefrontal[local]"',
        )
    return Check(name="local engine", state="ok", found="llama.cpp is installed")


def database(file: Path) -> Check:
    """Return whether the records can be read."""
    import sqlite3

    if not file.exists():
        return Check(name="database", state="ok", found=f"{file} (made when first needed)")
    try:
        with contextlib.closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            (count,) = connection.execute("SELECT count(*) FROM records").fetchone()
    except sqlite3.Error as error:
        return Check(name="database", state="wrong", found=f"{file}: {error}", mend=f"mv {file} {file}.broken")
    if not os.access(file, os.W_OK):
        return Check(name="database", state="wrong", found=f"{file} cannot be written", mend=f"sudo chown $USER {file}")
    return Check(name="database", state="ok", found=f"{file}, {count:,} records, {size(file.stat().st_size)}")


def zones() -> Check:
    """Return whether questions about time zones can be answered."""
    try:
        ZoneInfo("Pacific/Chatham")
    except ZoneInfoNotFoundError:
        mend = f"{sys.executable} -m pip install tzdata"
        return Check(name="time zones", state="wrong", found="no time zone data", mend=mend)
    return Check(name="time zones", state="ok", found="data is there")


def port_free(host: str, port: int) -> bool:
    """Return whether `serve` would get the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError:
            return False
    return True


def port(config: Config, *, gateway: bool) -> Check:
    """Return who has the configured port. gateway: a Prefrontal answers there."""
    server = config.server
    where = f"{server.host}:{server.port}"
    if server.port == 0 or port_free(server.host, server.port):
        return Check(name="port", state="ok", found=f"{where} is free" if server.port else "any free one is taken")
    if gateway:
        return Check(name="port", state="ok", found=f"{where}: a gateway is running")
    found = f"{where} is in use by {_holder(server.port) or 'another program'}; the next free one is taken"
    return Check(name="port", state="note", found=found, mend=f"prefrontal serve --port {server.port + 1}")


def _holder(port: int) -> str | None:
    """Return the program that listens at a port, where the system lets us know."""
    import psutil

    try:
        for connection in psutil.net_connections("tcp"):
            listening = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
            if listening and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    except (psutil.Error, OSError):
        return None
    return None
