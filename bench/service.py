"""An upstream that takes as long as a model does, by its tokens. ``python -m bench.service PORT``.

It answers at once whatever comes beyond its slots with 429, as hosted services do; a gateway that queues rightly never sees one.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from aiohttp import web

SLOTS = 32
FIRST_S = 0.02
PROMPT_TOKEN_S = 0.00002
TOKEN_S = 0.002
CHARACTERS_A_TOKEN = 4


def service_s(prompt_tokens: int, tokens: int) -> float:
    """Return how long an answer takes."""
    return FIRST_S + PROMPT_TOKEN_S * prompt_tokens + TOKEN_S * tokens


class Service:
    def __init__(self) -> None:
        self.running = 0
        self.most = 0

    async def answer(self, request: web.Request) -> web.Response:
        body: dict[str, Any] = json.loads(await request.read())
        if self.running >= SLOTS:
            return web.json_response({"error": {"message": "busy", "code": "rate_limit_exceeded"}}, status=429)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            prompt = sum(len(str(message["content"])) for message in body["messages"]) // CHARACTERS_A_TOKEN
            tokens = int(body["max_tokens"])
            await asyncio.sleep(service_s(prompt, tokens))
            usage = {"prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt + tokens}
            message = {"role": "assistant", "content": "word " * 4}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            answer = {"id": "x", "object": "chat.completion", "model": "mock", "choices": [choice], "usage": usage}
            return web.json_response(answer)
        finally:
            self.running -= 1


def main() -> None:
    application = web.Application(client_max_size=2**24)
    application.router.add_post("/v1/chat/completions", Service().answer)
    web.run_app(application, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)


if __name__ == "__main__":
    main()
