"""Cutting bytes into lines."""

from collections.abc import Iterator
from itertools import chain

from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.corpus.formats.line_splitter import LineBlock, cut_lines

STREAMS = st.lists(st.sampled_from([b"{}", b"ab\rc", b"", b" ", b"\t", b"\r", b"\n", b"\r\n", b"\xef\xbb\xbf"])).map(
    b"".join
)


def _listed(found: list[LineBlock]) -> list[tuple[int, bytes]]:
    tables = [lines.table() for lines in found]
    return [
        (byte, line)
        for table in tables
        for byte, line in zip(table["_byte"].to_pylist(), table["_line"].to_pylist(), strict=True)
    ]


def _expected(data: bytes) -> list[tuple[int, bytes]]:
    lines, start = [], 0
    for text in data.split(b"\n"):
        bom = 3 if start == 0 and text.startswith(b"\xef\xbb\xbf") else 0
        line = text[bom:].removesuffix(b"\r")
        if line.strip(b" \t\r"):
            lines.append((start + bom, line))
        start += len(text) + 1
    return lines


@settings(deadline=None)
@given(data=STREAMS, chunk=st.integers(1, 9), step=st.integers(1, 12))
def test_ranges_together_hold_every_line_once(data: bytes, chunk: int, step: int) -> None:
    found: list[LineBlock] = []
    for start in range(0, max(len(data), 1), step):
        first = max(start - 1, 0)
        chunks = (data[place : place + chunk] for place in range(first, len(data), chunk))
        found += cut_lines(chunks, start, start + step, 1000)
    assert _listed(found) == _expected(data)


def test_slices_keep_places() -> None:
    (lines,) = cut_lines(iter([b"a\n\nbb\r\n"]), 0, 100, 100)
    assert len(lines) == 2
    assert _listed([lines.slice(1, 5)]) == [(3, b"bb")]
    assert lines.slice(2, 1).table().num_rows == 0


def test_no_more_is_taken_than_the_last_line_needs() -> None:
    chunks = iter([b"aa\nbb\n", b"cc\n", b"dd\n"])
    assert _listed(list(cut_lines(chunks, 0, 6, 100))) == [(0, b"aa"), (3, b"bb")]
    assert next(chunks) == b"cc\n"


def test_a_range_inside_one_long_line_is_left_early() -> None:
    chunks = iter([b"x" * 10, b"x" * 10, b"x" * 10])
    assert list(cut_lines(chunks, 5, 8, 100)) == []
    assert next(chunks) == b"x" * 10


@settings(deadline=None)
@given(
    lines=st.lists(st.tuples(st.integers(1, 40), st.sampled_from([b"\n", b"\r\n", b"\n\n"])), max_size=12),
    bom=st.booleans(),
    chunk=st.integers(1, 50),
    step=st.integers(1, 60),
)
def test_long_lines_may_be_cut_but_stay_long_and_the_others_stay_whole(
    lines: list[tuple[int, bytes]], bom: bool, chunk: int, step: int
) -> None:
    data = b"\xef\xbb\xbf" * bom + b"".join(b"x" * length + end for length, end in lines)
    found: list[LineBlock] = []
    for start in range(0, max(len(data), 1), step):
        first = max(start - 1, 0)
        chunks = (data[place : place + chunk] for place in range(first, len(data), chunk))
        found += cut_lines(chunks, start, start + step, 8)
    expected = _expected(data)
    assert [(byte, line[:9]) for byte, line in _listed(found)] == [(byte, line[:9]) for byte, line in expected]
    assert [line for _, line in _listed(found) if len(line) <= 8] == [line for _, line in expected if len(line) <= 8]


def test_a_stream_without_line_ends_is_not_held_in_memory() -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b"x" * 10

    ((byte, line),) = _listed(list(cut_lines(endless(), 0, 30, 100)))
    assert (byte, line) == (0, b"x" * 105)
    assert taken == 11


def test_what_follows_a_cut_line_is_whole() -> None:
    chunks = (b"x" * 10 for _ in range(1000))
    found = _listed(list(cut_lines(chain(chunks, [b"x\nab\n"]), 0, 100_000, 100)))
    assert found == [(0, b"x" * 105), (10_002, b"ab")]
