"""What is kept of a person, a key or a request: found under every dialect, handed out whole, gone from the files when deleted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import prefrontal
from prefrontal.app.library import Prefrontal
from prefrontal.app.money import KeyDraft
from prefrontal.app.privacy import Whose, privacy_of
from prefrontal.app.pseudonyms import Pseudonyms
from prefrontal.clock import SystemClock
from prefrontal.errors import InvalidRequest, NotFound
from prefrontal.ledger.conversations import StoredResponse
from prefrontal.ledger.store import RecordFilter
from prefrontal.ledger.vault import SpendQuery
from prefrontal.machine.context import CallContext
from prefrontal.providers.anthropic.client import parse_messages_request
from prefrontal.providers.openai.request import parse_chat_request
from prefrontal.providers.responses.request import chat_request, parse_responses_request
from prefrontal.testing.scripted import ScriptedTransport, scripted_config

ANN, BEN = "ann@example.org", "ben@example.org"
HELLO = '"messages":[{"role":"user","content":"the secret word is %s"}]'


def settings(**more: Any) -> dict[str, Any]:
    return scripted_config(["m"], **{"records": {"content": True}, **more})


def opened(home: Path, **more: Any) -> Any:
    clock = SystemClock()
    env = {"PREFRONTAL_HOME": str(home)}
    return prefrontal.open(settings(**more), env=env, transport=ScriptedTransport(clock=clock), clock=clock)


async def ask(pf: Prefrontal, body: str, **context: Any) -> str:
    answer = await pf.answer(parse_chat_request(body.encode()), CallContext(**context))
    return answer.record.id


def chat(word: str, **fields: str) -> str:
    return '{"model":"m",' + HELLO % word + "".join(f',"{name}":{value}' for name, value in fields.items()) + "}"


def on_disk(home: Path, word: str) -> bool:
    """Return whether a word stands in any file."""
    return any(word.encode() in file.read_bytes() for file in home.rglob("*") if file.is_file())


async def exported(pf: Prefrontal, **whose: str) -> list[dict[str, Any]]:
    return [line async for line in privacy_of(pf).export(Whose(**whose), "me")]


async def test_one_person_is_found_whatever_field_named_them(tmp_path: Path) -> None:
    """The `user` of chat, `safety_identifier`, `metadata.user_id`: one pseudonym, and never the name itself in a record."""
    async with opened(tmp_path) as pf:
        ids = [
            await ask(pf, chat("one", user=f'"{ANN}"')),
            await ask(pf, chat("two", safety_identifier=f'"{ANN}"')),
            await ask(pf, chat("three", metadata=f'{{"user_id":"{ANN}","ticket":"7"}}')),
        ]
        await ask(pf, chat("four", user=f'"{BEN}"'))
        await ask(pf, chat("five"))
        found = await exported(pf, user=ANN)
        assert sorted(line["id"] for line in found) == sorted(ids)
        assert "the secret word is two" in str(found)
        assert "the secret word is four" not in str(found)
        assert next(line for line in found if line["id"] == ids[2])["metadata"] == {"ticket": "7"}
        assert len({user for line in found for user in line["users"]}) == 1
        pseudonym = found[0]["users"][0]
        assert [line["id"] for line in await exported(pf, user=pseudonym)] == [line["id"] for line in found]
        assert await exported(pf, user="nobody@example.org") == []
        assert not on_disk(tmp_path, ANN)


def test_each_dialect_says_whom_a_request_is_for() -> None:
    """Chat, Messages and Responses."""
    from prefrontal.machine.people import people_of

    hi = '"messages":[{"role":"user","content":"hi"}]'
    assert people_of(parse_chat_request(f'{{"model":"m",{hi},"user":"a","safety_identifier":"b"}}'.encode())) == ("a", "b")
    messages = parse_messages_request(f'{{"model":"m","max_tokens":9,{hi},"metadata":{{"user_id":"c"}}}}'.encode())
    assert people_of(messages) == ("c",)
    responses = chat_request(parse_responses_request(b'{"model":"m","input":"hi","user":"d","safety_identifier":"e"}'))
    assert people_of(responses) == ("d", "e")
    assert people_of(parse_chat_request(f'{{"model":"m",{hi}}}'.encode())) == ()


async def test_what_is_deleted_of_a_person_is_gone_from_the_files_and_the_books_still_add_up(tmp_path: Path) -> None:
    """Not a word is left in the database or its log of changes; others keep theirs; charges stay; the audit log tells."""
    async with opened(tmp_path) as pf:
        await ask(pf, chat("xylophone", user=f'"{ANN}"'))
        await ask(pf, chat("marimba", user=f'"{BEN}"'))
        (person,) = pf.machine.parts.users((ANN,))
        for name, users in (("resp_1", (person,)), ("resp_2", ())):
            await pf.conversations.put(StoredResponse(id=name, created_s=pf.clock.now(), users=users))
        await pf.ledger.flush()
        before = await pf.money.report(SpendQuery())
        assert on_disk(tmp_path, "xylophone")
        erased = await privacy_of(pf).erase(Whose(user=ANN), "boss")
        assert (erased.records, erased.responses) == (1, 1)
        assert not on_disk(tmp_path, "xylophone")
        assert on_disk(tmp_path, "marimba")
        assert await exported(pf, user=ANN) == []
        assert await pf.conversations.get("resp_2", "") is not None
        assert await pf.money.report(SpendQuery()) == before
        noted = next(entry for entry in await pf.money.vault.audits(10) if entry.action == "erase")
        assert (noted.actor, noted.target, noted.details) == ("boss", person, "1 records, 1 responses, 0 cached answers")


async def test_a_key_and_a_single_request_can_be_deleted_too(tmp_path: Path) -> None:
    """By the key's name or id; one request with the response that was stored of it; a key that is not there is said."""
    async with opened(tmp_path) as pf:
        key = (await pf.money.issue(KeyDraft(name="batch"), "me")).key
        mine = await ask(pf, chat("one"), key_id=key.id, grant=key.grant())
        digits = await ask(pf, chat("two"), key_id="0123456789ab")
        single = await ask(pf, chat("three"))
        await pf.conversations.put(StoredResponse(id="resp_" + single[4:], created_s=pf.clock.now()))
        await pf.conversations.put(StoredResponse(id="resp_k", owner=key.id, created_s=pf.clock.now()))
        assert [line["id"] for line in await exported(pf, key="batch")] == [mine, "resp_k"]
        erased = await privacy_of(pf).erase(Whose(key="batch"), "me")
        assert (erased.records, erased.responses) == (1, 1)
        assert (await privacy_of(pf).erase(Whose(key="0123456789ab"), "me")).records == 1
        erased = await privacy_of(pf).erase(Whose(request=single), "me")
        assert (erased.records, erased.responses) == (1, 1)
        assert await pf.ledger.find(RecordFilter()) == []
        assert digits != single
        with pytest.raises(NotFound):
            await privacy_of(pf).erase(Whose(key="bach"), "me")
        for wrong in (Whose(), Whose(key="a", user="b")):
            with pytest.raises(InvalidRequest, match="exactly one"):
                await privacy_of(pf).erase(wrong, "me")


async def test_cached_answers_of_a_deleted_key_or_person_go_too(tmp_path: Path) -> None:
    """They do not say for whom they were made, so those of the same key go together."""
    async with opened(tmp_path) as pf:
        cleared: list[str] = []

        async def clear(owner: str) -> int:
            cleared.append(owner)
            return 2

        privacy = privacy_of(pf)
        privacy._clear_cache = clear
        await ask(pf, chat("one", user=f'"{ANN}"'), key_id="0123456789ab")
        assert (await privacy.erase(Whose(user=ANN), "me")).cached == 2
        assert cleared == ["0123456789ab"]


async def test_where_records_are_off_nothing_is_kept_and_no_key_is_made(tmp_path: Path) -> None:
    """And asking for it says so with an empty answer."""
    async with opened(tmp_path, records={"enabled": False}) as pf:
        await ask(pf, chat("one", user=f'"{ANN}"'))
        assert await exported(pf, user=ANN) == []


def test_a_pseudonym_needs_the_key(tmp_path: Path) -> None:
    """The same key gives the same one, another key another; the file is its owner's alone; a broken one keeps nobody."""
    file = tmp_path / "home" / "user.key"
    first = Pseudonyms(key=None, file=file)
    assert first.of(ANN) == Pseudonyms(key=None, file=file).of(ANN)
    assert first.of(ANN) != first.of(BEN)
    assert first.of(ANN) != Pseudonyms(key="0" * 64, file=file).of(ANN)
    assert file.stat().st_mode & 0o077 == 0
    file.write_bytes(b"short")
    assert Pseudonyms(key=None, file=file).all_of((ANN,)) == ()


async def test_stored_responses_end_by_age_and_size_as_configured(tmp_path: Path) -> None:
    """The settings reach the store."""
    async with opened(tmp_path, records={"responses_days": 1, "responses_max_bytes": 300}) as pf:
        await pf.conversations.put(StoredResponse(id="resp_old", created_s=pf.clock.now() - 2 * 86_400))
        assert await pf.conversations.get("resp_old", "") is None
