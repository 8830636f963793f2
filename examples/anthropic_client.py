"""What a program for Anthropic's API looks like behind Prefrontal: unchanged but for its base URL.

    pip install anthropic
    python anthropic_client.py                          every part, with the model `auto`
    python anthropic_client.py --model small chat tools only these parts, with a model of `prefrontal models list`

PREFRONTAL_URL and PREFRONTAL_API_KEY say where the gateway is (http://127.0.0.1:4123) and with which key it is asked.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

import anthropic
import pydantic

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGD4DwABBAEAX+XDSwAAAABJRU5ErkJggg=="


class Ticket(pydantic.BaseModel):
    """The form of a structured answer."""

    topic: str
    urgent: bool


def chat(client: anthropic.Anthropic, model: str) -> None:
    """One question, one answer."""
    messages: list = [{"role": "user", "content": "Where is my refund?"}]
    print(client.messages.create(model=model, max_tokens=300, messages=messages).content[-1].text)


def stream(client: anthropic.Anthropic, model: str) -> None:
    """The answer as it comes, and what it used."""
    messages: list = [{"role": "user", "content": "Where is my refund?"}]
    with client.messages.stream(model=model, max_tokens=300, messages=messages) as events:
        for text in events.text_stream:
            print(text, end="", flush=True)
        print(f"\n({events.get_final_message().usage.output_tokens} tokens)")


def structured(client: anthropic.Anthropic, model: str) -> None:
    """An answer in the form of a class; the gateway checks it."""
    messages: list = [{"role": "user", "content": "My refund is late. Reply with a ticket in JSON."}]
    print(client.messages.parse(model=model, max_tokens=300, messages=messages, output_format=Ticket).parsed_output)


def weather(city: str) -> str:
    """The tool."""
    return f"It rains in {city}: RAIN-RESULT."


def tools(client: anthropic.Anthropic, model: str) -> None:
    """The model asks for a tool, the program calls it, the model answers."""
    messages: list = [{"role": "user", "content": "What is the weather in Oslo?"}]
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    offered: list = [{"name": "weather", "description": "The weather of a city.", "input_schema": schema}]
    answer = client.messages.create(model=model, max_tokens=1000, messages=messages, tools=offered)
    messages.append({"role": "assistant", "content": answer.content})
    for call in answer.content:
        if call.type == "tool_use":
            result = {"type": "tool_result", "tool_use_id": call.id, "content": weather(**call.input)}
            messages.append({"role": "user", "content": [result]})
    final = client.messages.create(model=model, max_tokens=1000, messages=messages, tools=offered)
    print(final.content[-1].text)


def vision(client: anthropic.Anthropic, model: str) -> None:
    """A question about a picture."""
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    content: list = [{"type": "text", "text": "What is in the picture?"}, picture]
    answer = client.messages.create(model=model, max_tokens=300, messages=[{"role": "user", "content": content}])
    print(answer.content[-1].text)


def count(client: anthropic.Anthropic, model: str) -> None:
    """How long a request is, before it is sent."""
    messages: list = [{"role": "user", "content": "Where is my refund?"}]
    print(client.messages.count_tokens(model=model, messages=messages).input_tokens, "tokens")


PARTS: dict[str, Callable[[anthropic.Anthropic, str], None]] = {
    part.__name__: part for part in (chat, stream, structured, tools, vision, count)
}


def main() -> None:
    """Run the parts that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--model", default="auto")
    asked = parser.parse_args()
    url = os.environ.get("PREFRONTAL_URL", "http://127.0.0.1:4123")
    with anthropic.Anthropic(base_url=url, api_key=os.environ.get("PREFRONTAL_API_KEY", "unused")) as client:
        for name in asked.parts or PARTS:
            print(f"== {name}")
            PARTS[name](client, asked.model)


if __name__ == "__main__":
    main()
