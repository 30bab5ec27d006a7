"""Splits a stream of bytes into lines by arrays of offsets, without a Python object for each line."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.corpus.formats.base import BYTE, LINE

LINE_SCHEMA = pa.schema([(LINE, pa.large_binary()), (BYTE, pa.int64())])
"""A line without BOM, CR and LF, and the place in the (decompressed) stream of its first byte."""

_BOM = b"\xef\xbb\xbf"
_TAB, _LF, _CR, _BLANK = b"\t\n\r "
# A BOM before a line and a CR behind it are no part of it.
_NOT_COUNTED = 4


@dataclass(frozen=True)
class LineBlock:
    """Lines that lie in one buffer: cheap to count and to slice; only `table` copies them out."""

    buffer: bytes
    base: int
    """Place of the buffer in the stream."""

    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    """Of every line, in the buffer."""

    def __len__(self) -> int:
        return len(self.starts)

    def slice(self, offset: int, length: int) -> "LineBlock":
        """Lines [offset, offset + length)."""
        chosen = slice(offset, offset + length)
        return LineBlock(self.buffer, self.base, self.starts[chosen], self.stops[chosen])

    def table(self) -> pa.Table:
        """The lines as a table of LINE_SCHEMA."""
        count = len(self)
        if count == 0:
            return LINE_SCHEMA.empty_table()
        # Lines and the gaps between them alternate as values of one array over the buffer; every other one is taken.
        edges = np.empty(2 * count, dtype=np.int64)
        edges[0::2] = self.starts
        edges[1::2] = self.stops
        buffers = [None, pa.py_buffer(edges), pa.py_buffer(self.buffer)]
        spans = pa.LargeBinaryArray.from_buffers(pa.large_binary(), 2 * count - 1, buffers)
        lines = spans.take(pa.array(np.arange(0, 2 * count, 2)))
        return pa.table([lines, pa.array(self.starts + self.base)], schema=LINE_SCHEMA)


def cut_lines(chunks: Iterator[bytes], start: int, stop: int, max_bytes: int) -> Iterator[LineBlock]:
    """Lines whose first byte lies in [start, stop), blank ones left out; `chunks` begin at max(start - 1, 0).

    A line of more than `max_bytes` may be cut, and is then longer than that all the same. Of `chunks` no more are
    taken than the last line needs. Memory: `max_bytes` and two chunks.
    """
    position = max(start - 1, 0)
    inside_lost_line = start > 0
    pending: list[bytes] = []
    for chunk in chunks:
        if inside_lost_line:
            newline = chunk.find(b"\n")
            inside_lost_line = newline < 0
            position += len(chunk) if newline < 0 else newline + 1
            chunk = b"" if newline < 0 else chunk[newline + 1 :]
            if position >= stop:
                return
        whole = chunk.rfind(b"\n") + 1
        if whole:
            buffer = b"".join((*pending, chunk[:whole]))
            yield _split(buffer, position, stop)
            position += len(buffer)
            pending = []
            if position >= stop:
                return
        if whole < len(chunk):
            pending.append(chunk[whole:])
        if sum(map(len, pending)) > max_bytes + _NOT_COUNTED:
            begun = b"".join(pending)
            yield _one_line(begun[: max_bytes + _NOT_COUNTED + 1], position)
            position += len(begun)
            pending, inside_lost_line = [], True
            if position >= stop:
                return
    if pending:
        yield _split(b"".join(pending), position, stop)


def _one_line(buffer: bytes, base: int) -> LineBlock:
    start = len(_BOM) if base == 0 and buffer.startswith(_BOM) else 0
    return LineBlock(buffer, base, np.array([start], np.int64), np.array([len(buffer)], np.int64))


def _split(buffer: bytes, base: int, stop: int) -> LineBlock:
    """The lines of a buffer that begins with a line and ends with one."""
    data = np.frombuffer(buffer, dtype=np.uint8)
    stops = np.flatnonzero(data == _LF)
    if data[-1] != _LF:
        stops = np.append(stops, len(data))
    starts = np.concatenate(([0], stops[:-1] + 1))
    starts = starts[: np.searchsorted(starts, stop - base)]
    stops = stops[: len(starts)]
    if base == 0 and buffer.startswith(_BOM):
        starts[0] = len(_BOM)
    stops = stops - ((stops > starts) & (data[stops - 1] == _CR))
    kept = stops > starts
    first = data[starts[kept]]
    blank_start = np.flatnonzero(kept)[(first == _BLANK) | (first == _TAB) | (first == _CR)]
    for line in blank_start:
        kept[line] = bool(buffer[starts[line] : stops[line]].strip(b" \t\r"))
    return LineBlock(buffer, base, starts[kept], stops[kept])
