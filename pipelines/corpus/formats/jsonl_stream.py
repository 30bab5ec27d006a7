"""JSON Lines on a store, plain or compressed: a range of a file as lines, and a sample of its rows."""

import io
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pyarrow as pa

from pipelines.corpus.formats.base import FirstLook, Span
from pipelines.corpus.formats.gzip_stream import CUT_SHORT, GzipStream
from pipelines.corpus.formats.json_numbers import without_non_numbers
from pipelines.corpus.formats.line_splitter import LineBlock, cut_lines
from pipelines.corpus.gaps import Gap
from pipelines.corpus.source_file import SourceFile
from pipelines.errors import DamagedError
from pipelines.storage.filesystem import resolve
from pipelines.storage.range_reader import RangeFile, read_range

READ_BYTES = 16 << 20
"""Bytes that are fetched and cut at a time."""

# Past the end of a unit only the rest of its last line is wanted.
_TAIL_BYTES = 1 << 20

# What may be an integer beyond 64 bits.
_LONG_NUMBER = re.compile(rb"\d{19}")

_SALVAGE_BYTES = 256

# Fewer rows may all be bad ones, which costs these rows and not the job.
_TELLING_ROWS = 10
# Text under gzip or zstd; only estimates hang on it.
_COMPRESSION_RATIO = 4


def read_lines(
    file: SourceFile, start: int, stop: int, storage: Mapping[str, object], max_bytes: int, keep_on: bool = False
) -> Iterator[LineBlock]:
    """Lines whose first byte lies in [start, stop) of the stream, blank ones left out.

    A compressed file has one range, [0, stop), whatever its stop. A line of more than `max_bytes` may be cut, and is
    then longer than that all the same. Memory: `max_bytes` and twice READ_BYTES. With `keep_on`, every whole line of a
    stream that is cut short comes before the error, else those of whole reads.

    Raises:
        DamagedError: a compressed stream is damaged or cut short.
        StorageError: the file cannot be read.
    """
    if file.compression is not None:
        return cut_lines(_decompressed(file, storage, READ_BYTES, keep_on), 0, sys.maxsize, max_bytes)
    return cut_lines(_plain(file, start, stop, storage, READ_BYTES), start, stop, max_bytes)


@dataclass(frozen=True)
class LineSample:
    """The beginning of a file."""

    rows: tuple[dict[str, Any], ...]
    """Lines that hold a JSON object, parsed."""

    lines: int
    """Lines that were looked at."""

    row_bytes: float
    """Mean length of a line, its end included, blank ones shared out; 0 when there is no line."""

    damaged: bool = False
    """The compressed stream breaks off within it."""

    head: bytes = field(default=b"", repr=False, compare=False)
    """The text that was looked at."""

    @property
    def is_telling(self) -> bool:
        """Whether it is enough to judge the file by."""
        return self.lines >= _TELLING_ROWS

    def first_look(self, file: SourceFile, spans: Sequence[Span], row_bytes: float, misfit: str = "") -> FirstLook:
        """What it says of its file, where a row takes so many bytes of text; 0 for a file without rows."""
        text_bytes = file.size * (_COMPRESSION_RATIO if file.compression else 1)
        return FirstLook(
            names=tuple(dict.fromkeys(name for row in self.rows for name in row)),
            schema=None,
            spans=tuple(spans),
            rows=round(text_bytes / row_bytes) if row_bytes else 0,
            text_bytes=text_bytes,
            is_telling=self.is_telling,
            misfit=misfit,
            is_lost=self.damaged and not self.rows,
            sample=self.rows,
        )


def rows_or_gap(rows: Iterator[LineBlock], keep_on: bool) -> Iterator[LineBlock | Gap]:
    """The rows; with `keep_on`, what breaks off ends with a gap. Raises DamagedError without it."""
    try:
        yield from rows
    except DamagedError as error:
        if not keep_on:
            raise
        yield Gap(error.place, 0, str(error))


def read_sample(file: SourceFile, read_bytes: int, storage: Mapping[str, object], keep_on: bool = False) -> LineSample:
    """The lines of the first `read_bytes` bytes of text; where not one of them ends there, the first line.

    A line of more than READ_BYTES is cut, so it holds no object. With `keep_on`, a compressed stream that breaks off
    gives what comes before.

    Raises:
        DamagedError: a compressed stream is damaged or cut short.
        StorageError: the file cannot be read.
    """
    for size in (read_bytes, READ_BYTES):
        beginning, damaged = beginning_of(file, size, storage, keep_on)
        if b"\n" in beginning or len(beginning) < size:
            break
    blocks = list(cut_lines(iter([beginning]), 0, sys.maxsize, size))
    # What follows the whole lines is a part of one, unless the beginning is all there is.
    return sample_of(blocks if len(beginning) < size and not damaged else blocks[:1], beginning, damaged)


def sample_of(found: Sequence[LineBlock], head: bytes, damaged: bool) -> LineSample:
    """The sample that consists of the rows that were found in the head of a file."""
    lines = sum(map(len, found))
    if not lines:
        return LineSample((), 0, 0.0, damaged, head)
    rows = tuple(row for block in found for row in _objects(block))
    return LineSample(rows, lines, sum(len(block.buffer) for block in found) / lines, damaged, head)


def beginning_of(
    file: SourceFile, size: int, storage: Mapping[str, object], keep_on: bool = False
) -> tuple[bytes, bool]:
    """The first `size` bytes of a file's text or a little more, and whether a compressed stream breaks off in them.

    Raises:
        DamagedError: it does; not with `keep_on`.
        StorageError: the file cannot be read.
    """
    beginning, damage = _beginning(file, size, storage, keep_on)
    if damage is not None and not keep_on:
        raise damage
    return beginning, damage is not None


def read_text(file: SourceFile, storage: Mapping[str, object], keep_on: bool = False) -> Iterator[bytes]:
    """A file's text from its beginning, READ_BYTES at a time; `keep_on` and errors as in `read_lines`."""
    if file.compression is not None:
        return _decompressed(file, storage, READ_BYTES, keep_on)
    return _plain(file, 0, file.size, storage, READ_BYTES)


def _objects(lines: LineBlock) -> Iterator[dict[str, Any]]:
    for start, stop in zip(lines.starts.tolist(), lines.stops.tolist(), strict=True):
        line = lines.buffer[start:stop]
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            value = _mended(line)
        if isinstance(value, dict):
            yield exact_object(line, value) if _LONG_NUMBER.search(line) else value


def exact_object(line: bytes, value: dict[str, Any]) -> dict[str, Any]:
    """A parsed line with its integers beyond 64 bits as they are; `value` is the line as orjson, which makes doubles of
    them, parsed it.
    """
    try:
        exact: dict[str, Any] = json.loads(line, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return value
    return exact


def _mended(line: bytes) -> dict[str, Any] | None:
    try:
        mended = without_non_numbers(line.decode())
    except ValueError:
        return None
    return mended[0] if mended else None


def _beginning(
    file: SourceFile, size: int, storage: Mapping[str, object], keep_on: bool
) -> tuple[bytes, DamagedError | None]:
    if file.compression is None:
        return next(_plain(file, 0, min(size, file.size), storage, size), b""), None
    beginning, chunks = b"", _decompressed(file, storage, size, keep_on)
    try:
        while len(beginning) < size:
            beginning += next(chunks)
    except StopIteration:
        return beginning, None
    except DamagedError as error:
        return beginning, error
    return beginning, None


def _plain(file: SourceFile, start: int, stop: int, storage: Mapping[str, object], read_bytes: int) -> Iterator[bytes]:
    store = resolve(file.url, storage)
    # From one byte early: a newline there says that a line begins at `start`.
    position = max(start - 1, 0)
    while position < file.size:
        end = min(position + read_bytes, stop) if position < stop else position + _TAIL_BYTES
        end = min(end, file.size)
        yield read_range(store.fs, store.root, position, end)
        position = end


def _decompressed(file: SourceFile, storage: Mapping[str, object], read_bytes: int, keep_on: bool) -> Iterator[bytes]:
    stream, position = _stream(file, storage, read_bytes), 0
    try:
        while chunk := stream.read(read_bytes):
            if len(chunk) < read_bytes:
                # It ends the text, or stands before a place where the stream breaks off: another read tells.
                chunk += stream.read(1)
            yield chunk
            position += len(chunk)
    except OSError as error:
        # Of a stream that is cut short all bytes are good; where others are damaged, those before may be wrong too.
        if keep_on and CUT_SHORT in str(error):
            rest = _salvaged(_stream(file, storage, read_bytes), position, read_bytes)
            yield rest
            position += len(rest)
        raise DamagedError(
            f"{file.name}: the {file.compression} stream is damaged or cut short after byte {position} of its text "
            f"({error}). Replace {file.url}, or leave it out of the input.",
            place=position,
        ) from error


def _stream(file: SourceFile, storage: Mapping[str, object], read_bytes: int) -> GzipStream | pa.CompressedInputStream:
    store = resolve(file.url, storage)
    # The streams ask for 64 KiB at a time, too little for one request to an object store.
    source = io.BufferedReader(RangeFile(store.fs, store.root, file.size), read_bytes)
    if file.compression == "gzip":
        return GzipStream(source)
    return pa.CompressedInputStream(pa.PythonFile(source, mode="r"), file.compression)


def _salvaged(stream: GzipStream | pa.CompressedInputStream, position: int, read_bytes: int) -> bytes:
    """What lies between a place and a damage: a read that fails gives nothing of it, so short ones lead up to it."""
    pieces: list[bytes] = []
    try:
        while position and (skipped := stream.read(min(position, read_bytes))):
            position -= len(skipped)
        while piece := stream.read(_SALVAGE_BYTES):
            pieces.append(piece)
    except OSError:
        pass
    return b"".join(pieces)
