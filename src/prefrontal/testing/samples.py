"""Good requests of every dialect that use most of what there is: what a mutator starts from, and what a translator must carry."""

from __future__ import annotations

from typing import Any

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGD4DwABBAEAX+XDSwAAAABJRU5ErkJggg=="
"""A picture of one pixel, PNG in base64."""

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
RAIN = {"type": "object", "properties": {"rains": {"type": "boolean"}}, "required": ["rains"], "additionalProperties": False}
HINTS: dict[str, Any] = {"prefer": "quality", "effort": 0.4, "session": "s", "needs": ["chat"], "priority": "low"}

CHAT: tuple[dict[str, Any], ...] = (
    {"model": "auto", "messages": [{"role": "user", "content": "What is 17.5% of 2,340?"}]},
    {
        "model": "small",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "name": "ann",
                "content": [
                    {"type": "text", "text": "What is in the picture?"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}", "detail": "low"}},
                ],
            },
        ],
        "temperature": 0.2,
        "top_p": 0.9,
        "seed": 7,
        "n": 1,
        "stop": ["END", "###"],
        "max_completion_tokens": 100,
        "presence_penalty": 0.1,
        "frequency_penalty": -0.1,
        "logit_bias": {"50256": -100},
        "logprobs": True,
        "top_logprobs": 2,
        "user": "ann",
        "metadata": {"project": "tea"},
        "x_prefrontal": HINTS,
    },
    {
        "model": "small",
        "stream": True,
        "stream_options": {"include_usage": True},
        "reasoning_effort": "high",
        "parallel_tool_calls": False,
        "tools": [
            {"type": "function", "function": {"name": "weather", "description": "Looks.", "parameters": CITY, "strict": True}},
            {"type": "custom", "custom": {"name": "shell", "format": {"type": "text"}}},
        ],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "messages": [
            {"role": "user", "content": "Rain in Oslo?"},
            {
                "role": "assistant",
                "content": None,
                "reasoning_content": "A tool knows.",
                "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}},
                    {"id": "call_2", "type": "custom", "custom": {"name": "shell", "input": "ls"}},
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "It rains."},
            {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "a.txt"}]},
        ],
    },
    {
        "model": "role/coding",
        "max_tokens": 50,
        "response_format": {"type": "json_schema", "json_schema": {"name": "rain", "schema": RAIN, "strict": True}},
        "messages": [
            {"role": "developer", "content": "Answer in JSON."},
            {
                "role": "user",
                "content": [
                    {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
                    {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
                ],
            },
            {"role": "assistant", "content": "Sorry?", "refusal": None, "audio": {"id": "audio_1"}},
            {"role": "user", "content": "Does it rain?"},
        ],
    },
)

RESPONSES: tuple[dict[str, Any], ...] = (
    {"model": "auto", "input": "What is 17.5% of 2,340?"},
    {
        "model": "small",
        "instructions": "Be brief.",
        "input": [
            {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "What is in these?"},
                    {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "auto"},
                    {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="},
                ],
            }
        ],
        "max_output_tokens": 100,
        "temperature": 0.2,
        "top_p": 0.9,
        "metadata": {"project": "tea"},
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "tea",
        "truncation": "auto",
        "user": "ann",
        "x_prefrontal": HINTS,
    },
    {
        "model": "small",
        "stream": True,
        "reasoning": {"effort": "high", "summary": "auto"},
        "parallel_tool_calls": False,
        "tools": [
            {"type": "function", "name": "weather", "description": "Looks.", "parameters": CITY, "strict": True},
            {"type": "custom", "name": "shell", "format": {"type": "grammar", "syntax": "lark", "definition": "start: /a/"}},
            {"type": "web_search"},
        ],
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "weather"}]},
        "input": [
            {"role": "user", "content": "Rain in Oslo?"},
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "A tool knows."}]},
            {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city":"Oslo"}'},
            {"type": "function_call_output", "call_id": "call_1", "output": "It rains."},
            {"type": "custom_tool_call", "call_id": "call_2", "name": "shell", "input": "ls"},
            {"type": "custom_tool_call_output", "call_id": "call_2", "output": "a.txt"},
            {"role": "assistant", "content": [{"type": "output_text", "text": "Yes.", "annotations": []}]},
            {"role": "user", "content": "And tomorrow?"},
        ],
    },
    {
        "model": "small",
        "input": [{"role": "developer", "content": "JSON."}, {"role": "user", "content": "Does it rain?"}],
        "text": {"format": {"type": "json_schema", "name": "rain", "schema": RAIN, "strict": True}, "verbosity": "low"},
        "tools": [{"type": "function", "name": "weather", "parameters": CITY}],
        "tool_choice": {"type": "function", "name": "weather"},
    },
)

MESSAGES: tuple[dict[str, Any], ...] = (
    {"model": "auto", "max_tokens": 50, "messages": [{"role": "user", "content": "What is 17.5% of 2,340?"}]},
    {
        "model": "small",
        "max_tokens": 100,
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is in these?"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
                    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "T."}, "title": "t"},
                ],
            }
        ],
        "temperature": 0.2,
        "top_p": 0.9,
        "top_k": 5,
        "stop_sequences": ["END"],
        "metadata": {"user_id": "ann"},
        "x_prefrontal": HINTS,
    },
    {
        "model": "small",
        "max_tokens": 2000,
        "stream": True,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "tools": [
            {"name": "weather", "description": "Looks.", "input_schema": CITY},
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 2},
        ],
        "tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
        "messages": [
            {"role": "user", "content": "Rain in Oslo?"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "A tool knows.", "signature": "c2ln"},
                    {"type": "redacted_thinking", "data": "ZGF0YQ=="},
                    {"type": "text", "text": "Let me look."},
                    {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "It rains."}]},
                    {"type": "text", "text": "And tomorrow?"},
                ],
            },
        ],
    },
    {
        "model": "small",
        "max_tokens": 50,
        "system": "JSON.",
        "messages": [{"role": "user", "content": "Does it rain?"}, {"role": "assistant", "content": "{"}],
        "output_config": {"effort": "high", "format": {"type": "json_schema", "schema": RAIN}},
    },
)
