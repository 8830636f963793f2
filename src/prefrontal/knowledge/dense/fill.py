"""Bringing the vectors of an engram in step with it: what has none is encoded, and what is gone is dropped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from prefrontal.knowledge.dense import ann
from prefrontal.knowledge.dense.blocks import (
    LAYOUT,
    Block,
    Precision,
    State,
    filling,
    folder_of,
    load,
    open_block,
    pack,
    publish,
)
from prefrontal.knowledge.dense.encoder import DIGEST_BYTES, Encoder, checked, passage_text, text_digest
from prefrontal.knowledge.index.index import DEAD_SHARE
from prefrontal.knowledge.store.engram import Engram, reading

STEP = 64
"""Passages encoded at a time: between two of them others get their turn (assumed)."""

BLOCK_ROWS = 2_048
"""Vectors after which what is there is kept: a run that is stopped loses no more (assumed)."""

JOINED_ROWS = 65_536
MOST_BLOCKS = 8
"""Blocks from which they are joined (assumed)."""

LIVING = "SELECT c.id FROM chunk c JOIN file f ON f.id = c.file WHERE f.died IS NULL ORDER BY c.id"


class Filled(msgspec.Struct, frozen=True, kw_only=True):
    """What a run did: passages in all, encoded now, taken over from an equal passage, dropped. `done`: none is left without."""

    passages: int
    encoded: int = 0
    reused: int = 0
    dropped: int = 0
    done: bool = True


Watch = Callable[[int, int], bool]
"""Called with passages done and to do; False stops the run after what is at hand."""


def _on(_done: int, _all: int) -> bool:
    return True


def fill(path: Path, encoder: Encoder, *, precision: Precision = "int8", watch: Watch = _on) -> Filled:
    """Encode what has no vector yet by this encoder; vectors of another revision of it are replaced.

    Each 2,048 vectors are kept as they come, so a run that is stopped goes on where it was. Raises Conflict when another process
    fills the same, StoreError, and what the encoder raises.
    """
    with Engram(path) as engram, filling(folder := folder_of(path, encoder.info.name)):
        state = load(folder, engram.meta.uid, encoder.info)
        if state is None or state.precision != precision:
            state = State(layout=LAYOUT, uid=engram.meta.uid, encoder=encoder.info, precision=precision, next_name=_free(folder))
        with reading(path):
            living = np.array([number for (number,) in engram.connection.execute(LIVING)], np.int64)
        run = _Run(engram, encoder, folder, state, watch)
        missing = np.setdiff1d(living, run.known(), assume_unique=False)
        whole = run.add(missing)
        dropped = run.tidy(living) if whole else 0
        return Filled(passages=living.size, encoded=run.encoded, reused=run.reused, dropped=dropped, done=whole)


class _Run:
    """A run over an engram; `state` is what holds by now."""

    def __init__(self, engram: Engram, encoder: Encoder, folder: Path, state: State, watch: Watch) -> None:
        self.engram, self.encoder, self.folder, self.state, self.watch = engram, encoder, folder, state, watch
        self.blocks = [open_block(folder / name) for name in state.blocks]
        self.encoded = self.reused = 0
        self._twins = {
            bytes(digest): (number, row)
            for number, block in enumerate(self.blocks)
            for row, digest in enumerate(block.digest.tolist())
        }

    def known(self) -> Any:
        """Return the passages that have a vector."""
        return np.unique(np.concatenate([np.zeros(0, np.int64), *(block.chunk for block in self.blocks)]))

    def add(self, missing: Any) -> bool:
        """Give vectors to passages, and tell whether all got one."""
        if not missing.size and not self.state.blocks:
            publish(self.folder, self.state)
        done = 0
        for at in range(0, missing.size, BLOCK_ROWS):
            chunks: list[int] = []
            digests: list[bytes] = []
            rows: list[Any] = []
            more = True
            for start in range(at, min(at + BLOCK_ROWS, missing.size), STEP):
                numbers, marks, vectors = self._some(missing[start : min(start + STEP, at + BLOCK_ROWS)].tolist())
                chunks += numbers
                digests += marks
                rows.append(vectors)
                done += len(numbers)
                if not (more := self.watch(done, int(missing.size))):
                    break
            self._keep(np.array(chunks, np.int64), digests, np.concatenate(rows))
            if not more:
                return bool(done >= missing.size)
        return True

    def tidy(self, living: Any) -> int:
        """Join small blocks and leave out what is gone, where that is worth it; return how many vectors were dropped."""
        total = sum(block.chunk.size for block in self.blocks)
        gone = total - int(np.isin(self.known(), living).sum())
        dropped = 0
        small = len(self.blocks) > max(MOST_BLOCKS, 2 * -(-living.size // JOINED_ROWS))
        if gone > DEAD_SHARE * total or small:
            self._rewrite(living)
            dropped = gone
        count = sum(block.chunk.size for block in self.blocks)
        if count >= ann.FROM and count - self.state.ann > DEAD_SHARE * count:
            covered = ann.build(self.folder, self.state.encoder.dim, _parts(self.blocks))
            self._publish(ann=covered)
        return dropped

    def _some(self, numbers: list[int]) -> tuple[list[int], list[bytes], Any]:
        """Return passages that are still there, with their marks and vectors."""
        engram = self.engram
        chunks = engram.chunks_by_id(numbers)
        files = engram.files_by_id(chunk.file for chunk in chunks.values())
        there = [chunks[n] for n in numbers if n in chunks and chunks[n].file in files]
        texts = [passage_text(files[one.file], one, engram.text(files[one.file], one)) for one in there]
        marks = [text_digest(text) for text in texts]
        rows = np.zeros((len(there), self.state.encoder.dim), np.float32)
        fresh = [n for n, mark in enumerate(marks) if mark not in self._twins]
        for n, mark in enumerate(marks):
            if mark in self._twins:
                number, row = self._twins[mark]
                rows[n] = self.blocks[number].dense([row])[0]
        if fresh:
            rows[fresh] = checked(self.encoder.encode([texts[n] for n in fresh]), len(fresh), self.encoder.info)
        self.encoded += len(fresh)
        self.reused += len(there) - len(fresh)
        return [one.id for one in there], marks, rows

    def _keep(self, chunk: Any, digests: list[bytes], rows: Any) -> None:
        if not chunk.size:
            return
        digest = np.frombuffer(b"".join(digests), f"V{DIGEST_BYTES}")
        block = self._write(pack(chunk, digest, rows, self.state.precision))
        for row, mark in enumerate(digests):
            self._twins.setdefault(mark, (len(self.blocks), row))
        self.blocks.append(block)
        self._publish(blocks=tuple(one.name for one in self.blocks))

    def _rewrite(self, living: Any) -> None:
        """Write all living vectors anew, in order of their passages, the newer of two of a passage."""
        chunk = np.concatenate([block.chunk for block in self.blocks])[::-1]
        where = np.arange(chunk.size)[::-1]
        numbers, at = np.unique(chunk, return_index=True)
        where = where[at][np.isin(numbers, living)]
        first = np.cumsum([0, *(block.chunk.size for block in self.blocks)])
        made = []
        for start in range(0, where.size, JOINED_ROWS):
            some = where[start : start + JOINED_ROWS]
            block = np.searchsorted(first, some, "right") - 1
            rows = np.zeros((some.size, self.state.encoder.dim), np.float32)
            chunks, marks = np.zeros(some.size, np.int64), np.zeros(some.size, f"V{DIGEST_BYTES}")
            for number in np.unique(block).tolist():
                mine = np.flatnonzero(block == number)
                inside = some[mine] - first[number]
                source = self.blocks[number]
                rows[mine], chunks[mine], marks[mine] = source.dense(inside), source.chunk[inside], source.digest[inside]
            made.append(self._write(pack(chunks, marks, rows, self.state.precision)))
        self.blocks = made
        self._publish(blocks=tuple(one.name for one in made), ann=0)

    def _write(self, data: bytes) -> Block:
        path = self.folder / f"{self.state.next_name:08}.vec"
        path.write_bytes(data)
        self.state = msgspec.structs.replace(self.state, next_name=self.state.next_name + 1)
        return open_block(path)

    def _publish(self, **changed: Any) -> None:
        self.state = msgspec.structs.replace(self.state, **changed)
        publish(self.folder, self.state)


def _parts(blocks: list[Block]) -> Iterator[Any]:
    for block in blocks:
        for at in range(0, block.chunk.size, BLOCK_ROWS):
            yield block.dense(slice(at, at + BLOCK_ROWS))


def _free(folder: Path) -> int:
    """Return a number above those of all blocks there, which a reader may still be using."""
    return 1 + max((int(path.stem) for path in folder.glob("*.vec") if path.stem.isdigit()), default=0)
