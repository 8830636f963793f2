"""What every provider must keep, as checks any package can run on its own.

    for check in CONTRACT:
        check(provider, profile, sample)

Each check takes a provider, a profile of its wire, and one recorded exchange, and raises AssertionError with a sentence when the
contract of `prefrontal.providers.base.Provider` is broken. Nothing is sent anywhere.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from prefrontal.chat.blocks import Text, ToolCall, ToolResult
from prefrontal.chat.collect import Collector
from prefrontal.chat.request import ChatRequest, Message, Sampling, Tool
from prefrontal.chat.response import ChatResponse
from prefrontal.contracts.effort import EffortFields
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.wire import Dropped, WireRequest, WireResponse
from prefrontal.errors import ProviderAuthFailed, ProviderError, ProviderMisbehaved
from prefrontal.providers.base import Provider, Target
from prefrontal.providers.profile import Profile

KEY = "sk-contract-0123456789"
BASE_URL = "https://upstream.test/base"
NO_EFFORT = EffortFields(dialect="fixed")
GARBAGE = (
    b"",
    b"<html>oops</html>",
    b"null",
    b"[]",
    b'{"unexpected": true}',
    b'{"choices": 5, "content": 5, "candidates": 5}',
    b"\xff\xfe",
)
STATUSES = (400, 401, 402, 403, 404, 408, 413, 422, 429, 500, 502, 503, 504, 529)


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One recorded exchange: the same answer whole and streamed, and what is in it.

    `calls` are (name, arguments as JSON text). `errors` are bodies of non-2xx responses in this wire's shape. Leave `stream` None
    for a wire that cannot stream.
    """

    whole: bytes
    stream: bytes | None
    text: str
    reasoning: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    input_tokens: int = 0
    output_tokens: int = 0
    errors: tuple[bytes, ...] = ()


Check = Callable[[Provider, Profile, Sample], None]


def require(condition: object, sentence: str) -> None:
    """Raise AssertionError with `sentence` unless `condition` holds; unlike a bare assert it survives ``python -O``."""
    if not condition:
        raise AssertionError(sentence)


def contract_target(profile: Profile) -> Target:
    """Return a model behind `profile` at an address that does not exist, with a key that must stay secret."""
    card = ModelCard(id="contract", wire_name="vendor/contract-1", profile=profile.name, key=KEY, max_output_tokens=4096)
    return Target(card=card, profile=profile, base_url=BASE_URL)


def contract_request() -> ChatRequest:
    """Return a conversation with a tool loop in it."""
    return ChatRequest(
        model="auto",
        messages=(
            Message(role="system", blocks=(Text(text="SYSTEM-WORDS"),)),
            Message(role="user", blocks=(Text(text="QUESTION-WORDS ü \u2028"),)),
            Message(role="assistant", form="none", blocks=(ToolCall(id="call_1", name="look_up", arguments='{"q": "ARG"}'),)),
            Message(role="tool", blocks=(ToolResult(call_id="call_1", blocks=(Text(text="RESULT-WORDS"),), form="text"),)),
            Message(role="user", blocks=(Text(text="LAST-WORDS"),)),
        ),
        tools=(
            Tool(name="look_up", description="Looks up.", parameters={"type": "object", "properties": {"q": {"type": "string"}}}),
        ),
        sampling=Sampling(temperature=0.5, stop=("END",)),
        max_output_tokens=256,
        cap_field="max_tokens",
    )


def _json(request: WireRequest) -> dict[str, object]:
    body = msgspec.json.decode(request.body)
    require(isinstance(body, dict), "The body sent is not a JSON object.")
    return dict(body)


def _sendable(request: WireRequest, profile: Profile) -> None:
    origin = BASE_URL.partition("/base")[0]
    require(request.url.startswith(origin + "/"), f"{request.url} does not lie at the target's address.")
    require("{" not in request.url, f"{request.url} has an unfilled place.")
    require(all(name == name.lower() for name, _ in request.headers), "Header names must be lower case.")
    require(KEY not in request.url and KEY.encode() not in request.body, "The key lies in the address or the body.")
    given = [value for name, value in request.headers if name == profile.auth.header.lower()]
    require(given == [profile.auth.prefix + KEY], f"The key is not (once) in the header {profile.auth.header}.")


def check_identity(provider: Provider, profile: Profile, sample: Sample) -> None:
    """The provider has every method, and speaks the profile's wire."""
    require(isinstance(provider, Provider), "Methods of Provider are missing.")
    require(provider.wire == profile.wire, f"The provider speaks {provider.wire!r}, the profile asks for {profile.wire!r}.")


def check_requests(provider: Provider, profile: Profile, sample: Sample) -> None:
    """Requests are complete, deterministic, keep the key secret, and do not change what they are made from."""
    request, target = contract_request(), contract_target(profile)
    before = msgspec.json.encode(request)
    for stream in (False, True):
        sent = provider.render_chat(request, target, NO_EFFORT, stream=stream)
        _sendable(sent, profile)
        require(sent.method == "POST", "Chat must be posted.")
        require(dict(sent.headers).get("content-type") == "application/json", "The content type is not JSON.")
        text = msgspec.json.encode(_json(sent)).decode()
        for words in ("SYSTEM-WORDS", "QUESTION-WORDS ü", "look_up", "ARG", "RESULT-WORDS", "LAST-WORDS"):
            require(words in text, f"{words!r} of the request is not in the body.")
        require("contract-1" in text or "contract-1" in sent.url, "The model's wire name is not sent.")
        require(sent == provider.render_chat(request, target, NO_EFFORT, stream=stream), "The same request renders differently.")
    require(msgspec.json.encode(request) == before, "Rendering changed the request.")


def check_effort(provider: Provider, profile: Profile, sample: Sample) -> None:
    """Rendered effort is written into the body at its dotted path; the suffix ends the last user turn."""
    effort = EffortFields(
        dialect="fixed",
        fields={"contract_level": "high", "contract_inner.budget": 77},
        suffix="SUFFIX-WORDS",
        remove=(Dropped(field="temperature", reason="contract"),),
    )
    body = _json(provider.render_chat(contract_request(), contract_target(profile), effort, stream=False))
    require(body.get("contract_level") == "high", "An effort field is not in the body.")
    require(body.get("contract_inner") == {"budget": 77}, "A dotted effort field is not in the body.")
    text = msgspec.json.encode(body).decode()
    require("SUFFIX-WORDS" in text, "The effort's suffix is not in the body.")
    require('"temperature"' not in text, "A field the effort removes is still in the body.")


def check_answers(provider: Provider, profile: Profile, sample: Sample) -> None:
    """The recorded answer is read as what it says."""
    target = contract_target(profile)
    _says(provider.parse_chat(WireResponse(status=200, headers={}, body=sample.whole), target), sample)


def _says(response: ChatResponse, sample: Sample) -> None:
    require(response.choices, "The answer has no choice.")
    first = response.choices[0]
    require(first.text == sample.text, f"The text is {first.text!r}, not {sample.text!r}.")
    require(first.reasoning == sample.reasoning, f"The thinking is {first.reasoning!r}, not {sample.reasoning!r}.")
    calls = tuple([(block.name, block.arguments) for block in first.blocks if isinstance(block, ToolCall)])
    wanted = [(name, msgspec.json.decode(arguments)) for name, arguments in sample.calls]
    require([(n, msgspec.json.decode(a)) for n, a in calls] == wanted, f"The tool calls are {calls!r}, not {sample.calls!r}.")
    require(first.finish_reason == ("tool_calls" if sample.calls else "stop"), f"The finish reason is {first.finish_reason!r}.")
    if sample.input_tokens:
        counted = (response.usage.input_tokens, response.usage.output_tokens, response.usage.source)
        expected = (sample.input_tokens, sample.output_tokens, "reported")
        require(counted == expected, f"The usage is {counted}, not {expected}.")


def _stream(provider: Provider, target: Target, data: bytes, step: int) -> ChatResponse:
    parser, collector = provider.stream_parser(target), Collector()
    for start in range(0, len(data), step):
        for chunk in parser.feed(data[start : start + step]):
            collector.add(chunk)
    for chunk in parser.finish():
        collector.add(chunk)
    return collector.response()


def check_streams(provider: Provider, profile: Profile, sample: Sample) -> None:
    """The recorded stream says what the whole answer says, whatever way its bytes are cut."""
    if sample.stream is None:
        return
    target = contract_target(profile)
    whole = _stream(provider, target, sample.stream, len(sample.stream))
    _says(whole, sample)
    for step in (1, 2, 3, 7, 64):
        require(
            _stream(provider, target, sample.stream, step) == whole, f"Cut every {step} bytes the stream says something else."
        )


def check_broken_streams(provider: Provider, profile: Profile, sample: Sample) -> None:
    """A stream that ends early, or is no stream, raises a ProviderError."""
    if sample.stream is None:
        return
    target = contract_target(profile)
    for data in (b"", sample.stream[: len(sample.stream) // 3], b"data: {nonsense\n\n", b"{nonsense\n"):
        try:
            _stream(provider, target, data, 16)
        except ProviderError:
            continue
        raise AssertionError(f"The broken stream {data[-40:]!r} was taken for an answer.")


def check_garbage(provider: Provider, profile: Profile, sample: Sample) -> None:
    """Answers that are none raise ProviderMisbehaved, or another ProviderError; never anything else."""
    target = contract_target(profile)
    parsers: list[Callable[[WireResponse, Target], object]] = [provider.parse_chat]
    if provider.render_models(target) is not None:
        parsers.append(provider.parse_models)
    if provider.render_probe(target) is not None and profile.probe_shape not in ("props", "info"):
        parsers.append(provider.parse_probe)
    for body in GARBAGE:
        response = WireResponse(status=200, headers={}, body=body)
        for parse in parsers:
            if parse == provider.parse_models and body == b"[]":
                continue  # an empty list is one
            try:
                parse(response, target)
            except ProviderError:
                continue
            except Exception as error:
                raise AssertionError(f"{parse.__name__} raised {type(error).__name__} for {body!r}.") from error
            require(parse != provider.parse_chat, f"parse_chat took {body!r} for an answer.")


def check_errors(provider: Provider, profile: Profile, sample: Sample) -> None:
    """Every error response is classified without raising; refused credentials are told apart; our key is never repeated."""
    target = contract_target(profile)
    bodies = (*sample.errors, *GARBAGE, f'{{"error": {{"message": "wrong key {KEY}"}}}}'.encode())
    for status in STATUSES:
        for body in bodies:
            error = provider.parse_error(WireResponse(status=status, headers={"x-request-id": "r"}, body=body), target)
            require(isinstance(error, ProviderError), f"{type(error).__name__} is no ProviderError.")
            require(error.upstream_status == status, "The error does not keep the upstream's status.")
            require(error.model == "contract" and error.message, "The error names no model, or says nothing.")
            require(KEY not in error.text + str(error), "The error repeats the key.")
            if status == 401 and body not in sample.errors:
                require(isinstance(error, ProviderAuthFailed), f"A 401 was read as {type(error).__name__}.")
            require(status < 500 or error.retryable or body in sample.errors, f"A bare {status} must be worth another try.")


def check_other_routes(provider: Provider, profile: Profile, sample: Sample) -> None:
    """Counting, listing, probing, health and load are sendable, or None where the profile has no such route."""
    request, target = contract_request(), contract_target(profile)
    paths = profile.paths
    found = {
        "count_tokens": (provider.render_count(request, target), paths.count_tokens),
        "models": (provider.render_models(target), paths.models),
        "probe": (provider.render_probe(target), paths.probe),
        "load": (provider.render_load(target, load=True), paths.load),
        "unload": (provider.render_load(target, load=False), paths.unload),
        "health": (provider.render_health(target), paths.health or paths.models),
    }
    for name, (sent, path) in found.items():
        require(sent is None or path is not None, f"{name} is rendered, though the profile has no such route.")
        if sent is not None:
            _sendable(sent, profile)
            require(sent.method == "POST" or not sent.body, f"{name} sends a body with {sent.method}.")
    counted = found["count_tokens"][0]
    if counted is not None:
        try:
            provider.parse_count(WireResponse(status=200, headers={}, body=b"{}"), target)
        except ProviderMisbehaved:
            return
        raise AssertionError("parse_count took an empty object for a count.")


CONTRACT: tuple[Check, ...] = (
    check_identity,
    check_requests,
    check_effort,
    check_answers,
    check_streams,
    check_broken_streams,
    check_garbage,
    check_errors,
    check_other_routes,
)
"""All checks. They do not depend on each other."""
