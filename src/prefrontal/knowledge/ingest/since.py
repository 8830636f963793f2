"""What Git says has changed below a folder since a revision: committed, changed, new and gone."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from prefrontal.errors import CapabilityMissing, InvalidRequest

LONGEST_S = 120.0
"""How long Git may take (assumed: a large repository on a slow disk)."""

SAFE = ("-c", "core.fsmonitor=false", "-c", "core.quotePath=false")
"""A repository's own settings may name programs; none of them is run to look at it."""


def changed_since(root: Path, revision: str) -> frozenset[str]:
    """Return the paths below `root` that differ from a revision, are new, or are gone, as Git sees them.

    What Git ignores is in it when the revision had it. Raises InvalidRequest when `root` lies in no repository or there is no
    such revision, CapabilityMissing without Git.
    """
    if not revision or revision.startswith("-") or "\x00" in revision:
        raise InvalidRequest(f"'{revision}' is no revision.", param="since")
    commit = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}").strip().decode()
    diff = ("diff", "--name-only", "-z", "--no-renames", "--no-ext-diff", "--no-textconv", "--relative", commit, "--", ".")
    names = _git(root, *diff) + _git(root, "ls-files", "-z", "--others", "--exclude-standard", "--", ".")
    return frozenset(os.fsdecode(name) for name in names.split(b"\x00") if name)


def _git(root: Path, *words: str) -> bytes:
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | {"GIT_OPTIONAL_LOCKS": "0"}
    command = ["git", *SAFE, "-C", str(root), *words]
    try:
        done = subprocess.run(command, env=env, capture_output=True, timeout=LONGEST_S, check=False)  # noqa: S603 - no shell
    except FileNotFoundError as error:
        raise CapabilityMissing("Git is not installed.", param="since") from error
    except subprocess.TimeoutExpired as error:
        raise InvalidRequest(f"Git took more than {LONGEST_S:g} s in {root}.", param="since") from error
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip() or "there is no such revision"
        raise InvalidRequest(f"Git knows nothing to compare {root} with: {said}.", param="since")
    return done.stdout
