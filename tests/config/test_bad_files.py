"""Every mistake has one precise line: file, line, path, what is wrong, what to write."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from prefrontal.config.load import Loaded
from prefrontal.config.problems import ConfigProblems

MODEL = "models:\n  gpt: {profile: openai}\n"
WINDOW = "models:\n  m:\n    profile: openai\n    price:\n      windows:\n        - {from: '%s', to: '%s'}\n"

BAD = {
    "unknown key": (
        "server:\n  prt: 1\n",
        "prefrontal.yaml:2: server.prt: unknown setting (did you mean `port`?)",
    ),
    "unknown top key": (
        "modles: {}\n",
        "prefrontal.yaml:1: modles: unknown setting (did you mean `models`?)",
    ),
    "key far from all": (
        "records: {enabled: true,\n zzz: 1}",
        "prefrontal.yaml:2: records.zzz: unknown setting (known: content, enabled, path, queue_size, retention_days)",
    ),
    "key twice": (
        "server: {port: 1}\nlogging: {}\nserver: {port: 2}\n",
        "prefrontal.yaml:3: server: the key is written twice, first in line 1 (keep one of them)",
    ),
    "model twice": (
        "models:\n  a: {profile: vllm}\n  a: {profile: openai}\n",
        "prefrontal.yaml:3: models.a: the key is written twice, first in line 2 (keep one of them)",
    ),
    "a list": (
        "- a\n- b\n",
        "prefrontal.yaml:1: the file holds a list, not settings (write `name: value` lines)",
    ),
    "a word": (
        "hello\n",
        "prefrontal.yaml:1: the file holds a single value, not settings (write `name: value` lines)",
    ),
    "a tab": (
        "server:\n\tport: 1\n",
        "prefrontal.yaml:2: not YAML: found character that cannot start any token (indent with spaces, not tabs)",
    ),
    "a colon": (
        "server:\n  host: a: b\n",
        "prefrontal.yaml:2: not YAML: mapping values are not allowed in this context"
        " (quote a value that holds a colon, and check the indentation)",
    ),
    "alias to itself": (
        "a: &a [*a]\n",
        "prefrontal.yaml:1: a[0]: the aliases in this file refer to themselves or multiply without end",
    ),
    "key that is a list": (
        "? [a]\n: 1\n",
        "prefrontal.yaml:1: a key must be a word (did you forget quotes around `{…}` or `[…]`?)",
    ),
    "port too large": (
        "server:\n  port: 99999\n",
        "prefrontal.yaml:2: server.port: expected a whole number of at most 65535, found `99999`",
    ),
    "port as text": (
        "server: {port: '41x'}\n",
        'prefrontal.yaml:1: server.port: expected a whole number, found "41x" (write the number without quotes or units)',
    ),
    "bare off": (
        "records:\n  enabled: off\n",
        'prefrontal.yaml:2: records.enabled: expected true or false, found "off" (write `false`)',
    ),
    "bare yes": (
        "discovery: {env_keys: yes}\n",
        'prefrontal.yaml:1: discovery.env_keys: expected true or false, found "yes" (write `true`)',
    ),
    "number for text": (
        "models: {m: {profile: vllm, version: 1.5}}\n",
        'prefrontal.yaml:1: models.m.version: expected text, found `1.5` (quote it: "1.5")',
    ),
    "word for list": (
        "models: {m: {profile: vllm, roles: coding}}\n",
        'prefrontal.yaml:1: models.m.roles: expected a list, found "coding" (write `[coding]`)',
    ),
    "list for settings": (
        "server: [1]\n",
        "prefrontal.yaml:1: server: expected settings below this key, found a list",
    ),
    "not a choice": (
        "logging: {level: wanring}\n",
        "prefrontal.yaml:1: logging.level: `wanring` is not a choice (did you mean `warning`?)",
    ),
    "wrong version": (
        "version: 2\n",
        "prefrontal.yaml:1: version: `2` is not a choice (known: 1)",
    ),
    "negative price": (
        "models:\n  m:\n    profile: openai\n    price:\n      input_usd: -1\n",
        "prefrontal.yaml:5: models.m.price.input_usd: expected a number of at least 0, found `-1`",
    ),
    "effort level": (
        "models: {m: {profile: openai, effort: {levels: [low, hihg]}}}\n",
        "prefrontal.yaml:1: models.m.effort.levels[1]: `hihg` is not a choice (did you mean `high` or `xhigh`?)",
    ),
    "effort alias": (
        "models: {m: {profile: openai, effort: {alias: {lo: low}}}}\n",
        "prefrontal.yaml:1: models.m.effort.alias.lo: `lo` is not a choice (did you mean `low`?)",
    ),
    "score above 1": (
        "routing: {channels: {code: {effort: 2}}}\n",
        "prefrontal.yaml:1: routing.channels.code.effort: expected a number of at most 1, found `2`",
    ),
    "missing variable": (
        "models:\n  m:\n    profile: vllm\n    key: ${NO_SUCH}\n",
        "prefrontal.yaml:4: models.m.key: the environment variable NO_SUCH is not set"
        " (set NO_SUCH, or write ${NO_SUCH:-default}, or set `enabled: false` on `m`)",
    ),
    "variable misspelt": (
        "models: {m: {profile: vllm, key: '${ACME_KY}'}}\n",
        "prefrontal.yaml:1: models.m.key: the environment variable ACME_KY is not set (did you mean `ACME_KEY`?)",
    ),
    "unknown profile": (
        "models: {m: {profile: opnai}}\n",
        "prefrontal.yaml:1: models.m.profile: unknown profile `opnai` (did you mean `openai`?)",
    ),
    "no profile": (
        "models:\n  m: {}\n",
        "prefrontal.yaml:2: models.m: says neither which engine speaks for it nor which file to run"
        " (add `profile:` (deepseek, generic, llamacpp, openai, vllm, …) or the `path:` of a GGUF file)",
    ),
    "no endpoint": (
        "models: {m: {profile: generic}}\n",
        "prefrontal.yaml:1: models.m: profile `generic` has no address of its own (add `endpoint: http://host:port/v1`)",
    ),
    "endpoint without scheme": (
        "models: {m: {profile: vllm, endpoint: 'localhost:8000/v1'}}\n",
        "prefrontal.yaml:1: models.m.endpoint: not an http or https URL (write http://localhost:8000/v1)",
    ),
    "endpoint with route": (
        "models: {m: {profile: vllm, endpoint: 'http://h/v1/chat/completions'}}\n",
        "prefrontal.yaml:1: models.m.endpoint: an endpoint is the base URL, without `/chat/completions` (write http://h/v1)",
    ),
    "endpoint with password": (
        "models: {m: {profile: vllm, endpoint: 'http://u:p@h/v1'}}\n",
        "prefrontal.yaml:1: models.m.endpoint: a URL must not hold a password (put it into `key: ${NAME}`)",
    ),
    "endpoint port": (
        "models: {m: {profile: vllm, endpoint: 'http://h:99999/v1'}}\n",
        "prefrontal.yaml:1: models.m.endpoint: the port is not a number from 0 to 65535 (write http://host:port/path)",
    ),
    "path and endpoint": (
        "models: {m: {path: /x.gguf, endpoint: 'http://h/v1', enabled: false}}\n",
        "prefrontal.yaml:1: models.m.path: `path` and `endpoint` exclude each other (`path` is for the built-in engine)",
    ),
    "reserved name": (
        "models: {auto: {profile: vllm}}\n",
        "prefrontal.yaml:1: models.auto: `auto` is a reserved name: clients use it to let the gateway choose (choose another name)",
    ),
    "role name": (
        "models: {role/x: {profile: vllm}}\n",
        "prefrontal.yaml:1: models.role/x: `role/x` is a reserved name: clients use it to let the gateway choose (choose another name)",
    ),
    "name with a space": (
        "models: {my model: {profile: vllm}}\n",
        "prefrontal.yaml:1: models.my model: a model's name may hold no spaces or control characters"
        " (use letters, digits and . : - _ /)",
    ),
    "bad time": (
        WINDOW % ("25:00", "8:00"),
        'prefrontal.yaml:6: models.m.price.windows[0].from: "25:00" is not a time of day (write "HH:MM", UTC, "00:00" to "24:00")',
    ),
    "time as a number": (
        WINDOW.replace("'%s', to: '%s'", "0830, to: '09:00'"),
        'prefrontal.yaml:6: models.m.price.windows[0].from: expected a time as "HH:MM", found "0830"',
    ),
    "empty window": (
        WINDOW % ("08:00", "08:00"),
        "prefrontal.yaml:6: models.m.price.windows[0]: the window is empty: it ends when it starts"
        ' (a whole day is "00:00" to "24:00")',
    ),
    "not a size": (
        "models: {m: {profile: vllm, memory: 6Gigs}}\n",
        'prefrontal.yaml:1: models.m.memory: "6Gigs" is not a size (write bytes, or 6GiB, 6GB, 512MiB)',
    ),
    "cap above context": (
        "models: {m: {profile: vllm, context_tokens: 100, max_output_tokens: 200}}\n",
        "prefrontal.yaml:1: models.m.max_output_tokens: the longest answer (200) is above the context window (100)"
        " (the context window holds input and output together)",
    ),
    "header injection": (
        'models: {m: {profile: vllm, headers: {X-A: "a\\r\\nb: c"}}}\n',
        "prefrontal.yaml:1: models.m.headers.X-A: not a header: names are words, values hold no line breaks",
    ),
    "unknown dialect": (
        "models: {m: {profile: vllm, effort: {dialect: opnai_effort}}}\n",
        "prefrontal.yaml:1: models.m.effort.dialect: unknown effort dialect `opnai_effort` (did you mean `openai_effort`?)",
    ),
    "budget upside down": (
        "models: {m: {profile: vllm, effort: {budget_min_tokens: 9, budget_max_tokens: 3}}}\n",
        "prefrontal.yaml:1: models.m.effort.budget_min_tokens: the smallest budget (9) is above the largest (3)",
    ),
    "unknown facts": (
        "models: {m: {profile: vllm, facts: gpt-5.5}}\n",
        "prefrontal.yaml:1: models.m.facts: unknown facts `gpt-5.5` (did you mean `gpt-5.6`?)",
    ),
    "role with unknown model": (
        MODEL + "roles:\n  coding: [gtp]\n",
        "prefrontal.yaml:4: roles.coding[0]: unknown model `gtp` (did you mean `gpt`?)",
    ),
    "fallback to unknown role": (
        MODEL + "routing:\n  fallback: [gpt, role/codng]\n",
        "prefrontal.yaml:4: routing.fallback[1]: unknown role `codng` (did you mean `coding`?)",
    ),
    "unknown primary": (
        MODEL + "routing: {primary: got, policy: primary_with_fallback}\n",
        "prefrontal.yaml:3: routing.primary: unknown model `got` (did you mean `gpt`?)",
    ),
    "unknown task": (
        MODEL + "routing: {task_routing: {codee: {models: [gpt]}}}\n",
        "prefrontal.yaml:3: routing.task_routing.codee: unknown task type `codee` (did you mean `code`?)",
    ),
    "unknown policy": (
        "routing: {policy: cheapst}\n",
        "prefrontal.yaml:1: routing.policy: unknown policy `cheapst` (did you mean `cheapest`?)",
    ),
    "effort upside down": (
        "routing: {effort: {min: 0.8, max: 0.2}}\n",
        "prefrontal.yaml:1: routing.effort.min: the least effort (0.8) is above the most (0.2)",
    ),
    "channel with unknown model": (
        MODEL + "routing: {channels: {mine: {models: [gpd]}}}\n",
        "prefrontal.yaml:3: routing.channels.mine.models[0]: unknown model `gpd` (did you mean `gpt`?)",
    ),
    "unknown tool": (
        "routing: {reflexes: {tools: [calculater]}}\n",
        "prefrontal.yaml:1: routing.reflexes.tools[0]: unknown tool `calculater` (did you mean `calculator`?)",
    ),
    "unknown time zone": (
        "routing: {reflexes: {timezone: Mars/Olympus}}\n",
        'prefrontal.yaml:1: routing.reflexes.timezone: unknown time zone "Mars/Olympus" (use an IANA name such as Europe/Berlin)',
    ),
    "open bind": (
        "server:\n  host: 0.0.0.0\n",
        "prefrontal.yaml:2: server.host: 0.0.0.0 can be reached from other machines, and no API key is asked for"
        " (add `server.api_keys: [${NAME}]` or set PREFRONTAL_API_KEY)",
    ),
    "origin with a path": (
        "server: {cors_origins: ['https://a.example/x']}\n",
        'prefrontal.yaml:1: server.cors_origins[0]: "https://a.example/x" is not an origin (write https://app.example.com, or *)',
    ),
    "waits upside down": (
        "limits: {retries: {base_s: 9, max_s: 1}}\n",
        "prefrontal.yaml:1: limits.retries.base_s: the first wait (9 s) is above the longest (1 s)",
    ),
    "discovery port": (
        "discovery: {ports: {vllm: [70000]}}\n",
        "prefrontal.yaml:1: discovery.ports.vllm[0]: 70000 is not a port (ports are 1 to 65535)",
    ),
}


@pytest.mark.parametrize("case", BAD, ids=[name.replace(" ", "-") for name in BAD])
def test_each_mistake_is_told_precisely(case: str, read: Callable[..., Loaded]) -> None:
    """The file is refused with exactly the line a person needs."""
    text, expected = BAD[case]
    with pytest.raises(ConfigProblems) as refused:
        read(text, {"ACME_KEY": "x"})
    assert str(refused.value) == expected


def test_all_problems_of_a_file_come_together(read: Callable[..., Loaded]) -> None:
    """Several mistakes are reported at once, in the order of the file."""
    with pytest.raises(ConfigProblems) as refused:
        read("server: {prt: 1}\nlogging:\n  level: loud\nrecords: {queue_size: 1}\n")
    assert [(problem.line, problem.path) for problem in refused.value.problems] == [
        (1, "server.prt"),
        (3, "logging.level"),
        (4, "records.queue_size"),
    ]


def test_the_error_carries_file_path_rule_and_hint(read: Callable[..., Loaded]) -> None:
    """Programs read the same four fields that people see."""
    with pytest.raises(ConfigProblems) as refused:
        read("server:\n  prt: 1\n")
    error = refused.value
    assert (error.file, error.path, error.rule, error.hint, error.line) == (
        "prefrontal.yaml",
        "server.prt",
        "unknown_key",
        "did you mean `port`?",
        2,
    )


def test_a_missing_model_file_is_named(read: Callable[..., Loaded], tmp_path: object) -> None:
    """A GGUF file that does not exist is a problem at its path, unless the model is disabled."""
    with pytest.raises(ConfigProblems, match=r"models\.m\.path: no such file: .*home/models/x\.gguf"):
        read("models: {m: {path: x.gguf}}")
    assert read("models: {m: {path: x.gguf, enabled: false}}").config.models["m"].path == "x.gguf"


def test_a_wrong_type_of_a_secret_does_not_show_it(read: Callable[..., Loaded]) -> None:
    """The value of a key never appears in a message."""
    with pytest.raises(ConfigProblems) as refused:
        read("server: {api_keys: hunter2}")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        (MODEL + "routing: {fallback: [gpt, gpt]}", "routing.fallback[1]", "already listed above"),
        (MODEL + "routing: {primary: gpt}", "routing.primary", "no rule uses the policy"),
        (MODEL + "routing: {task_routing: {code: {role: coding}}}", "routing.task_routing.code.role", "no model has the role"),
        (MODEL + "routing: {task_routing: {code: {}}}", "routing.task_routing.code", "says nothing"),
        ("models: {a: {profile: vllm, enabled: false}}\nroles: {coding: [a]}", "roles.coding[0]", "is disabled"),
        ("models: {a: {profile: vllm, pinned: true}}", "models.a.pinned", "no effect without `path`"),
        ("limits: {timeouts: {total_s: 10}}", "limits.timeouts.first_token_s", "never fires"),
        (
            "models: {a: {profile: vllm, price: {windows: [{from: '0:00', to: '24:00'}, {from: '1:00', to: '2:00'}]}}}",
            "models.a.price.windows[1]",
            "never applies",
        ),
    ],
)
def test_unreachable_rules_are_warnings(text: str, path: str, said: str, read: Callable[..., Loaded]) -> None:
    """A rule that cannot take effect is said, and the file still serves."""
    warnings = {warning.path: warning.message for warning in read(text).warnings}
    assert said in warnings[path]
