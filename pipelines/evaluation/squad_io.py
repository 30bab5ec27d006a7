"""Reads files of question-answer examples, SQuAD's JSON or flat fields in JSONL or Parquet, without checking rows."""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import pyarrow as pa

from pipelines.corpus.formats.base import BYTE, LINE, PLACE_MARKS, InputFormat, LookOptions, ReadOptions, find_format
from pipelines.corpus.formats.jsonl_stream import read_lines
from pipelines.corpus.gaps import Gap
from pipelines.corpus.source_file import SourceFile
from pipelines.errors import CorpusError

NEEDED = ("question", "context", "answers")
"""Fields that a file must have."""

FIELDS = ("id", *NEEDED, "source")
"""Fields that are read."""

_BATCH_ROWS = 10_000

Row = dict[str, Any]

WANTED = (
    'SQuAD\'s JSON ({"data": [{"paragraphs": [{"context", "qas": [...]}]}]}), or rows with question, context and '
    "answers {text: [...], answer_start: [...]}"
)
"""What a file may hold, for messages."""


def read_rows(file: SourceFile, storage: Mapping[str, object]) -> list[tuple[str, Row | None]]:
    """Every row of a file with its place: `file:row` or `file@byte` (as its format counts), `file:id` (SQuAD's JSON).

    None stands for a line that holds no JSON object. The file is held in memory.

    Raises:
        CorpusError: no row has one of the fields, the JSON is broken, or the file is damaged or cut short.
        StorageError: the file cannot be read.
    """
    format = find_format(file.format)
    if LINE not in format.empty(FIELDS).column_names:
        return list(_typed_rows(file, format, storage))
    rows = list(_text_rows(file, storage))
    if rows:
        _check_fields(file, list(dict.fromkeys(name for _, row in rows if row is not None for name in row)))
    return rows


def _check_fields(file: SourceFile, names: list[str]) -> None:
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise CorpusError(
            f"{file.name}: there is no {' and no '.join(map(repr, missing))}; it has "
            f"{', '.join(map(repr, names)) or 'no JSON object'}. Wanted is {WANTED}. Rename its fields, or leave "
            f"{file.url} out."
        )


def _typed_rows(
    file: SourceFile, format: InputFormat, storage: Mapping[str, object]
) -> Iterator[tuple[str, Row | None]]:
    look = format.look(file, LookOptions(FIELDS, NEEDED[:2], sys.maxsize, storage, keep_on=False))
    _check_fields(file, list(look.names))
    options = ReadOptions(FIELDS, _BATCH_ROWS, sys.maxsize, storage, keep_on=False)
    for part in (part for span in look.spans for part in format.read(file, span, options)):
        if not isinstance(part, Gap):
            table = part if isinstance(part, pa.Table) else part.table()
            (place,) = PLACE_MARKS.keys() & set(table.column_names)
            yield from ((f"{file.name}{PLACE_MARKS[place]}{row[place]}", row) for row in table.to_pylist())


def _text_rows(file: SourceFile, storage: Mapping[str, object]) -> Iterator[tuple[str, Row | None]]:
    pieces = list(read_lines(file, 0, file.size, storage, max_bytes=sys.maxsize))
    data = b"".join(piece.buffer for piece in pieces).removeprefix(b"\xef\xbb\xbf")
    document = None
    # Names do not tell them apart: .json may be either, and a document may be called .jsonl. Lines fail early.
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        lines = [_object(line) for line in data.split(b"\n", 10)[:10] if line.strip()]
        if data.strip() and not any(line is not None for line in lines):
            raise CorpusError(
                f"{file.name}: broken JSON, neither one document nor one object a line ({error}). Wanted is {WANTED}. "
                f"Replace {file.url}, or leave it out."
            ) from error
    if isinstance(document, list):
        yield from ((f"{file.name}:{number}", _as_row(row)) for number, row in enumerate(document))
    elif isinstance(document, dict) and "data" in document:
        yield from _document_rows(file, document["data"])
    else:
        for piece in pieces:
            table = piece.table()
            for place, line in zip(table[BYTE].to_pylist(), table[LINE].to_pylist(), strict=True):
                yield f"{file.name}@{place}", _object(line)


def _object(line: bytes) -> Row | None:
    try:
        return _as_row(orjson.loads(line))
    except orjson.JSONDecodeError:
        return None


def _as_row(value: object) -> Row | None:
    return value if isinstance(value, dict) else None


def _document_rows(file: SourceFile, articles: Any) -> Iterator[tuple[str, Row]]:
    number = 0
    try:
        for article in articles:
            # Some tools write flat rows where SQuAD has its articles.
            paragraphs = [{**article, "qas": [article]}] if "question" in article else article["paragraphs"]
            for at, paragraph in enumerate(paragraphs):
                for which, qa in enumerate(paragraph["qas"]):
                    place = f"data[{number}].paragraphs[{at}].qas[{which}]"
                    yield f"{file.name}:{qa.get('id', place)}", {**qa, "context": paragraph["context"]}
            number += 1
    except (KeyError, TypeError, AttributeError) as error:
        raise CorpusError(
            f"{file.name}: data[{number}] is not laid out as SQuAD's ({type(error).__name__}: {error}). Wanted is "
            f"{WANTED}. Mend {file.url}, or leave it out."
        ) from error
