"""What a program for OpenAI's API looks like behind Prefrontal: unchanged but for its base URL.

    pip install openai
    python openai_client.py                          every part, with the model `auto`
    python openai_client.py --model small chat tools only these parts, with a model of `prefrontal models list`

PREFRONTAL_URL and PREFRONTAL_API_KEY say where the gateway is (http://127.0.0.1:4123) and with which key it is asked.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable

import openai
import pydantic

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGD4DwABBAEAX+XDSwAAAABJRU5ErkJggg=="


class Ticket(pydantic.BaseModel):
    """The form of a structured answer."""

    topic: str
    urgent: bool


def chat(client: openai.OpenAI, model: str) -> None:
    """One question, one answer."""
    answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Where is my refund?"}])
    print(answer.choices[0].message.content)


def stream(client: openai.OpenAI, model: str) -> None:
    """The answer as it comes, and what it used."""
    chunks = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "Where is my refund?"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    for chunk in chunks:
        if chunk.choices:
            print(chunk.choices[0].delta.content or "", end="", flush=True)
        elif chunk.usage is not None:
            print(f"\n({chunk.usage.completion_tokens} tokens)")


def structured(client: openai.OpenAI, model: str) -> None:
    """An answer in the form of a class; the gateway checks it."""
    answer = client.chat.completions.parse(
        model=model,
        messages=[{"role": "user", "content": "My refund is late. Reply with a ticket in JSON."}],
        response_format=Ticket,
        max_tokens=300,
    )
    print(answer.choices[0].message.parsed)


def weather(city: str) -> str:
    """The tool."""
    return f"It rains in {city}: RAIN-RESULT."


def tools(client: openai.OpenAI, model: str) -> None:
    """The model asks for a tool, the program calls it, the model answers."""
    messages: list = [{"role": "user", "content": "What is the weather in Oslo?"}]
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    offered: list = [{"type": "function", "function": {"name": "weather", "parameters": schema}}]
    answer = client.chat.completions.create(model=model, messages=messages, tools=offered).choices[0].message
    for call in answer.tool_calls or []:
        result = weather(**json.loads(call.function.arguments))
        messages += [answer, {"role": "tool", "tool_call_id": call.id, "content": result}]
    final = client.chat.completions.create(model=model, messages=messages, tools=offered)
    print(final.choices[0].message.content)


def vision(client: openai.OpenAI, model: str) -> None:
    """A question about a picture."""
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    content: list = [{"type": "text", "text": "What is in the picture?"}, picture]
    answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": content}])
    print(answer.choices[0].message.content)


def state(client: openai.OpenAI, model: str) -> None:
    """A conversation that the gateway keeps: the second request names the first answer."""
    first = client.responses.create(model=model, input="Where is my refund?")
    print(first.output_text)
    second = client.responses.create(model=model, input="And the parcel?", previous_response_id=first.id)
    print(second.output_text)
    client.responses.delete(first.id)


PARTS: dict[str, Callable[[openai.OpenAI, str], None]] = {
    part.__name__: part for part in (chat, stream, structured, tools, vision, state)
}


def main() -> None:
    """Run the parts that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--model", default="auto")
    asked = parser.parse_args()
    url = os.environ.get("PREFRONTAL_URL", "http://127.0.0.1:4123")
    with openai.OpenAI(base_url=f"{url}/v1", api_key=os.environ.get("PREFRONTAL_API_KEY", "unused")) as client:
        for name in asked.parts or PARTS:
            print(f"== {name}")
            PARTS[name](client, asked.model)


if __name__ == "__main__":
    main()
