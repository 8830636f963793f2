"""What is read from GGUF files, and which files are models."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from prefrontal.errors import ConfigError
from prefrontal.execute.engine.header import part_name, read_header
from prefrontal.execute.engine.spec import EngineSpec, child_arguments, scan_models
from prefrontal.testing.gguf import build_embedding, build_rules


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def gguf(*, tensors: int = 0, keys: int = 1, body: bytes = b"", version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys) + body


ARCHITECTURE = text("general.architecture") + struct.pack("<I", 8) + text("llama")
TENSOR = text("weight") + struct.pack("<IQQIQ", 2, 30, 10, 0, 0)


def test_header_says_what_the_builder_wrote(rules_gguf: Path) -> None:
    """Architecture, name, context, template, weights and size come from the file."""
    header = read_header(rules_gguf)
    assert (header.architecture, header.name, header.context_tokens) == ("llama", "rules", 8192)
    assert header.chat_template is not None
    assert "im_start" in header.chat_template
    assert header.file_bytes == rules_gguf.stat().st_size
    assert header.parameter_count * 4 < header.file_bytes < header.parameter_count * 4 + 30_000
    assert not header.is_embedding


def test_an_embedding_model_is_known_by_its_pooling(tmp_path: Path) -> None:
    """The file's pooling type makes it an embedding model with its own vector length."""
    header = read_header(build_embedding(tmp_path / "e.gguf", dimensions=96))
    assert header.is_embedding
    assert (header.pooling_type, header.embedding_length, header.chat_template) == (1, 96, None)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "ends inside"),
        (b"hello world", "begin with GGUF"),
        (gguf(version=1), "version is 1"),
        (gguf(keys=2**60), "claims 1152921504606846976 keys"),
        (gguf(tensors=2**40, body=ARCHITECTURE), "tensors"),
        (gguf(body=struct.pack("<Q", 2**50)), "damaged"),
        (gguf(body=text("k") + struct.pack("<I", 99)), "unknown type 99"),
        (gguf(body=text("k") + struct.pack("<IIQ", 9, 9, 1)), "array of the type 9"),
        (gguf(body=text("k") + struct.pack("<IIQ", 9, 8, 2**40)), "array elements"),
        (gguf(body=text("general.name") + struct.pack("<I", 8) + text("x")), "no architecture"),
        (gguf(tensors=1, body=ARCHITECTURE + text("w") + struct.pack("<I", 1000)), "1000 dimensions"),
    ],
)
def test_a_damaged_file_is_a_clear_error(tmp_path: Path, content: bytes, reason: str) -> None:
    """Whatever is wrong with the bytes, the error names the file and the reason."""
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=reason) as problem:
        read_header(path)
    assert problem.value.file == str(path)


def test_every_cut_of_a_good_header_is_a_clear_error(tmp_path: Path, rules_gguf: Path) -> None:
    """A download that stopped anywhere inside the header never crashes the reader."""
    whole = rules_gguf.read_bytes()
    path = tmp_path / "cut.gguf"
    for size in range(0, 4000, 37):
        path.write_bytes(whole[:size])
        with pytest.raises(ConfigError, match=r"ends inside its header|damaged"):
            read_header(path)


def test_a_missing_file_is_a_clear_error(tmp_path: Path) -> None:
    """The operating system's reason is passed on."""
    with pytest.raises(ConfigError, match="No such file"):
        read_header(tmp_path / "none.gguf")


def test_parts_are_one_model(tmp_path: Path) -> None:
    """Weights and bytes of all parts are added; the model's name has no part number."""
    for part in (1, 2):
        (tmp_path / f"big-0000{part}-of-00002.gguf").write_bytes(gguf(tensors=1, body=ARCHITECTURE + TENSOR))
    header = read_header(tmp_path / "big-00001-of-00002.gguf")
    assert header.parameter_count == 600
    assert [spec.model_id for spec in scan_models(tmp_path)] == ["big"]
    assert part_name(Path("big-00002-of-00003.gguf")).part == 2


def test_scan_finds_models_and_reports_the_rest(tmp_path: Path, rules_gguf: Path) -> None:
    """Models are listed by name; projectors are left out; a missing part and a damaged file are reported."""
    (tmp_path / "zeta.gguf").write_bytes(rules_gguf.read_bytes())
    build_rules(tmp_path / "alpha.gguf", {"a": "b"}, context_length=512)
    build_embedding(tmp_path / "vectors.gguf")
    (tmp_path / "mmproj-zeta.gguf").write_bytes(rules_gguf.read_bytes())
    (tmp_path / "vision.gguf").write_bytes(
        gguf(body=ARCHITECTURE.replace(b"llama", b"clip ").replace(text("clip "), text("clip")))
    )
    (tmp_path / "bad.gguf").write_bytes(b"nothing")
    (tmp_path / "half-00001-of-00002.gguf").write_bytes(gguf(body=ARCHITECTURE))
    (tmp_path / "notes.txt").write_text("no model")
    problems: dict[str, ConfigError] = {}
    specs = scan_models(tmp_path, lambda path, problem: problems.update({path.name: problem}))
    assert [(spec.model_id, spec.context_tokens, spec.embedding) for spec in specs] == [
        ("alpha", 512, False),
        ("vectors", 2048, True),
        ("zeta", 8192, False),
    ]
    assert sorted(problems) == ["bad.gguf", "half-00001-of-00002.gguf"]
    assert scan_models(tmp_path / "nowhere") == []


def test_flags_leave_a_core_to_the_gateway() -> None:
    """Threads default to all cores but one, and at least one; what is given is given."""
    spec = EngineSpec(model_id="m", path="m.gguf", extra_args=("--no-jinja",))
    assert "--threads=7" in child_arguments(spec, cores=8)
    assert "--threads=1" in child_arguments(spec, cores=1)
    assert child_arguments(spec, cores=1)[-1] == "--no-jinja"
    given = child_arguments(EngineSpec(model_id="m", path="m.gguf", threads=3, gpu_layers=0, embedding=True), cores=8)
    assert {"--threads=3", "--gpu-layers=0", "--embedding"} <= set(given)


@pytest.mark.parametrize("wrong", [{"slots": 0}, {"context_tokens": 0}, {"http_threads": 0}, {"idle_s": 0.0}])
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    """The error names the setting."""
    with pytest.raises(ConfigError) as problem:
        EngineSpec(model_id="m", path="m.gguf", **wrong)  # type: ignore[arg-type]  # the point of the test
    assert problem.value.path == f"models.m.{next(iter(wrong))}"
