"""Question-answer examples for training and evaluation: read from any store, checked row by row, as an Arrow table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pyarrow as pa

from pipelines.config.job import CorpusParameters
from pipelines.corpus.listing import list_files
from pipelines.corpus.parallel import for_every_file
from pipelines.corpus.source_file import SourceFile
from pipelines.errors import CorpusError
from pipelines.evaluation.squad_io import WANTED, Row, read_rows
from pipelines.storage.url import Url
from pipelines.words import counted

EXAMPLE_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("question", pa.string(), nullable=False),
        pa.field("context", pa.string(), nullable=False),
        pa.field("answer_texts", pa.list_(pa.string()), nullable=False),
        pa.field("answer_starts", pa.list_(pa.int32()), nullable=False),
        pa.field("source", pa.string()),
    ]
)
"""answer_starts: offsets into the context, in code points. A row without answers is unanswerable from its context."""

MOST_PLACES = 5
"""Rows that a message names for each reason."""


class InvalidReason(StrEnum):
    """Why a row is no valid example."""

    NO_OBJECT = "line without a JSON object"
    NO_QUESTION = "no question"
    NO_CONTEXT = "no context"
    NO_ANSWER_LIST = "answers are no lists of text and answer_start"
    MISPLACED = "answer is not at its offset"


@dataclass(frozen=True)
class SkippedRows:
    """Rows that are left out for one reason."""

    reason: StrEnum
    rows: int
    places: tuple[str, ...]
    """The first MOST_PLACES of them, as `read_rows` names places."""

    def __str__(self) -> str:
        more = ", ..." if self.rows > len(self.places) else ""
        return f"{counted(self.rows, 'row')} left out, {self.reason}: {', '.join(self.places)}{more}"


@dataclass(frozen=True)
class Examples:
    """Examples that were read from files, and what was left out."""

    examples: pa.Table
    """Valid rows in the order of the files, as EXAMPLE_SCHEMA; all answers of all rows are at their offsets."""

    files: tuple[SourceFile, ...]

    left_out: tuple[SkippedRows, ...]
    """One entry per reason that occurs."""

    answers_dropped: int
    """Answers that are not at their offsets, of rows that are kept because another answer of theirs is."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was left out, a line of text each."""
        said = [str(one) for one in self.left_out]
        if self.answers_dropped:
            said.append(f"{self.answers_dropped:,} answers left out of rows that stay: they are not at their offsets")
        return tuple(said)


def read_examples(inputs: Sequence[str], storage: Mapping[str, object]) -> Examples:
    """Reads SQuAD v1.1 / v2 JSON, or JSONL (plain, gzip, zstd) and Parquet with SQuAD's flat fields.

    `inputs` are files, folders and globs as paths or fsspec URLs, `storage` fsspec options for them. A row without an
    id gets its place as one; ids may repeat. All rows are held in memory.

    Raises:
        CorpusError: an input has no files, a file has other fields or is broken, or no row is valid.
        StorageError: a file cannot be read.
    """
    files = list_files(inputs, CorpusParameters(storage=dict(storage)))
    valid: list[tuple[Any, ...]] = []
    invalid: dict[InvalidReason, list[str]] = {reason: [] for reason in InvalidReason}
    dropped = 0
    # Row by row, because offsets in code points are cheap in Python's strings alone: Arrow's slice takes one offset
    # for all rows, and its strings are UTF-8.
    for rows in for_every_file(files, lambda file: read_rows(file, storage)):
        for place, row in rows:
            checked = _checked(place, row)
            if isinstance(checked, InvalidReason):
                invalid[checked].append(place)
            else:
                valid.append(checked[0])
                dropped += checked[1]
    left_out = tuple(
        SkippedRows(reason, len(places), tuple(places[:MOST_PLACES])) for reason, places in invalid.items() if places
    )
    if not valid:
        said = "".join(f"\n  {one}" for one in left_out)
        named = ", ".join(str(Url(text)) for text in inputs)
        raise CorpusError(f"there is not one usable example in {named}. Wanted is {WANTED}.{said}")
    examples = pa.table([list(column) for column in zip(*valid, strict=True)], schema=EXAMPLE_SCHEMA)
    return Examples(examples, files, left_out, dropped)


def _checked(place: str, row: Row | None) -> tuple[tuple[Any, ...], int] | InvalidReason:
    """The row's values in the order of EXAMPLE_SCHEMA and how many of its answers are dropped, or why it is invalid."""
    if row is None:
        return InvalidReason.NO_OBJECT
    question, context = row.get("question"), row.get("context")
    if not _is_text(question):
        return InvalidReason.NO_QUESTION
    if not isinstance(context, str) or not _is_text(context):
        return InvalidReason.NO_CONTEXT
    pairs = _pairs(row.get("answers"))
    if pairs is None:
        return InvalidReason.NO_ANSWER_LIST
    right = [(text, start) for text, start in pairs if _is_at(context, text, start)]
    if pairs and not right:
        return InvalidReason.MISPLACED
    id, source = row.get("id"), row.get("source")
    values = (
        *(place if id is None else str(id), question, context),
        *([text for text, _ in right], [start for _, start in right]),
        None if source is None else str(source),
    )
    return values, len(pairs) - len(right)


def _pairs(answers: Any) -> list[tuple[Any, Any]] | None:
    """(text, start) of every answer, from a struct of lists as in flat rows or a list of structs as in SQuAD's JSON."""
    if isinstance(answers, dict):
        texts, starts = answers.get("text"), answers.get("answer_start")
        if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
            return None
        return list(zip(texts, starts, strict=True))
    if isinstance(answers, list) and all(isinstance(answer, dict) for answer in answers):
        return [(answer.get("text"), answer.get("answer_start")) for answer in answers]
    return None


def _is_at(context: str, text: object, start: object) -> bool:
    if not isinstance(text, str) or not _is_text(text) or type(start) is not int or start < 0:
        return False
    return context.startswith(text, start)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
