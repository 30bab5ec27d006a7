"""The first lines of every JSONL file: do they hold what the job needs, how long is a row, what is carried?"""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from pipelines.config.job import CorpusParameters
from pipelines.corpus.columns import carried_from_jsonl, check_jsonl
from pipelines.corpus.formats.jsonl import read_sample
from pipelines.corpus.listing import SourceFile
from pipelines.corpus.parallel import for_every_file
from pipelines.errors import CorpusError
from pipelines.schemas import JobKind

_HEAD_BYTES = 64 << 10
# The types of carried columns hang on it.
_CARRY_BYTES = 1 << 20
# Fewer lines may all be bad ones, which costs these rows and not the job.
_TELLING_LINES = 10


@dataclass(frozen=True)
class Head:
    """What the beginning of one file says."""

    fields: tuple[str, ...]
    """Those that any of its rows has."""

    lines: int
    """How many lines that is."""

    objects: int
    """How many of these lines hold a JSON object."""

    row_bytes: float
    """Mean length of a line; 0 where there is none."""

    lost: bool = False
    """The file is damaged before its first row."""


def read_heads(files: Sequence[SourceFile], parameters: CorpusParameters, kind: JobKind) -> list[Head]:
    """Reads the first lines of every file, and checks their fields.

    Raises:
        CorpusError: no file has a needed field; one has ten lines or more without it, or hardly a JSON object in
            them; a compressed stream is damaged, and `corpus.damaged` is fail.
        StorageError: a file cannot be read.
    """
    heads = for_every_file(files, lambda file: _read_head(file, parameters))
    known = [(file, head) for file, head in zip(files, heads, strict=True) if head.fields]
    if known:
        everywhere = tuple(dict.fromkeys(name for _, head in known for name in head.fields))
        check_jsonl(known[0][0], everywhere, parameters.columns, kind, parameters.carry)
    by_name = {file.name: head for file, head in zip(files, heads, strict=True)}
    for_every_file(files, lambda file: _check(file, by_name[file.name], parameters, kind))
    return heads


def carried_from_heads(
    files: Sequence[SourceFile], heads: Sequence[Head], parameters: CorpusParameters, kind: JobKind
) -> pa.Schema:
    """Types of the carried columns, from the first file that has most of them.

    Raises:
        CorpusError, StorageError: it cannot be read.
    """
    if not parameters.carry or not files:
        return carried_from_jsonl((), parameters, kind)
    counts = [len(set(parameters.carry) & set(head.fields)) for head in heads]
    richest = files[counts.index(max(counts))]
    return carried_from_jsonl(
        read_sample(richest, _CARRY_BYTES, parameters.storage, _keeps_on(parameters)).rows, parameters, kind
    )


def _read_head(file: SourceFile, parameters: CorpusParameters) -> Head:
    sample = read_sample(file, _HEAD_BYTES, parameters.storage, _keeps_on(parameters))
    fields = tuple(dict.fromkeys(name for row in sample.rows for name in row))
    return Head(fields, sample.lines, len(sample.rows), sample.row_bytes, sample.damaged and not sample.rows)


def _keeps_on(parameters: CorpusParameters) -> bool:
    return parameters.damaged == "quarantine"


def _check(file: SourceFile, head: Head, parameters: CorpusParameters, kind: JobKind) -> None:
    if head.lines < _TELLING_LINES:
        return
    # The last line of a JSON array may look like one of ours.
    if head.objects * 10 < head.lines:
        raise CorpusError(
            f"{file.name}: of its first {head.lines} lines only {head.objects} hold a JSON object, so this is not JSON "
            f"Lines. Convert {file.url} to one object a line, or leave it out of the input."
        )
    check_jsonl(file, head.fields, parameters.columns, kind)
