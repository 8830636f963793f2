"""``python -m prefrontal`` is the `prefrontal` command."""

from __future__ import annotations

import sys

from prefrontal.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
