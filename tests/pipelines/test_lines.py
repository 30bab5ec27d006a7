"""Cutting bytes into lines."""

from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.lines import Lines, cut_lines

STREAMS = st.lists(st.sampled_from([b"{}", b"ab\rc", b"", b" ", b"\t", b"\r", b"\n", b"\r\n", b"\xef\xbb\xbf"])).map(
    b"".join
)


def _listed(found: list[Lines]) -> list[tuple[int, bytes]]:
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
    found: list[Lines] = []
    for start in range(0, max(len(data), 1), step):
        first = max(start - 1, 0)
        chunks = (data[place : place + chunk] for place in range(first, len(data), chunk))
        found += cut_lines(chunks, start, start + step)
    assert _listed(found) == _expected(data)


def test_slices_keep_places() -> None:
    (lines,) = cut_lines(iter([b"a\n\nbb\r\n"]), 0, 100)
    assert len(lines) == 2
    assert _listed([lines.slice(1, 5)]) == [(3, b"bb")]
    assert lines.slice(2, 1).table().num_rows == 0


def test_no_more_is_taken_than_the_last_line_needs() -> None:
    chunks = iter([b"aa\nbb\n", b"cc\n", b"dd\n"])
    assert _listed(list(cut_lines(chunks, 0, 6))) == [(0, b"aa"), (3, b"bb")]
    assert next(chunks) == b"cc\n"


def test_a_range_inside_one_long_line_is_left_early() -> None:
    chunks = iter([b"x" * 10, b"x" * 10, b"x" * 10])
    assert list(cut_lines(chunks, 5, 8)) == []
    assert next(chunks) == b"x" * 10
