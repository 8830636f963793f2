"""One worker of `prefrontal serve --workers N`; started by its parent, which writes its orders to standard input."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import typer

from prefrontal.cli.edge import edge
from prefrontal.cli.screen import Screen


@edge
def main() -> None:
    """Serve by the orders of the parent until it says stop or is gone."""
    import msgspec

    from prefrontal.cli.serve import work
    from prefrontal.cli.session import Place
    from prefrontal.serve.crew import Orders

    orders = msgspec.json.decode(sys.stdin.buffer.readline(), type=Orders)
    config = None if orders.config is None else Path(orders.config)
    work(Place(env=dict(os.environ), config=config), orders, Screen())


if __name__ == "__main__":
    try:
        main()
    except typer.Exit as end:
        sys.exit(end.exit_code)
