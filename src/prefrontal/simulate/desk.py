"""Where decisions are made: what the simulation asks of whoever makes them, what it gets, and how that is written down."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Literal, Protocol
from zlib import crc32

import msgspec

from prefrontal.errors import InvalidRequest, NotFound
from prefrontal.simulate.schema import Scenario
from prefrontal.simulate.situations import Situation

FORMAT = 1
"""The version of recordings."""

END = b"\n"
"""The line that ends a tick: one without it was cut short."""

Engine = Literal["live", "recorded", "profile", "scripted"]


class Row(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One decision as it is written down. at: minutes; agent: its number; state: a checksum of what it knew. tier 0: a rule."""

    at: int
    agent: int
    type: str
    state: int
    answer: str | bool
    confidence: float
    source: str
    tier: int
    model: str | None
    cached: bool
    cost_usd: float
    latency_ms: float
    attempts: int
    fallback: str | None
    tier_reason: str | None
    degraded_by: str | None
    similar: bool = False
    finding: str | None = None


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of a recording.

    scenario: all of it, so that a recording needs nothing else. fingerprint: of its world. virtual: latencies are of virtual
    time.
    """

    format: int = FORMAT
    name: str
    fingerprint: str
    seed: int
    policy: str | None
    engine: Engine
    virtual: bool
    scenario: Scenario


class Desk(Protocol):
    """Makes decisions."""

    async def decide(self, minute: int, situations: Sequence[Situation]) -> Sequence[Row]:
        """Return one row a situation, in order. All are of the same moment."""
        ...


def checksum(state: object) -> int:
    """Return a number that names a state."""
    return crc32(msgspec.json.encode(state))


class Journal:
    """Writes a recording as it comes about: one line a decision, a whole tick at a time, so that a killed run can go on."""

    def __init__(self, path: Path, head: Head, *, keep_bytes: int = 0) -> None:
        """Begin a file, or go on after its first `keep_bytes`."""
        self._encoder = msgspec.json.Encoder()
        self._file: BinaryIO
        if keep_bytes:
            self._file = path.open("r+b", buffering=0)
            self._file.truncate(keep_bytes)
            self._file.seek(keep_bytes)
        else:
            self._file = path.open("wb", buffering=0)
            self._file.write(self._encoder.encode(head) + b"\n")

    def write(self, rows: Sequence[Row]) -> None:
        """Write the decisions of one tick in one write."""
        self._file.write(self._encoder.encode_lines(rows) + END)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Recording:
    """A recording that is read: its head, and the decisions tick by tick. A tick that was cut short is left out.

    Raises:
        NotFound: there is no file. InvalidRequest: it is no recording.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                line = file.readline()
        except OSError as error:
            raise NotFound(f"There is no recording {path.name}: {error.strerror}.") from error
        try:
            self.head = msgspec.json.decode(line, type=Head)
        except msgspec.MsgspecError as error:
            raise InvalidRequest(f"{path.name} is no recording of a simulation: {error}.") from error
        if self.head.format != FORMAT:
            raise InvalidRequest(f"{path.name} is a recording of format {self.head.format}; this program reads {FORMAT}.")
        self.whole_bytes = len(line)

    def ticks(self) -> Iterator[tuple[Row, ...]]:
        """Yield the decisions of one tick after another; `whole_bytes` then counts what has been yielded."""
        decoder = msgspec.json.Decoder(Row)
        tick: list[Row] = []
        size = 0
        with self.path.open("rb") as file:
            file.readline()
            for line in file:
                if line == END:
                    self.whole_bytes += size + 1
                    yield tuple(tick)
                    tick, size = [], 0
                    continue
                try:
                    tick.append(decoder.decode(line))
                except msgspec.MsgspecError:
                    return  # cut short by whatever ended the run
                size += len(line)


class ResumedDesk:
    """Goes on with a run that was cut short: what its journal holds was decided already.

    again: the inner desk decides it once more, because in virtual time that is how its cache, budget and allowances come back;
    it must then decide the same. Otherwise `inner` is told of it by `restore`.
    """

    def __init__(self, recording: Recording, inner: Desk, *, again: bool, restore: Callable[[Sequence[Row]], None] | None = None):
        self._recorded: RecordedDesk | None = RecordedDesk(recording)
        self._inner = inner
        self._again = again
        self._restore = restore
        self.resumed = 0
        """Decisions that the journal held."""
        self.fresh = False
        """Whether the last tick was decided now."""

    async def decide(self, minute: int, situations: Sequence[Situation]) -> Sequence[Row]:
        """Return what the journal says, and behind its end what is decided now. Raises InvalidRequest: they differ."""
        known = None if self._recorded is None else self._recorded.next(minute, situations)
        if known is None:
            self._recorded, self.fresh = None, True
            return await self._inner.decide(minute, situations)
        self.resumed += len(known)
        if self._again:
            rows = await self._inner.decide(minute, situations)
            if list(rows) != list(known):
                raise InvalidRequest(f"The journal differs from what is decided now, at minute {minute}.", hint="Start anew.")
        elif self._restore is not None:
            self._restore(known)
        return known


class RecordedDesk:
    """Makes the decisions that a recording holds, as long as the situations are those of the recording."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self._ticks = recording.ticks()

    async def decide(self, minute: int, situations: Sequence[Situation]) -> Sequence[Row]:
        """Return what was decided then. Raises InvalidRequest when the recording ends, or is of something else."""
        rows = self.next(minute, situations)
        if rows is None:
            raise InvalidRequest(f"{self.recording.path.name} ends before the simulation does.", hint="Resume the run first.")
        return rows

    def next(self, minute: int, situations: Sequence[Situation]) -> Sequence[Row] | None:
        """Return the decisions of the next tick; None: the recording ends here. Raises InvalidRequest."""
        rows = next(self._ticks, None)
        if rows is None:
            return None
        if len(rows) == len(situations):
            for row, one in zip(rows, situations, strict=True):
                if row.at != minute or row.agent != one.agent.index or row.type != one.type or row.state != checksum(one.state):
                    break
            else:
                return rows
        raise InvalidRequest(
            f"{self.recording.path.name} was recorded of another scenario or seed: it differs at minute {minute}.",
            param="recording",
        )
