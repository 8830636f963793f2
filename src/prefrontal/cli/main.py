"""The entry point of the `prefrontal` command."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status of the process.

    0: done. 1: failed, with a message on stderr. 2: the command line or the configuration is wrong. 3: `doctor` found that no
    model could answer. 130: interrupted from the keyboard.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given in (["--version"], ["-V"]):  # the one answer that scripts ask for in loops: nothing is loaded for it
        from prefrontal import __version__

        sys.stdout.write(f"prefrontal {__version__}\n")
        return 0
    if not os.environ.get("PREFRONTAL_DEBUG"):
        # `serve` sets its own level; everything else says on stdout or stderr what people need to know
        logging.getLogger("prefrontal").setLevel(logging.ERROR)
    from prefrontal.cli.app import app

    try:
        app(given, prog_name="prefrontal")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0
