"""What a request needs is read from its content, its fields and its difficulty."""

import pytest

from prefrontal.chat.blocks import Audio, File, Image, Text, ToolResult
from prefrontal.chat.request import Hints, Message, ResponseFormat, Tool, ToolChoice


def user(*blocks):
    return (Message(role="user", blocks=blocks),)


def test_plain_text_needs_nothing_special(read):
    """A greeting needs no capability."""
    needs = read("Hello there").needs
    assert not any((needs.thinking, needs.tools, needs.vision, needs.audio, needs.files, needs.structured_output))


@pytest.mark.parametrize(
    ("need", "block"),
    [("vision", Image(url="https://example.org/a.png")), ("audio", Audio(data="")), ("files", File(file_id="f"))],
)
def test_a_block_of_a_kind_needs_a_model_that_reads_it(read, need, block):
    """Images, sound and files each name their capability, also in an earlier message."""
    assert getattr(read("", messages=user(block)).needs, need)
    earlier = (*user(block), Message(role="assistant"), *user(Text(text="And now?")))
    assert getattr(read("", messages=earlier).needs, need)


def test_an_image_inside_a_tool_result_needs_vision(read):
    """What a tool shows must be seen too."""
    shown = Message(role="tool", blocks=(ToolResult(call_id="1", blocks=(Image(data=""),)),))
    assert read("", messages=(*user(Text(text="Take a screenshot")), shown)).needs.vision


def test_an_earlier_spoken_answer_needs_no_hearing_but_a_wanted_one_does(read):
    """Sound the model produced itself is not input; asking for sound needs a model that speaks."""
    spoken = Message(role="assistant", blocks=(Audio(id="a1"),))
    assert not read("", messages=(*user(Text(text="Hi")), spoken, *user(Text(text="Thanks")))).needs.audio
    assert read("Hi", extra={"modalities": ["text", "audio"]}).needs.audio


def test_tools_are_needed_only_when_they_may_be_called(read):
    """Offered but forbidden tools need no tool-calling model."""
    tools = (Tool(name="lookup"),)
    assert read("Find it", tools=tools).needs.tools
    assert not read("Find it", tools=tools, tool_choice=ToolChoice(mode="none")).needs.tools


@pytest.mark.parametrize(("kind", "needed"), [("json_schema", True), ("json_object", True), ("text", False)])
def test_a_response_format_needs_structured_output(read, kind, needed):
    """Only a format other than text needs the capability."""
    assert read("Give me a list", response_format=ResponseFormat(kind=kind)).needs.structured_output is needed


def test_the_context_holds_input_and_answer(read):
    """The caller's cap is the reserve; without one the task type sets it."""
    assert read("x" * 400, max_output_tokens=77).needs.context_tokens == 177
    short, long = read("Who discovered penicillin?").needs, read("Write a Python function that sorts a list.").needs
    assert 0 < short.output_tokens < long.output_tokens


def test_hard_formal_tasks_need_thinking_and_easy_ones_do_not(read):
    """A proof needs thinking; a sum and a poem do not."""
    assert read(
        "Prove that there are infinitely many primes congruent to 3 mod 4, and derive a bound on the n-th one."
    ).needs.thinking
    assert not read("What is 2 + 2?").needs.thinking
    assert not read("Write a poem about the proof of a theorem").needs.thinking


def test_the_callers_wish_to_think_is_a_need(read):
    """A high effort word asks for thinking whatever the task."""
    assert read("Hello", reasoning_effort="high").needs.thinking
    assert not read("Hello", reasoning_effort="low").needs.thinking


def test_demanded_capabilities_are_passed_on(read):
    """Names the code does not know reach the plan unchanged."""
    assert read("Hello", hints=Hints(needs=("sign_language",))).needs.custom == ("sign_language",)
