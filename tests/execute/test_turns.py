"""Thinking of tool turns comes back where it was, and to nobody else."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from prefrontal.chat.blocks import Block, Reasoning, Text, ToolCall, ToolResult
from prefrontal.chat.request import ChatRequest, Message
from prefrontal.execute.turns import Turns

SIGNED = Reasoning(text="hm", signature="s", provider="anthropic")
CALL = ToolCall(id="call_1", name="weather", arguments="{}")


def asked(question: str = "what is the weather?", *more: Message) -> ChatRequest:
    return ChatRequest(model="auto", messages=(Message(role="user", blocks=(Text(text=question),)), *more))


def answered(*blocks: Block, question: str = "what is the weather?") -> ChatRequest:
    """The next request of the loop: the turn as the client returns it, and the tool's result."""
    turn = Message(role="assistant", blocks=blocks)
    result = Message(role="tool", blocks=(ToolResult(call_id="call_1", blocks=(Text(text="rain"),)),))
    return asked(question, turn, result)


def kept(*blocks: Block, question: str = "what is the weather?") -> Turns:
    turns = Turns()
    turns.remember(blocks, "engine", asked(question))
    return turns


def blocks_of(request: ChatRequest) -> tuple[Block, ...]:
    return request.messages[1].blocks


def test_thinking_left_out_is_put_back_in_front() -> None:
    """The rest of the request is untouched."""
    turns, request = kept(SIGNED, Text(text="let me see"), CALL), answered(Text(text="let me see"), CALL)
    restored = turns.restore(request)
    assert blocks_of(restored) == (SIGNED, Text(text="let me see"), CALL)
    assert (restored.messages[0], restored.messages[2]) == (request.messages[0], request.messages[2])


def test_thoughts_between_calls_return_between_them() -> None:
    """Interleaved thinking keeps its order."""
    second = ToolCall(id="call_2", name="g", arguments="{}")
    later = Reasoning(text="and", signature="t", provider="anthropic")
    last = Reasoning(text="so", signature="u", provider="anthropic")
    turns = kept(SIGNED, CALL, later, second, last)
    assert blocks_of(turns.restore(answered(CALL, second))) == (SIGNED, CALL, later, second, last)
    assert blocks_of(turns.restore(answered(CALL))) == (SIGNED, CALL, later, last)


def test_thinking_the_client_returned_with_its_signature_is_left_alone() -> None:
    """The request comes back as the same object: nothing to do."""
    request = answered(SIGNED, CALL)
    assert kept(SIGNED, CALL).restore(request) is request


def test_thinking_returned_without_its_signature_is_replaced() -> None:
    """Clients that show thinking return its text alone."""
    assert blocks_of(kept(SIGNED, CALL).restore(answered(Reasoning(text="hm"), CALL))) == (SIGNED, CALL)


def test_unsigned_thinking_is_put_back_and_says_whose_it_is() -> None:
    """Reasoning text of open models is restored too."""
    assert blocks_of(kept(Reasoning(text="hm"), CALL).restore(answered(CALL))) == (Reasoning(text="hm", provider="engine"), CALL)


def test_signatures_of_calls_are_put_back() -> None:
    """A call whose signature the client dropped gets it again, one that has another keeps it."""
    signed = ToolCall(id="call_1", name="weather", arguments="{}", signature="sig")
    assert blocks_of(kept(signed).restore(answered(CALL))) == (signed,)
    other = ToolCall(id="call_1", name="weather", arguments="{}", signature="own")
    assert blocks_of(kept(signed).restore(answered(other))) == (other,)


def test_a_turn_without_thinking_or_without_calls_is_not_kept() -> None:
    """Nothing would have to be restored."""
    for blocks in ((CALL,), (SIGNED, Text(text="a")), ()):
        request = answered(CALL)
        assert kept(*blocks).restore(request) is request


def test_an_engine_that_numbers_calls_anew_does_not_mix_conversations() -> None:
    """The same call id after another question is another turn."""
    turns = kept(SIGNED, CALL, question="where is my salary statement?")
    request = answered(CALL, question="what is the weather?")
    assert turns.restore(request) is request
    assert blocks_of(turns.restore(answered(CALL, question="where is my salary statement?")))[0] == SIGNED


def test_later_turns_of_a_loop_are_restored_each_in_its_place() -> None:
    """Two rounds of one question, and a result that comes inside a user message."""
    turns = Turns()
    second = ToolCall(id="call_2", name="g", arguments="{}")
    later = Reasoning(text="then", signature="t", provider="anthropic")
    turns.remember((SIGNED, CALL), "anthropic", asked())
    result = Message(role="user", blocks=(ToolResult(call_id="call_1"),))
    middle = asked("what is the weather?", Message(role="assistant", blocks=(CALL,)), result)
    turns.remember((later, second), "anthropic", turns.restore(middle))
    final = asked("what is the weather?", *middle.messages[1:], Message(role="assistant", blocks=(second,)))
    restored = turns.restore(final).messages
    assert (restored[1].blocks, restored[3].blocks) == ((SIGNED, CALL), (later, second))


def test_the_oldest_unused_turn_makes_room() -> None:
    """By number and by size; a turn larger than everything is not kept."""
    turns = Turns(max_turns=2)
    for number in range(3):
        turns.remember((SIGNED, ToolCall(id=str(number), name="f", arguments="{}")), "p", asked(str(number)))
        turns.restore(answered(ToolCall(id="0", name="f", arguments="{}"), question="0"))  # the first stays in use
    found = [
        n for n in range(3)
        if len(blocks_of(turns.restore(answered(ToolCall(id=str(n), name="f", arguments="{}"), question=str(n))))) > 1
    ]  # fmt: skip
    assert found == [0, 2]
    small = Turns(max_characters=100)
    small.remember((Reasoning(text="x" * 101), CALL), "p", asked())
    assert small.restore(answered(CALL)) == answered(CALL)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 60)), max_size=40))
def test_the_count_of_characters_is_exact(turns: list[tuple[int, int]]) -> None:
    """Whatever is remembered, replaced and forgotten, the bound holds and the sum agrees with what is kept."""
    store = Turns(max_turns=4, max_characters=100)
    for name, length in turns:
        store.remember((Reasoning(text="x" * length), ToolCall(id=str(name), name="f", arguments="{}")), "p", asked())
        assert store._characters == sum(kept.characters for kept in store._turns.values())
        assert store._characters <= 100
        assert len(store._turns) <= 4
