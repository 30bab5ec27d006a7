"""JSON Lines on a store: every line once, whatever the ending, compression, unit and shard."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.config.job import CorpusParameters
from pipelines.corpus.formats import jsonl_stream
from pipelines.corpus.formats.jsonl_stream import LineSample, read_lines, read_sample
from pipelines.corpus.listing import list_files
from pipelines.corpus.source_file import SourceFile
from pipelines.errors import CorpusError
from pipelines.rows.shard_reader import RawShard
from tests.pipelines.helpers import SUFFIXES, compressed, jsonl, plan_of, qa_rows, read_all

LONGEST = 1 << 20
LINES = st.lists(st.sampled_from([b'{"a": 1}', "é€😀".encode(), b"x" * 40, b"", b"  ", b"\t"]), max_size=30)


def _listed(shards: list[RawShard]) -> list[tuple[int, bytes]]:
    pairs = [zip(raw.table["_byte"].to_pylist(), raw.table["_line"].to_pylist(), strict=True) for raw in shards]
    return [pair for shard in pairs for pair in shard]


def _stream(lines: list[bytes], end: bytes, bom: bool, final_end: bool) -> tuple[bytes, list[tuple[int, bytes]]]:
    """The bytes of a file, and the lines with their places that must come out."""
    data, expected = b"\xef\xbb\xbf" if bom else b"", []
    for line in lines:
        if line.strip():
            expected.append((len(data), line))
        data += line + end
    return (data if final_end or not lines else data[: -len(end)]), expected


@settings(deadline=None, max_examples=150)
@given(
    lines=LINES,
    end=st.sampled_from([b"\n", b"\r\n"]),
    bom=st.booleans(),
    final_end=st.booleans(),
    compression=st.sampled_from([None, "gzip", "zstd"]),
    unit_bytes=st.integers(1, 300),
    shard_rows=st.integers(1, 12),
    read_bytes=st.sampled_from([1, 5, 64, 16 << 20]),
    skip=st.frozensets(st.integers(0, 6)),
)
def test_every_line_once(
    lines: list[bytes],
    end: bytes,
    bom: bool,
    final_end: bool,
    compression: str | None,
    unit_bytes: int,
    shard_rows: int,
    read_bytes: int,
    skip: frozenset[int],
) -> None:
    data, expected = _stream(lines, end, bom, final_end)
    with tempfile.TemporaryDirectory() as folder, patch.object(jsonl_stream, "READ_BYTES", read_bytes):
        path = Path(folder) / f"a.jsonl{SUFFIXES[compression]}"
        path.write_bytes(compressed(data, compression))
        plan = plan_of_any(path, unit_bytes, shard_rows)
        shards = read_all(plan)
        assert _listed(shards) == expected
        for unit in plan.units:
            own = [raw for raw in shards if raw.unit == unit.index]
            assert [raw.number for raw in own] == list(range(len(own)))
            assert [raw.last for raw in own] == [False] * (len(own) - 1) + [True]
            assert all(len(raw.table) == shard_rows for raw in own[:-1])
        rest = read_all(plan, committed=skip)
        assert [(raw.unit, raw.number, raw.last, raw.table) for raw in rest] == [
            (raw.unit, raw.number, raw.last, raw.table) for raw in shards if raw.number not in skip
        ]


def plan_of_any(path: Path, unit_bytes: int, shard_rows: int) -> Any:
    """A plan for lines that need not be objects with our fields."""
    with (
        patch("pipelines.corpus.column_survey.check_names"),
        patch("pipelines.corpus.formats.jsonl_stream._TELLING_ROWS", 1000),
    ):
        return plan_of(path, unit_bytes=unit_bytes, shard_rows=shard_rows)


def _file(path: Path) -> SourceFile:
    return list_files([str(path)], CorpusParameters())[0]


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_stream_cut_short_names_file_and_place(tmp_path: Path, compression: str) -> None:
    path = tmp_path / f"a.jsonl{SUFFIXES[compression]}"
    path.write_bytes(compressed(jsonl(qa_rows(500)), compression)[:-9])
    with pytest.raises(CorpusError, match=rf"{path.name}: the {compression} stream .* after byte \d+ .* Replace"):
        list(read_lines(_file(path), 0, 1, {}, LONGEST))


def test_a_stream_that_is_not_compressed(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(jsonl(qa_rows(5)))
    with pytest.raises(CorpusError, match=r"a\.jsonl\.gz"):
        list(read_lines(_file(path), 0, 1, {}, LONGEST))


@pytest.mark.parametrize("compression", [None, "gzip", "zstd"])
def test_a_sample(tmp_path: Path, compression: str | None) -> None:
    path = tmp_path / f"a.jsonl{SUFFIXES[compression]}"
    data = b"\n" + jsonl([b"oops", [1], *qa_rows(3)])
    path.write_bytes(compressed(data, compression))
    assert read_sample(_file(path), 1000, {}) == LineSample(tuple(qa_rows(3)), 5, len(data) / 5)
    first = len(jsonl([b"oops", [1], *qa_rows(1)]))
    assert read_sample(_file(path), first + 20, {}) == LineSample((qa_rows(1)[0],), 3, (first + 1) / 3)
    path.write_bytes(compressed(b"\n\n", compression))
    assert read_sample(_file(path), 1000, {}) == LineSample((), 0, 0.0)


def test_a_sample_holds_one_line_however_long(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    row = {"id": "long", "question": "q", "context": "x" * 100_000}
    path.write_bytes(jsonl([row])[:-1])
    assert read_sample(_file(path), 1000, {}) == LineSample((row,), 1, path.stat().st_size)
    with patch.object(jsonl_stream, "READ_BYTES", 50_000):
        assert read_sample(_file(path), 1000, {}) == LineSample((), 1, 50_000)


def test_plain_ranges_read_little_beyond_their_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(jsonl(qa_rows(1000)))
    asked: list[tuple[int, int]] = []

    def spy(fs: Any, where: str, start: int, stop: int) -> bytes:
        asked.append((start, stop))
        return path.read_bytes()[start:stop]

    monkeypatch.setattr(jsonl_stream, "read_range", spy)
    monkeypatch.setattr(jsonl_stream, "_TAIL_BYTES", 100)
    list(read_lines(_file(path), 1000, 2000, {}, LONGEST))
    assert asked == [(999, 2000), (2000, 2100)]


def test_a_file_that_is_longer_than_listed_is_read_as_listed(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"{}\n{}\n")
    file = replace(_file(path), size=3)
    assert [len(lines) for lines in read_lines(file, 0, 3, {}, LONGEST)] == [1]


def test_a_sample_has_the_last_line_of_a_small_file_that_does_not_end_it(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(jsonl(qa_rows(3))[:-1])
    assert read_sample(_file(path), 1000, {}) == LineSample(tuple(qa_rows(3)), 3, path.stat().st_size / 3)
    assert len(read_sample(_file(path), path.stat().st_size, {}).rows) == 2
