"""JSON Lines as an input format: one JSON object a line, plain or compressed as a whole."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pyarrow as pa

from pipelines.corpus.formats.base import Division, FirstLook, LookOptions, ReadOptions, Span
from pipelines.corpus.formats.json_document import JSON, LOOK_BYTES, find_rows
from pipelines.corpus.formats.jsonl_stream import LineSample, read_lines, read_sample, rows_or_gap
from pipelines.corpus.formats.line_splitter import LINE_SCHEMA, LineBlock
from pipelines.corpus.gaps import Gap
from pipelines.corpus.source_file import SourceFile

_GUESSED_ROW_BYTES = 1024.0


class JsonlFormat:
    """JSONL files: values bring their own types, plain files are cut at any byte, and rows are counted by reading."""

    suffixes: tuple[str, ...] = (".jsonl", ".ndjson", ".json")
    may_be_compressed: bool = True

    def division(self, file: SourceFile) -> Division:
        """A plain file is read from any byte, a compressed one from its beginning."""
        return "whole" if file.compression else "bytes"

    def look(self, file: SourceFile, options: LookOptions) -> FirstLook:
        """Reads the first `head_bytes` of text. A file that turns out to be a JSON document is looked at as one.

        Raises:
            DamagedError: a compressed stream is damaged there; not with `keep_on`.
            StorageError: the file cannot be read.
        """
        beginning = read_sample(file, options.head_bytes, options.storage, options.keep_on)
        if find_rows(beginning.head[:LOOK_BYTES], options.texts) is not None:
            found = JSON.look_into(file, options, beginning.head[: options.head_bytes], beginning.damaged)
            return replace(found, format="json")
        row_bytes = beginning.row_bytes or _GUESSED_ROW_BYTES
        return beginning.first_look(file, tuple(_cut(file, options.unit_bytes)), row_bytes, _misfit(file, beginning))

    def read(self, file: SourceFile, span: Span, options: ReadOptions) -> Iterator[LineBlock | Gap]:
        """The lines whose first byte lies in the span; a compressed stream that breaks off ends with a gap."""
        lines = read_lines(file, span.start, span.stop, options.storage, options.max_line_bytes, options.keep_on)
        return rows_or_gap(lines, options.keep_on)

    def empty(self, needed: Sequence[str]) -> pa.Table:
        """No lines."""
        return LINE_SCHEMA.empty_table()


JSONL = JsonlFormat()
"""What `corpus.format: jsonl` stands for."""


def _misfit(file: SourceFile, beginning: LineSample) -> str:
    # The last line of a JSON array may look like one of ours.
    if not beginning.is_telling or len(beginning.rows) * 10 >= beginning.lines:
        return ""
    return (
        f"{file.name}: of its first {beginning.lines} lines only {len(beginning.rows)} hold a JSON object, so this is "
        f"not JSON Lines. Convert {file.url} to one object a line, or leave it out of the input."
    )


def _cut(file: SourceFile, unit_bytes: int) -> Iterator[Span]:
    step = file.size if file.compression else unit_bytes
    for start in range(0, max(file.size, 1), max(step, 1)):
        yield Span(start, min(start + step, file.size), 0, None)
