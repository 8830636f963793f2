"""The real command with every socket watched: writes who was connected to and which names were asked for, one JSON line each.

The first argument is the file to write to; the others are the command's own.
"""

from __future__ import annotations

import json
import os
import sys

WATCHED = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg")


def watch(path: str) -> None:
    """Begin to write. The hook stays to the end of the process; nothing in it can switch it off."""
    out = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event not in WATCHED:
            return
        if event.startswith("socket.get"):
            name = arguments[0].decode() if isinstance(arguments[0], bytes) else arguments[0]
            line = {"event": "name", "host": name}
        else:
            address = arguments[1]
            if not isinstance(address, tuple):
                return  # a socket of the file system
            line = {"event": "connect", "host": str(address[0])}
        os.write(out, json.dumps(line).encode() + b"\n")

    sys.addaudithook(hook)


if __name__ == "__main__":
    sys.modules["uvloop"] = None  # type: ignore[assignment]  # its sockets are not Python's, and could not be watched
    watch(sys.argv[1])
    sys.argv = ["prefrontal", *sys.argv[2:]]
    from prefrontal.cli.main import main

    sys.exit(main())
