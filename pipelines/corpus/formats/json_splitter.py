"""Splits a stream of JSON documents into rows by arrays of brackets and quotes, without parsing them.

A document is an array of rows, or one row; several may follow each other. Each row is cut out as its bytes, so what
becomes of it later is the same as for a line of JSON Lines, and one that is broken costs itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from pipelines.corpus.formats.json_marks import COMMA, OBJECT, Marks, Places
from pipelines.corpus.formats.line_splitter import LineBlock

_IS_BLANK = np.zeros(256, np.bool_)
_IS_BLANK[list(b" \t\r\n")] = True
_BOM = b"\xef\xbb\xbf"
# Longer runs of blanks before and behind a row are rare, and are stripped row by row.
_USUAL_BLANKS = 40


class BrokenDocumentError(ValueError):
    """The brackets of a document do not fit; the message says how."""

    def __init__(self, message: str, place: int) -> None:
        super().__init__(message)
        self.place = place
        """Bytes of the text before the damage, or before its end."""


def cut_rows(chunks: Iterator[bytes], start: int, max_bytes: int) -> Iterator[LineBlock]:
    """The rows of the documents in a text, of which `chunks` are the bytes from its first.

    A `start` beyond 0 is the place of an array within an object: its elements are the rows, and what follows it is not
    read. A row of more than `max_bytes` is cut, and is then longer than that all the same. Memory: `max_bytes` and two
    chunks.

    Raises:
        BrokenDocumentError: the text ends before its last bracket or quote is closed, or closes one that is not open.
    """
    splitter = _Splitter(start, max_bytes)
    for chunk in _from(start, chunks):
        yield from splitter.take(chunk)
        if splitter.is_done:
            return
    yield from splitter.end()


def _from(start: int, chunks: Iterator[bytes]) -> Iterator[bytes]:
    left = start
    for number, chunk in enumerate(chunks):
        if not start and not number and chunk.startswith(_BOM):
            # Blanks in its place keep the places of what follows.
            chunk = b"   " + chunk[len(_BOM) :]
        if left < len(chunk):
            yield chunk[left:]
        left = max(left - len(chunk), 0)


@dataclass
class _Splitter:
    start: int
    max_bytes: int
    is_done: bool = False
    _marks: Marks = field(init=False)
    _position: int = field(init=False)
    _pending: list[bytes] = field(default_factory=list)
    _pending_bytes: int = 0
    _is_cut: bool = False
    """The row that is pending is too long, and was given."""
    _broken: BrokenDocumentError | None = None

    def __post_init__(self) -> None:
        self._marks = Marks()
        self._position = self.start

    def take(self, chunk: bytes) -> Iterator[LineBlock]:
        """The rows that end in a chunk."""
        ends, begins = self._edges(chunk)
        if len(ends):
            last = int(begins[-1])
            before = self._pending_bytes
            buffer = b"".join((*self._pending, chunk[:last]))
            starts = np.concatenate(([0], begins[:-1] + before))
            stops = ends + before
            if self._is_cut:
                starts, stops = starts[1:], stops[1:]
            yield _stripped(buffer, self._position, starts, stops)
            self._position += len(buffer)
            self._pending, self._pending_bytes, self._is_cut = [], 0, False
            chunk = chunk[last:]
        if self._broken:
            raise self._broken
        if self._is_cut:
            self._position += len(chunk)
            return
        self._pending.append(chunk)
        self._pending_bytes += len(chunk)
        if self._pending_bytes > self.max_bytes:
            yield from self._cut()

    def _cut(self) -> Iterator[LineBlock]:
        begun = b"".join(self._pending)
        blanks = len(begun) - len(begun.lstrip())
        if len(begun) - blanks > self.max_bytes:
            stop = blanks + self.max_bytes + 1
            yield LineBlock(begun[:stop], self._position, np.array([blanks]), np.array([stop]))
            self._position += len(begun)
            self._pending, self._pending_bytes, self._is_cut = [], 0, True

    def _edges(self, chunk: bytes) -> tuple[Places, Places]:
        """Ends of rows in a chunk, and where the next ones begin."""
        found = self._marks.take(np.frombuffer(chunk, np.uint8))
        if self.start and len(closed := np.flatnonzero((found.depth == 0) & (found.step < 0))):
            self.is_done = True
            found = found.until(int(closed[0]) + 1)
        elif len(found.depth) and found.depth.min() < 0:
            first = int(np.argmax(found.depth < 0))
            place = self._position + self._pending_bytes + int(found.place[first])
            self._broken = BrokenDocumentError(f"the bracket at byte {place} closes none that is open", place)
            found = found.until(first)
        before = found.depth - found.step
        opens_row = (before == 0) & (found.byte == OBJECT)
        closes_row = (found.depth == 0) & ~found.in_array & (found.step < 0)
        parts = (found.depth == 1) & found.in_array & (found.byte == COMMA)
        parts |= (found.depth == 0) & (found.byte == COMMA)
        parts |= found.in_array & (np.minimum(before, found.depth) == 0) & (found.step != 0)
        is_edge = opens_row | closes_row | parts
        place = found.place[is_edge]
        return place + closes_row[is_edge], place + ~opens_row[is_edge]

    def end(self) -> Iterator[LineBlock]:
        """What is left behind the last document: nothing, if all is well."""
        if self._marks.depth or self._marks.in_string:
            what = "quote" if self._marks.in_string else "bracket"
            place = self._position + self._pending_bytes
            raise BrokenDocumentError(f"it ends at byte {place}, where a {what} is open still", place)
        rest = b"".join(self._pending)
        yield _stripped(rest, self._position, np.array([0]), np.array([len(rest)]))


def _stripped(buffer: bytes, base: int, starts: Places, stops: Places) -> LineBlock:
    """Rows without the blanks around them; what is blank is left out."""
    data, starts, stops = np.frombuffer(buffer, np.uint8), starts.copy(), stops.copy()
    left, right = starts < stops, starts < stops
    for _ in range(_USUAL_BLANKS):
        left[left] = _IS_BLANK[data[starts[left]]]
        starts += left
        left &= starts < stops
        right &= starts < stops
        right[right] = _IS_BLANK[data[stops[right] - 1]]
        stops -= right
        right &= starts < stops
        if not left.any() and not right.any():
            break
    for row in np.flatnonzero(left | right):
        piece = buffer[starts[row] : stops[row]]
        starts[row] += len(piece) - len(piece.lstrip(b" \t\r\n"))
        stops[row] = starts[row] + len(piece.strip(b" \t\r\n"))
    kept = starts < stops
    return LineBlock(buffer, base, starts[kept], stops[kept])
