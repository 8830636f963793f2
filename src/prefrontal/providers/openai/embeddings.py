"""Embeddings: client's body → `EmbeddingsRequest` → upstream's body, and the vectors back."""

from __future__ import annotations

import base64
import sys
from array import array
from typing import Any, Literal

import msgspec

from prefrontal.chat.embeddings import EmbeddingsRequest, EmbeddingsResponse
from prefrontal.errors import InvalidRequest, ProviderMisbehaved
from prefrontal.providers.openai.check import bad_value, decode_object, missing, need_string, wrong_type
from prefrontal.providers.openai.response import decode_answer
from prefrontal.providers.openai.usage import parse_usage
from prefrontal.providers.profile import Profile

Item = str | tuple[int, ...]
Format = Literal["float", "base64"]
_KNOWN = ("model", "input", "dimensions", "encoding_format", "user")


def parse_embeddings_request(body: bytes) -> EmbeddingsRequest:
    """Return the request of ``POST /v1/embeddings``: a text, tokens, or a list of either.

    Raises:
        InvalidRequest: `param` names the field.
    """
    raw = decode_object(body)
    model = need_string(raw.get("model"), "model")
    if not model:
        raise missing("model")
    inputs, form = _parse_input(raw.get("input"))
    dimensions = raw.get("dimensions")
    if dimensions is not None and (type(dimensions) is not int or dimensions < 1):
        raise InvalidRequest("'dimensions' must be a whole number of at least 1.", param="dimensions")
    encoding = raw.get("encoding_format")
    if encoding not in (None, "float", "base64"):
        raise bad_value("encoding_format", encoding, ("float", "base64"))
    user = raw.get("user")
    if user is not None:
        need_string(user, "user")
    extra = {key: value for key, value in raw.items() if (key not in _KNOWN or value is None) and key != "x_prefrontal"}
    return EmbeddingsRequest(
        model=model, inputs=inputs, form=form, dimensions=dimensions, encoding_format=encoding, user=user, extra=extra or None
    )


def _parse_input(value: object) -> tuple[tuple[Item, ...], Literal["one", "many"]]:
    if value is None:
        raise missing("input")
    if isinstance(value, str):
        return (value,), "one"
    if not isinstance(value, list):
        raise wrong_type("input", "a string or an array", value)
    if not value:
        raise InvalidRequest("Invalid 'input': empty array. Expected at least one item.", param="input")
    if all(type(item) is int for item in value):
        return (tuple(value),), "one"
    items: list[Item] = []
    for i, item in enumerate(value):
        if isinstance(item, str):
            items.append(item)
        elif isinstance(item, list) and item and all(type(token) is int for token in item):
            items.append(tuple(item))
        else:
            raise wrong_type(f"input[{i}]", "a string or an array of integers", item)
    return tuple(items), "many"


def render_embeddings_body(request: EmbeddingsRequest) -> dict[str, Any]:
    """Return the JSON object of the request."""
    single = request.form == "one" and len(request.inputs) == 1
    body: dict[str, Any] = {"model": request.model, "input": request.inputs[0] if single else list(request.inputs)}
    for name in ("dimensions", "encoding_format", "user"):
        value = getattr(request, name)
        if value is not None:
            body[name] = value
    body.update(request.extra or {})
    return body


def parse_embeddings_response(body: bytes, profile: Profile) -> EmbeddingsResponse:
    """Return the vectors in the order of the inputs. Raises ProviderMisbehaved when the body is no list of them."""
    raw = decode_answer(body)
    data = raw.get("data")
    if not isinstance(data, list):
        raise ProviderMisbehaved("The upstream's answer has no list of embeddings.")
    vectors: dict[int, tuple[float, ...] | str] = {}
    for position, item in enumerate(data):
        vector = item.get("embedding") if isinstance(item, dict) else None
        index = item.get("index", position) if isinstance(item, dict) else None
        if not isinstance(vector, (str, list)) or not isinstance(index, int) or index in vectors:
            raise ProviderMisbehaved("An embedding of the upstream's answer is malformed.")
        vectors[index] = vector if isinstance(vector, str) else tuple(vector)
    if sorted(vectors) != list(range(len(vectors))):
        raise ProviderMisbehaved("The upstream's embeddings are not numbered from 0 without gaps.")
    extra = {key: value for key, value in raw.items() if key not in ("object", "data", "model", "usage") and value is not None}
    usage = raw.get("usage")
    if isinstance(usage, dict):
        usage = {"completion_tokens": 0, **usage}
    return EmbeddingsResponse(
        model=str(raw.get("model") or ""),
        vectors=tuple([vectors[i] for i in range(len(vectors))]),
        usage=parse_usage(usage, profile.usage_shape),
        extra=extra or None,
    )


def to_base64(vector: tuple[float, ...]) -> str:
    """Return the vector as the API's base64 form: little-endian 32-bit floats."""
    packed = array("f", vector)
    if sys.byteorder == "big":
        packed.byteswap()
    return base64.b64encode(packed.tobytes()).decode("ascii")


def from_base64(text: str) -> tuple[float, ...]:
    """Return the vector in the API's base64 form. Raises ProviderMisbehaved when it is none."""
    try:
        packed = array("f")
        packed.frombytes(base64.b64decode(text, validate=True))
    except ValueError:
        raise ProviderMisbehaved("An embedding of the upstream's answer is not base64 of 32-bit floats.") from None
    if sys.byteorder == "big":
        packed.byteswap()
    return tuple(packed)


def render_embeddings_response(response: EmbeddingsResponse, *, model: str, encoding_format: Format | None) -> bytes:
    """Return the client's body, each vector in the form the client asked for (floats when it did not say)."""
    data = []
    for index, vector in enumerate(response.vectors):
        given: Any = vector
        if encoding_format == "base64" and not isinstance(vector, str):
            given = to_base64(vector)
        elif encoding_format != "base64" and isinstance(vector, str):
            given = from_base64(vector)
        data.append({"object": "embedding", "index": index, "embedding": given})
    out: dict[str, Any] = {"object": "list", "data": data, "model": model}
    tokens = response.usage.input_tokens
    out["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
    return msgspec.json.encode(out)
