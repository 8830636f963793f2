"""Chunks tile a file exactly, and start where a reader would start."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefrontal.knowledge.chunk.cut import MOST_WORDS, Chunk, cut
from prefrontal.knowledge.chunk.languages import file_type
from prefrontal.knowledge.chunk.pieces import LONG_WORDS, RUNS

LINES = st.lists(
    st.sampled_from(
        [
            "# A",
            "## B b",
            "",
            "word " * 30,
            "x = {",
            "}",
            "def f(a):",
            "    return 1",
            "class C:",
            "    def g(self):",
            '"a,b',
            'c",d',
            "```",
            "Title",
            "=====",
        ]
    )
    | st.text(max_size=60),
    max_size=40,
)


def tiles(chunks: list[Chunk], data: bytes) -> None:
    assert b"".join(data[c.byte_start : c.byte_end] for c in chunks) == data
    assert [c.byte_start for c in chunks] == [0, *(c.byte_end for c in chunks[:-1])] if chunks else not data
    for chunk in chunks:
        assert 1 <= chunk.line_start <= chunk.line_end


@given(LINES, st.sampled_from(["\n", "\r\n", "\r"]), st.sampled_from(["a.md", "a.py", "a.js", "a.csv", "a.yaml", "a.jsonl", "a"]))
def test_chunks_tile_any_text(lines: list[str], end: str, name: str) -> None:
    """Put together, the byte ranges give the file again, whatever it holds and however it is cut."""
    text = end.join(lines)
    data = text.encode("utf-8", "surrogatepass")
    if data.decode("utf-8", "replace") != text:
        return
    tiles(cut(text, file_type(name)), data)


@pytest.mark.parametrize("encoding", ["utf-16-le", "latin-1", "utf-8"])
def test_bytes_are_counted_in_the_files_encoding(encoding: str) -> None:
    """Ranges are of the stored bytes, not of characters."""
    text = "\n\n".join(f"Käse {n} " * 80 for n in range(6))
    chunks = cut(text, file_type("a.txt"), encoding)
    tiles(chunks, text.encode(encoding))
    assert len(chunks) > 2


def test_python_is_cut_at_functions_and_methods() -> None:
    """Each function and method is a passage of its own, with decorators and the comment above, under its dotted name."""
    text = Path(__file__).with_name("corpus").joinpath("code/tank.py").read_text()
    chunks = {chunk.symbol: chunk for chunk in cut(text, file_type("tank.py"))}
    assert {"Tank", "Tank.fill", "Tank.level_m", "drain_time_s"} <= set(chunks)
    assert chunks["Tank.level_m"].text.lstrip().startswith("@property")
    assert chunks["drain_time_s"].text.startswith("# Torricelli")
    lines = text.split("\n")
    found = chunks["drain_time_s"]
    assert lines[found.line_start - 1].startswith("# Torricelli")


def test_broken_python_is_cut_by_structure() -> None:
    """A syntax error does not lose the names."""
    text = "def first(:\n    pass\n\n\ndef second():\n    return 1\n"
    assert [c.symbol for c in cut(text, file_type("a.py"))] == ["first", "second"]


def test_prose_is_cut_at_headings_and_knows_its_path() -> None:
    """A section starts a passage; its heading path names the sections around it."""
    text = "# Guide\n\nIntro words here.\n\n## Pumps\n\nAbout pumps.\n\n### Sizes\n\nBig.\n\n## Tanks\n\nAbout tanks.\n"
    assert [(c.heading, c.line_start) for c in cut(text, file_type("a.md"))] == [
        ("Guide", 1),
        ("Guide > Pumps", 5),
        ("Guide > Pumps > Sizes", 9),
        ("Guide > Tanks", 13),
    ]


def test_hashes_inside_a_fence_are_no_headings() -> None:
    """A comment in a code block does not start a section."""
    text = "# Guide\n\n```sh\n# not a heading\nmake\n```\n\nEnd.\n"
    assert [c.heading for c in cut(text, file_type("a.md"))] == ["Guide"]


def test_long_prose_is_cut_into_passages_of_a_usual_length() -> None:
    """Paragraphs come together up to the target, one endless line is divided at sentences."""
    paragraphs = "\n\n".join("one two three four five six seven eight nine ten. " * 5 for _ in range(20))
    sizes = [len(RUNS.findall(c.text)) for c in cut(paragraphs, file_type("a.txt"))]
    assert all(100 <= size <= 200 for size in sizes[:-1])
    endless = "one two three four five six seven eight nine ten. " * 200
    sizes = [len(RUNS.findall(c.text)) for c in cut(endless, file_type("a.txt"))]
    assert len(sizes) > 8
    assert max(sizes) <= 200


def test_a_line_without_any_break_is_still_divided() -> None:
    """Minified code and encoded data do not make passages without end."""
    chunks = cut("x" * 50_000, file_type("a.js"))
    tiles(chunks, b"x" * 50_000)
    assert max(len(c.text) for c in chunks) <= 2_000 * LONG_WORDS
    words = cut("ab " * 20_000, file_type("a.js"))
    assert max(len(RUNS.findall(c.text)) for c in words) <= MOST_WORDS + 2 * LONG_WORDS


def test_tables_are_cut_at_rows_and_know_their_header() -> None:
    """Rows stay whole, also over lines inside quotes, and every passage knows the header."""
    rows = "name,note\n" + "".join(f'item {n},"first line\nsecond {n} words and more words"\n' for n in range(60))
    chunks = cut(rows, file_type("a.csv"))
    assert len(chunks) > 2
    assert all(chunk.text.startswith("item") for chunk in chunks[1:])
    assert {chunk.heading for chunk in chunks[1:]} == {"name,note"}


def test_other_code_is_cut_at_definitions() -> None:
    """Functions of a language with braces start passages, with the comment above them."""
    text = "package a\n\n// Adds.\nfunc Add(a int, b int) int {\n"
    text += "  if a > b {\n    return 1\n  }\n  return a + b\n}\n\ntype Tank struct {\n  level int\n}\n"
    chunks = cut(text, file_type("a.go"))
    assert [c.symbol for c in chunks] == ["", "Add", "Tank"]
    assert chunks[1].text.startswith("// Adds.")


JAVASCRIPT = """export async function loadAll(a) {
  if (a) { return 1 }
}
const add = (a, b) => {
  return a + b
}
class Stack extends Base {
  constructor(n) {
    this.n = n
  }
  push(item) {
    for (const x of item) {
      go(x)
    }
  }
}
"""
TYPESCRIPT = """export interface Shape {
  area(): number
}
export class Circle implements Shape {
  public area(): number {
    return this.r
  }
}
export const handler: Handler = async (event: Event): Promise<void> => {
  await go(event)
}
"""
GO = "type Stack struct {\n\titems []int\n}\n\nfunc (s *Stack) Push(x int) {\n\tgrow(s)\n}\n\nfunc Map[T any](xs []T) []T {\n}\n"
RUST = """pub struct Stack<T> {
    items: Vec<T>,
}
impl<T: Clone> Iterator for Stack<T> {
    pub(crate) fn next(&mut self) -> Option<T> {
        self.items.pop()
    }
}
macro_rules! go { () => {} }
"""
C = """struct node {
    int x;
};
static int add(int a, int b)
{
    if (a) {
        return sum(a);
    }
    return b;
}
#define MAX(a, b) ((a) > (b) ? (a) : (b))
"""
JAVA = """public class Stack<T> implements Iface {
    public Stack(int n) {
        super(n);
    }
    @Override
    public void push(T item) throws IOException {
        if (item != null) {
            items.add(item);
        }
    }
}
"""


@pytest.mark.parametrize(
    ("name", "text", "symbols"),
    [
        ("a.js", JAVASCRIPT, ["loadAll", "add", "Stack", "Stack.constructor", "Stack.push"]),
        ("a.ts", TYPESCRIPT, ["Shape", "Circle", "Circle.area", "handler"]),
        ("a.go", GO, ["Stack", "Stack.Push", "Map"]),
        ("a.rs", RUST, ["Stack", "Stack", "Stack.next", "go"]),
        ("a.c", C, ["node", "add", "MAX"]),
        ("A.java", JAVA, ["Stack", "Stack.Stack", "Stack.push"]),
    ],
)
def test_code_of_many_languages_is_named_by_its_structure(name: str, text: str, symbols: list[str]) -> None:
    """Functions, methods with their class, and macros are passages; what is called or declared in a body is none."""
    assert [chunk.symbol for chunk in cut(text, file_type(name))] == symbols
