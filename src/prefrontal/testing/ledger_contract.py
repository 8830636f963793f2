"""What every ledger must do, as tests: subclass `LedgerContract`, give it a ledger, and let pytest run it.

    class TestMyLedger(LedgerContract):
        async def make(self) -> Ledger:
            return MyLedger()

Runs under pytest-asyncio's ``auto`` mode; only plain asserts are used.
"""

from __future__ import annotations

from typing import Any

from prefrontal.chat.usage import Usage
from prefrontal.contracts.assessment import Assessment, Needs
from prefrontal.contracts.effort import Effort, Factor
from prefrontal.contracts.plan import Candidate, Plan, Reason
from prefrontal.contracts.record import Attempt, RequestRecord
from prefrontal.contracts.wire import Dropped
from prefrontal.ledger.store import Ledger, RecordFilter, Subject


def make_record(number: int, **fields: Any) -> RequestRecord:
    """Return a record whose id and time rise with `number` (from 0 on)."""
    given: dict[str, Any] = {
        "id": f"req_{number:08d}",
        "started_s": 1_700_000_000.0 + number,
        "route": "/v1/chat/completions",
        "dialect": "openai",
        "requested_model": "auto",
        "status": "ok",
        "answered_by": "model",
        "model": "m",
    }
    return RequestRecord(**{**given, **fields})


def full_record(number: int, **fields: Any) -> RequestRecord:
    """Return a record in which every part says something."""
    given: dict[str, Any] = {
        "usage": Usage(uncached_input_tokens=7, cache_read_tokens=5, output_tokens=3, source="reported"),
        "cost_usd": 0.25,
        "attempts": (Attempt(model="m", outcome="error", error_code="upstream_cut", effort_fields={"a": {"b": 1}}),),
        "assessment": Assessment(task_type="code", complexity=0.5, needs=Needs(custom=("x",)), confidence=0.9),
        "plan": Plan(
            path="model",
            model="m",
            effort=Effort(score=0.5, origin="policy", factors=(Factor(name="complexity", value=0.5, reason="half"),)),
            reasons=(Reason(rule="policy", effect="so"),),
            candidates=(Candidate(model="m", score=1.0, eligible=True, parts={"quality": 0.5}),),
        ),
        "dropped": (Dropped(field="seed", reason="not taken"),),
        "states": ("INIT", "COMPLETED"),
        "metadata": {"who": "ä", "n": [1, 2.5, None]},
        "content": {"messages": [{"role": "user", "text": "grüße 🙂"}]},
    }
    return make_record(number, **{**given, **fields})


class LedgerContract:
    """Subclass and override `make`."""

    async def make(self) -> Ledger:
        """Return an open ledger that is empty, keeps at least 100 records and has room. It is closed by the test."""
        raise LookupError("override LedgerContract.make")

    async def test_what_was_put_comes_back_whole(self) -> None:
        """Every part of a record survives, also its content, before and after it is on disk."""
        ledger = await self.make()
        record = full_record(1)
        ledger.put(record)
        assert await ledger.get(record.id) == record
        await ledger.flush()
        assert await ledger.get(record.id) == record
        await ledger.aclose()

    async def test_an_unknown_id_is_none(self) -> None:
        """Looking for what is not there is no error."""
        ledger = await self.make()
        assert await ledger.get("req_nothing") is None
        assert await ledger.find(RecordFilter()) == []
        await ledger.aclose()

    async def test_records_are_listed_newest_first_without_content(self) -> None:
        """The order is by id, whatever the order of arrival; content stays out of listings."""
        ledger = await self.make()
        for number in (3, 1, 2):
            ledger.put(full_record(number))
        found = await ledger.find(RecordFilter())
        assert [record.id for record in found] == ["req_00000003", "req_00000002", "req_00000001"]
        assert [record.content for record in found] == [None, None, None]
        assert found[0].plan == full_record(3).plan
        await ledger.aclose()

    async def test_a_listing_sees_what_was_put_just_before_and_on_disk(self) -> None:
        """Old and new records come in one list, each once."""
        ledger = await self.make()
        for number in range(4):
            ledger.put(make_record(number))
            if number == 1:
                await ledger.flush()
        assert [record.id[-1] for record in await ledger.find(RecordFilter())] == ["3", "2", "1", "0"]
        await ledger.aclose()

    async def test_each_filter_holds_alone_and_together(self) -> None:
        """Model, status, path, channel and time each leave out the others."""
        ledger = await self.make()
        variants: list[dict[str, Any]] = [
            {},
            {"model": "n"},
            {"status": "error"},
            {"answered_by": "tool"},
            {"channel": "code"},
            {"model": "n", "status": "error"},
        ]
        for number, fields in enumerate(variants):
            ledger.put(make_record(number, **fields))
        for flushed in (False, True):
            if flushed:
                await ledger.flush()
            for wanted, expected in (
                (RecordFilter(model="n"), "51"),
                (RecordFilter(status="error"), "52"),
                (RecordFilter(answered_by="tool"), "3"),
                (RecordFilter(channel="code"), "4"),
                (RecordFilter(model="n", status="error"), "5"),
                (RecordFilter(since_s=1_700_000_003.0), "543"),
                (RecordFilter(model="nobody"), ""),
            ):
                assert "".join(record.id[-1] for record in await ledger.find(wanted)) == expected, wanted
        await ledger.aclose()

    async def test_pages_follow_each_other_without_gap_or_repetition(self) -> None:
        """`before` continues where a page ended; limits outside their range are brought into it."""
        ledger = await self.make()
        for number in range(10):
            ledger.put(make_record(number))
        seen: list[str] = []
        before = None
        while page := await ledger.find(RecordFilter(limit=3, before=before)):
            assert len(page) <= 3
            seen.extend(record.id for record in page)
            before = page[-1].id
        assert seen == [f"req_{number:08d}" for number in reversed(range(10))]
        assert len(await ledger.find(RecordFilter(limit=0))) == 1
        assert len(await ledger.find(RecordFilter(limit=10**9))) == 10
        await ledger.aclose()

    async def test_a_record_put_again_replaces_the_earlier_one(self) -> None:
        """The newest version is the only one, before and after it is on disk, and counts once."""
        ledger = await self.make()
        ledger.put(make_record(1, status="error", cost_usd=1.0))
        ledger.put(make_record(1, cost_usd=2.0))
        await ledger.flush()
        ledger.put(make_record(1, cost_usd=4.0))
        assert [record.cost_usd for record in await ledger.find(RecordFilter())] == [4.0]
        assert await ledger.find(RecordFilter(status="error")) == []
        assert await ledger.spend_usd(0.0, frozenset({"m"})) == 4.0
        await ledger.aclose()

    async def test_spend_is_of_these_models_since_that_moment(self) -> None:
        """Unknown costs count nothing, other models and earlier requests neither."""
        ledger = await self.make()
        given: list[dict[str, Any]] = [
            {"cost_usd": 1.0},
            {"cost_usd": 2.0},
            {"cost_usd": 4.0, "model": "n"},
            {"cost_usd": None},
            {"cost_usd": 8.0},
        ]
        for number, fields in enumerate(given):
            ledger.put(make_record(number, **fields))
        since_s = 1_700_000_001.0
        assert await ledger.spend_usd(since_s, frozenset({"m"})) == 10.0
        assert await ledger.spend_usd(since_s, frozenset({"m", "n"})) == 14.0
        assert await ledger.spend_usd(since_s, frozenset()) == 0.0
        await ledger.aclose()

    async def test_the_status_counts_what_was_written(self) -> None:
        """After a flush nothing is queued."""
        ledger = await self.make()
        ledger.admit()
        for number in range(5):
            ledger.put(make_record(number))
        await ledger.flush()
        status = ledger.status()
        assert (status.writable, status.queued, status.written, status.content_dropped) == (True, 0, 5, 0)
        await ledger.aclose()

    async def test_closing_twice_does_no_harm(self) -> None:
        """A closer that runs again finds nothing to do."""
        ledger = await self.make()
        ledger.put(make_record(1))
        await ledger.aclose()
        await ledger.aclose()

    async def test_what_belongs_to_somebody_is_found_and_deleted(self) -> None:
        """By key, by person and by id; also what waits in memory; and nothing of anybody else."""
        ledger = await self.make()
        for number in range(6):
            person, key = ("user_a", "user_b")[number % 2], ("key_1", "key_2")[number // 3]
            ledger.put(full_record(number, users=(person,), key_id=key))
        of_a = await ledger.ids_of(Subject(user="user_a"))
        assert of_a == ["req_00000004", "req_00000002", "req_00000000"]
        assert await ledger.ids_of(Subject(key_id="key_2")) == ["req_00000005", "req_00000004", "req_00000003"]
        assert await ledger.ids_of(Subject(record_id="req_00000001")) == ["req_00000001"]
        assert await ledger.ids_of(Subject(record_id="req_none")) == await ledger.ids_of(Subject(user="user_c")) == []
        assert await ledger.erase([*of_a, "req_none"]) == 3
        assert await ledger.get(of_a[0]) is None
        assert [record.id for record in await ledger.find(RecordFilter())] == ["req_00000005", "req_00000003", "req_00000001"]
        assert await ledger.erase(of_a) == 0
        await ledger.aclose()
