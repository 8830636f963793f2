"""How many tokens a text will be: an estimate from its characters, corrected per model by the usage that comes back.

Long texts are sampled, so the cost is bounded whatever their size. Counting characters of a class is done by deleting them in C
(`bytes.translate`), not by a loop over characters.
"""

from __future__ import annotations

import msgspec

from prefrontal.chat.blocks import Audio, File, Image, Opaque, Reasoning, Refusal, Text, ToolCall, ToolResult
from prefrontal.chat.request import ChatRequest, Tool

CHARS_PER_TOKEN_TEXT = 4.4
"""Assumed: characters of a token in European prose with today's vocabularies of 100,000 words and more."""

CHARS_PER_TOKEN_CODE = 3.3
"""Assumed: the same in source code and markup, where signs and indentation cost more."""

TOKENS_PER_DIGIT = 0.5
"""Assumed: between vocabularies that take three digits a token and those that take one."""

TOKENS_PER_WIDE_CHAR = 0.75
"""Assumed: Chinese, Japanese and Korean characters; from 0.6 (Qwen, DeepSeek) to 1 (older vocabularies)."""

TOKENS_PER_OTHER_CHAR = 0.45
"""Assumed: Cyrillic, Greek, Arabic, Indic and other scripts, two to three characters a token."""

CODE_SIGN_SHARE = 0.06
"""Assumed: from this share of signs such as braces and semicolons a text counts as code."""

MESSAGE_TOKENS = 4
"""Specified: OpenAI's counting recipe adds three to four tokens a message for its frame."""

TOOL_FRAME_TOKENS = 12
"""Assumed: the frame around one tool's definition; its JSON is counted as code."""

IMAGE_TOKENS = 1_100
"""Assumed: a full image is 765 (OpenAI's documented 1024 x 1024, high detail) to about 1,600 (Anthropic's documented maximum)."""

IMAGE_LOW_TOKENS = 85
"""Specified: OpenAI's documented flat cost of an image with detail low."""

AUDIO_TOKENS_PER_BASE64_CHAR = 0.003
"""Assumed: 32 tokens a second (Gemini's documented rate) of speech at 64 kbit/s, which is 10,700 base64 characters a second."""

WAVE_TOKENS_PER_BASE64_CHAR = 0.00075
"""Assumed: the same rate on uncompressed 16 kHz, 16 bit sound, which is 42,700 base64 characters a second."""

FILE_TOKENS_PER_BASE64_CHAR = 0.05
"""Assumed: a document's text is about a quarter of its bytes."""

SAMPLE_CHARS = 2_048
"""Texts longer than two of these are estimated from their head, middle and tail."""

LEARN_WEIGHT = 0.2
"""Assumed: weight of the newest report in the running ratio; a wrong factor is forgotten to 1 % after twenty reports."""

FACTOR_MIN, FACTOR_MAX = 0.25, 4.0
"""Assumed: a ratio outside this is a fault in the report (cached input left out, another model), not a vocabulary's property."""

_SIGNS = b"{}()[];=<>_/\\\"'`|&*+#$@^~"
_DIGITS = b"0123456789"
_ASCII = bytes(range(128))
_WIDE_LEAD = bytes(range(0xE3, 0xEE))  # UTF-8 lead bytes of U+3000 to U+DFFF: kana, ideographs, hangul
_CONTINUATION = bytes(range(0x80, 0xC0))


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """One model's correction: `factor` multiplies raw estimates; `reports` is how many taught it. The neutral one is 1."""

    factor: float = 1.0
    reports: int = 0

    def update(self, estimated: int, reported: int) -> Calibration:
        """Return the correction after one more report.

        estimated: what `estimate_request` said under this calibration. reported: input tokens the engine counted. A report
        without either teaches nothing.
        """
        if estimated <= 0 or reported <= 0:
            return self
        ratio = min(FACTOR_MAX, max(FACTOR_MIN, self.factor * reported / estimated))
        weight = max(LEARN_WEIGHT, 1.0 / (self.reports + 1))  # the first reports count in full, then the running mean takes over
        return Calibration(factor=self.factor + weight * (ratio - self.factor), reports=self.reports + 1)


NEUTRAL = Calibration()
"""Nothing learnt yet."""


def estimate_tokens(text: str, calibration: Calibration = NEUTRAL) -> int:
    """Return the tokens `text` will probably be for the calibrated model; 0 only for an empty text."""
    return max(1, round(_raw(text) * calibration.factor)) if text else 0


def estimate_request(request: ChatRequest, calibration: Calibration = NEUTRAL) -> int:
    """Return the input tokens of a chat request: texts, frames, tools, images, sound and files."""
    total = 0.0
    texts: list[str] = []
    for message in request.messages:
        total += MESSAGE_TOKENS
        for block in message.blocks:
            total += _block(block, texts)
    for tool in request.tools:
        total += TOOL_FRAME_TOKENS + _tool(tool)
    if request.response_format is not None and request.response_format.schema is not None:
        total += len(msgspec.json.encode(request.response_format.schema)) / CHARS_PER_TOKEN_CODE
    total += _raw("\n".join(texts)) if sum(map(len, texts)) <= 2 * SAMPLE_CHARS else sum(map(_raw, texts))
    return max(1, round(total * calibration.factor))


def _block(block: object, texts: list[str]) -> float:
    """Tokens of one block that is not plain text; plain text is added to `texts`."""
    match block:
        case Text() | Reasoning() | Refusal():
            texts.append(block.text)
        case ToolCall():
            texts.append(block.arguments)
            return float(MESSAGE_TOKENS)
        case ToolResult():
            return MESSAGE_TOKENS + sum(_block(part, texts) for part in block.blocks)
        case Image():
            return IMAGE_LOW_TOKENS if block.detail == "low" else IMAGE_TOKENS
        case Audio():
            rate = WAVE_TOKENS_PER_BASE64_CHAR if block.format in ("wav", "pcm16") else AUDIO_TOKENS_PER_BASE64_CHAR
            return len(block.data or "") * rate
        case File():
            return len(block.data or "") * FILE_TOKENS_PER_BASE64_CHAR
        case Opaque():
            return len(msgspec.json.encode(block.value)) / CHARS_PER_TOKEN_CODE
    return 0.0


def _tool(tool: Tool) -> float:
    schema = len(msgspec.json.encode(tool.parameters)) if tool.parameters else 0
    return (len(tool.name) + len(tool.description or "") + schema) / CHARS_PER_TOKEN_CODE


def _raw(text: str) -> float:
    """Tokens of a text before calibration; long texts are sampled at head, middle and tail."""
    length = len(text)
    if length <= 2 * SAMPLE_CHARS:
        return _dense(text)
    third = SAMPLE_CHARS // 3
    middle = length // 2
    sample = text[:third] + text[middle : middle + third] + text[-third:]
    return _dense(sample) * length / len(sample)


def _dense(text: str) -> float:
    """Tokens of a short text from its classes of characters."""
    length = len(text)
    raw = text.encode("utf-8", "surrogatepass")
    plain = length
    tokens = 0.0
    if len(raw) != length:  # some characters are not ASCII
        high = raw.translate(None, _ASCII)
        leads = high.translate(None, _CONTINUATION)
        others = len(leads.translate(None, _WIDE_LEAD))
        wide = len(leads) - others
        # accented letters of an otherwise Latin text are part of its words: only a script of its own is counted apart
        foreign = others if 4 * others > length else 0
        tokens += wide * TOKENS_PER_WIDE_CHAR + foreign * TOKENS_PER_OTHER_CHAR
        plain -= wide + foreign
    digits = len(raw) - len(raw.translate(None, _DIGITS))
    signs = len(raw) - len(raw.translate(None, _SIGNS))
    per_token = CHARS_PER_TOKEN_CODE if signs > CODE_SIGN_SHARE * length else CHARS_PER_TOKEN_TEXT
    return tokens + digits * TOKENS_PER_DIGIT + (plain - digits) / per_token


def estimate_length(characters: int, calibration: Calibration = NEUTRAL) -> int:
    """Return the tokens of an answer of which only its length in characters is known."""
    return round(characters / CHARS_PER_TOKEN_TEXT * calibration.factor)
