"""Each family of rules tells its task type, for reasons a person would give."""

import pytest

from prefrontal.chat.blocks import File, Image, Text, ToolResult
from prefrontal.chat.request import Message, Tool, ToolChoice

WEATHER = (Tool(name="get_weather", description="Weather of a place"),)


@pytest.mark.parametrize(
    ("task_type", "text"),
    [
        ("code", "Write a Python function that removes duplicates from a list but keeps the order."),
        ("code", "def area(r):\n    return 3.14 * r ** 2\n\nWhy does area('2') raise TypeError: can't multiply?"),
        ("code", "how to merge two dictionaries in javascript"),
        ("math", "Solve the equation 3x + 7 = 22 for x."),
        ("math", "Ida has 14 apples and buys three bags with 6 apples each. How many apples does she have in total?"),
        ("math", "Compute $\\int_0^1 x^2 \\, dx$."),
        ("reasoning", "Ann is taller than Bo. Bo is taller than Cy. Di is shorter than Cy. Who is the tallest?"),
        (
            "reasoning",
            "Premise: All cats purr. Some pets are cats. Conclusion: Some pets purr. Is the argument valid or invalid?",
        ),
        ("reasoning", "not ( True and False ) or False is"),
        ("knowledge_qa", "Who discovered penicillin?"),
        ("knowledge_qa", "Which planet has the most moons?\nA. Mars\nB. Saturn\nC. Venus\nD. Earth"),
        ("chat_writing", "Write a birthday card for my grandmother, warm and not too long."),
        ("chat_writing", "Hello, how are you today?"),
        ("multilingual", "Quelle est la meilleure façon de cuire un œuf ?"),
        ("multilingual", "Translate this into German: The bridge is closed."),
        ("multilingual", "Übersetze ins Englische: Guten Tag"),
        ("multilingual", "Übersetze: The bridge is closed."),
        ("multilingual", "Traduis en anglais : bonjour"),
        ("multilingual", "traduci in inglese: ciao"),
        ("summarization", "Summarize in two sentences: " + "The council met and discussed the new bridge at length. " * 12),
        (
            "document_qa",
            "Passage: " + "The mill was built by the river and later burned down. " * 8 + "\nQuestion: What burned down?",
        ),
    ],
)
def test_a_clear_request_gets_its_task_type(read, task_type, text):
    """A request a person would sort without thinking is sorted the same way."""
    assert read(text).task_type == task_type


def test_tools_on_offer_make_a_tool_call_and_forbidden_tools_do_not(read):
    """Offered tools decide the type unless the caller forbids their use."""
    text = "What is the weather in Oslo right now?"
    assert read(text, tools=WEATHER).task_type == "tool_call"
    assert read(text, tools=WEATHER, tool_choice=ToolChoice(mode="none")).task_type != "tool_call"
    assert read(text).task_type != "tool_call"


def test_a_tool_result_as_the_last_message_keeps_the_tool_loop(read):
    """After a tool has answered the request is still a tool call."""
    question = Message(role="user", blocks=(Text(text="Weather in Oslo?"),))
    answer = Message(role="tool", blocks=(ToolResult(call_id="1", blocks=(Text(text="rain"),)),))
    found = read("", messages=(question, answer), tools=WEATHER)
    assert found.task_type == "tool_call"
    assert "a tool has just answered" in found.signals


def test_an_image_in_the_last_message_makes_vision_and_an_old_one_does_not(read):
    """Only an image sent with the question says that the question is about it."""
    picture = Message(role="user", blocks=(Image(url="https://example.org/a.png"), Text(text="What is in this picture?")))
    later = Message(role="user", blocks=(Text(text="Write a short poem about the sea and the wind, please."),))
    assert read("", messages=(picture,)).task_type == "vision"
    assert read("", messages=(picture, Message(role="assistant"), later)).task_type == "chat_writing"


def test_an_attached_document_speaks_for_document_questions(read):
    """A file beside a question makes it a question about the file."""
    blocks = (File(file_id="f1"), Text(text="When does the contract end?"))
    assert read("", messages=(Message(role="user", blocks=blocks),)).task_type == "document_qa"


def test_options_do_not_speak_for_the_question(read):
    """Words of the possible answers are not words of the request."""
    options = "\nA. a Python function\nB. the integral of a polynomial\nC. a summary\nD. a translation into French"
    assert read("Which of the following did the king ask for?" + options).task_type == "knowledge_qa"


def test_the_instruction_is_found_behind_a_long_text(read):
    """A request after a hundred thousand characters of material is seen."""
    material = "The harbour was quiet and the boats came back before noon. " * 1_700
    assert read(material + "\n\nSummarize the text above in three sentences.").task_type == "summarization"


def test_a_short_system_prompt_frames_the_request(read):
    """An application that says its task once, in the system prompt, is understood."""
    user = Message(role="user", blocks=(Text(text="The shop is closed on Monday."),))
    framed = (Message(role="system", blocks=(Text(text="Translate what the user sends into French."),)), user)
    assert read("", messages=framed).task_type == "multilingual"
    assert read("", messages=(user,)).task_type != "multilingual"


def test_a_short_follow_up_is_read_with_the_message_before(read):
    """A bare "now shorter" means nothing without what it shortens."""
    first = Message(role="user", blocks=(Text(text="Write a Python function that parses a date string."),))
    reply = Message(role="assistant", blocks=(Text(text="def parse(s): ..."),))
    follow_up = Message(role="user", blocks=(Text(text="now with tests"),))
    assert read("", messages=(first, reply, follow_up)).task_type == "code"
    assert read("now with tests").task_type != "code"


def test_signals_name_the_rules_strongest_first(read):
    """A reader of the explanation sees why, in the order of weight."""
    assert read("Who discovered penicillin?").signals[0] == "a short question"
    assert "asks for a summary" in read("Please summarize this.").signals


def test_a_clear_request_is_more_certain_than_a_vague_one(read):
    """Confidence rises with the lead of the winner and stays in [0, 1]."""
    clear = read("Write a Python function that sorts a list of integers.").confidence
    vague = read("Things about boats and numbers").confidence
    assert 0.5 <= vague < 0.8 < clear < 1.0


def test_an_empty_request_is_conversation(read):
    """No text at all gives the default type with low confidence and no signals."""
    found = read("")
    assert (found.task_type, found.signals) == ("chat_writing", ())
    assert found.confidence < 0.8
