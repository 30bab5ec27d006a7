"""JSON documents as an input format: an array of rows, `{"data": [rows]}`, or objects that span several lines."""

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import orjson
import pyarrow as pa

from pipelines.corpus.formats.base import Division, FirstLook, LookOptions, ReadOptions, Span
from pipelines.corpus.formats.json_marks import Marks
from pipelines.corpus.formats.json_splitter import BrokenDocumentError, cut_rows
from pipelines.corpus.formats.jsonl_stream import LineSample, beginning_of, read_text, rows_or_gap, sample_of
from pipelines.corpus.formats.line_splitter import LINE_SCHEMA, LineBlock
from pipelines.corpus.gaps import Gap
from pipelines.corpus.source_file import SourceFile
from pipelines.errors import DamagedError

LOOK_BYTES = 64 << 10
"""Text at a file's beginning by which documents and JSON Lines are told apart."""

# Where not one row ends within the first look.
_LONGER_LOOK_BYTES = 16 << 20
_BOM = b"\xef\xbb\xbf"
_BLANKS = b" \t\r\n"
_DATA = b'"data"'


class JsonDocumentFormat:
    """JSON documents: rows are cut out of the text as it streams, and read as lines of JSON Lines are."""

    # JSON Lines has these names, and finds out which of both a file is.
    suffixes: tuple[str, ...] = ()
    may_be_compressed: bool = True

    def division(self, file: SourceFile) -> Division:
        """Which brackets a byte lies in is known from the file's beginning alone."""
        return "whole"

    def look(self, file: SourceFile, options: LookOptions) -> FirstLook:
        """Reads the first `head_bytes` of text, or 16 MiB where no row ends there.

        Raises:
            DamagedError: a compressed stream is damaged there; not with `keep_on`.
            StorageError: the file cannot be read.
        """
        head, damaged = beginning_of(file, options.head_bytes, options.storage, options.keep_on)
        return self.look_into(file, options, head, damaged)

    def look_into(self, file: SourceFile, options: LookOptions, head: bytes, damaged: bool) -> FirstLook:
        """As `look`, where the first `head_bytes` are there already; `damaged`: a compressed stream breaks off in them.

        Raises:
            DamagedError, StorageError: as `look`, of what is read beyond them.
        """
        start = find_rows(head[:LOOK_BYTES], options.texts) or 0
        sample = _sample(head, start, damaged)
        if not sample.lines and len(head) >= options.head_bytes:
            head, damaged = beginning_of(file, _LONGER_LOOK_BYTES, options.storage, options.keep_on)
            sample = _sample(head, start, damaged)
        return sample.first_look(file, (Span(start, file.size, 0, None),), sample.row_bytes)

    def read(self, file: SourceFile, span: Span, options: ReadOptions) -> Iterator[LineBlock | Gap]:
        """The rows of the documents, or of the array at `span.start`; what breaks off ends with a gap."""
        return rows_or_gap(_rows(file, span.start, options), options.keep_on)

    def empty(self, needed: Sequence[str]) -> pa.Table:
        """No rows."""
        return LINE_SCHEMA.empty_table()


JSON = JsonDocumentFormat()
"""What `corpus.format: json` stands for."""


def find_rows(head: bytes, texts: Sequence[str]) -> int | None:
    """Where the rows of a document begin, of whose text `head` is the beginning; None where it is JSON Lines.

    0 stands for documents that are arrays of rows, or rows themselves; another place is that of the array under the
    key `data` of an object, which has no field of `texts` beside it: an id, or what is carried, may well be the
    document's own.

    Lines that hold an object each are JSON Lines, whatever the first one looks like.
    """
    text = head.removeprefix(_BOM).lstrip(_BLANKS)
    first, _, rest = text.partition(b"\n")
    if not text.startswith((b"[", b"{")):
        return None
    lines = [line for line in rest.splitlines() if line.strip(_BLANKS)]
    is_one_line, is_json = not lines, _is_json(first)
    inside = text[1:].lstrip(_BLANKS)[:1]
    if (is_json and lines) or 2 * sum(map(_is_object, lines)) > len(lines) > 0:
        return None
    if text.startswith(b"["):
        return 0 if is_json or inside in (b"{", b"]", b"") else None
    place = _find_data(text, texts)
    if place is not None:
        return len(head) - len(text) + place
    # A string ends before its line does, so a line that ends within one is a broken line of JSON Lines.
    return 0 if not is_one_line and inside in (b'"', b"}") and _is_open(first) else None


def _is_json(text: bytes) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _is_object(line: bytes) -> bool:
    return line.lstrip(_BLANKS).startswith(b"{") and _is_json(line)


def _is_open(line: bytes) -> bool:
    marks = Marks()
    marks.take(np.frombuffer(line, np.uint8))
    return marks.depth > 0 and not marks.in_string


def _find_data(text: bytes, columns: Sequence[str]) -> int | None:
    """Place of the array of objects under the key `data`, if the object at the text's beginning has one."""
    found = Marks().take(np.frombuffer(text, np.uint8))
    closed = np.flatnonzero(found.depth <= 0)
    found = found.until(int(closed[0]) if len(closed) else len(found.place))
    # Keys of the object itself stand behind its bracket and behind its commas.
    behind = found.place[(found.depth == 1) & (found.step >= 0)] + 1
    keys = [text[place : place + 200].lstrip(_BLANKS) for place in behind.tolist()]
    if any(key.startswith(orjson.dumps(name)) for key in keys for name in columns):
        return None
    for place, key in zip(behind.tolist(), keys, strict=True):
        value = key.removeprefix(_DATA).lstrip(_BLANKS)
        if key.startswith(_DATA) and value.startswith(b":"):
            bracket = text.find(b"[", place)
            is_array = value[1:].lstrip(_BLANKS).startswith(b"[")
            return bracket if is_array and text[bracket + 1 :].lstrip(_BLANKS)[:1] in (b"{", b"]") else None
    return None


def _sample(head: bytes, start: int, is_damaged: bool = False) -> LineSample:
    try:
        blocks = list(islice(cut_rows(iter([head]), start, len(head)), 1))
    except BrokenDocumentError:
        # The beginning of a document ends within it; reading will tell what is wrong with the whole.
        blocks = []
    return sample_of(blocks, head, is_damaged)


def _rows(file: SourceFile, start: int, options: ReadOptions) -> Iterator[LineBlock]:
    try:
        yield from cut_rows(read_text(file, options.storage, options.keep_on), start, options.max_line_bytes)
    except BrokenDocumentError as error:
        raise DamagedError(
            f"{file.name}: the JSON document is damaged or cut short: {error}. Replace {file.url}, or leave it out of "
            "the input.",
            place=error.place,
        ) from error
