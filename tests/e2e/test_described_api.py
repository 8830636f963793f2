"""schemathesis asks a real gateway what its description allows and what it does not: no 500, nothing that is not described."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,unsupported_method"
EXAMPLES = os.environ.get("PREFRONTAL_SCHEMATHESIS_EXAMPLES", "8")
"""Examples an operation, beside those of each constraint; set the variable for a longer search."""

SEED = "20261120"


@pytest.mark.time_limit(110)
def test_the_api_is_what_its_description_says(start_gateway: Callable[..., Any], tmp_path: Path) -> None:
    """Every operation, with ids that exist and ids that do not: documented statuses and shapes only, and no traceback."""
    model = {"profile": "openai-compatible", "endpoint": "http://127.0.0.1:9/v1", "price": {"input_usd": 1, "output_usd": 2}}
    budgets = [{"scope": "key", "window": "day", "usd": 1}]
    tree = {"models": {"small": model}, "discovery": {"enabled": False}, "server": {"admin_keys": ["boss"]}, "budgets": budgets}
    gateway = start_gateway(tmp_path / "home", tree)
    with httpx.Client(base_url=gateway.url, headers={"authorization": "Bearer boss"}, timeout=20) as http:
        made = http.post("/v1/admin/keys", json={"name": "service", "budgets": [{"usd": 5}]}).json()
        ask = {"model": "auto", "messages": [{"role": "user", "content": "What is 17.5% of 2,340?"}]}
        trace = http.post("/v1/chat/completions", json=ask).headers["x-prefrontal-trace"]
        config = tmp_path / "schemathesis.toml"
        known = {"key_id": ["service", made["id"], "nobody"], "trace_id": [trace, "nobody"], "name": ["small", "auto", "nobody"]}
        config.write_text("[parameters]\n" + "\n".join(f'"path.{name}" = {values!r}' for name, values in known.items()))
        command = [str(Path(sys.executable).parent / "schemathesis"), "--config-file", str(config), "run", "--no-color"]
        command += [f"{gateway.url}/openapi.json", "-H", "Authorization: Bearer boss", "--seed", SEED, "--checks", CHECKS]
        command += ["--phases", "coverage,fuzzing", "--max-examples", EXAMPLES, "--generation-database", "none"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        counted = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
        assert counted is not None
        assert int(counted[1]) == int(counted[2]) > 500
        assert http.get("/livez").text == "ok"
    assert gateway.stop() == 0, gateway.errors()
    assert "Traceback" not in gateway.errors()
