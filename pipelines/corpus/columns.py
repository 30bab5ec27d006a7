"""Checks that files have the columns that a job needs."""

import difflib
import shlex
from collections.abc import Sequence

import pyarrow as pa

from actors.parameters import ChunkParameters
from pipelines.config.column_types import types_as_text
from pipelines.config.job import Columns, CorpusParameters
from pipelines.corpus.formats.base import RAW_COLUMNS
from pipelines.corpus.source_file import SourceFile
from pipelines.errors import CorpusError
from pipelines.schemas import JobKind, output_names


def text_keys(kind: JobKind) -> tuple[str, ...]:
    """Keys of `corpus.columns` that a job of this kind needs, without id."""
    return ("text",) if kind == "embed" else ("question", "context")


def check_carry(parameters: CorpusParameters, kind: JobKind, chunk: ChunkParameters | None = None) -> None:
    """Raises CorpusError when a carried column's name is taken by a column of the output, or named twice."""
    for name in parameters.carry:
        if name in output_names(chunk) | RAW_COLUMNS:
            raise CorpusError(
                f"corpus.carry: the output has a column {name!r} of its own. Leave it out, or rename it in the input."
            )
        if parameters.carry.count(name) > 1:
            raise CorpusError(f"corpus.carry: {name!r} is named twice. Leave one out.")
        if name in text_keys(kind) and parameters.types.get(name, "string") != "string":
            raise CorpusError(f"corpus.types: {name!r} is a text of the job, and so a string. Leave it out.")
        if name in text_keys(kind) and getattr(parameters.columns, name) != name:
            raise CorpusError(
                f"corpus.carry: {name!r} is also what the job calls its column {getattr(parameters.columns, name)!r}. "
                f"Leave it out, or rename the input's column."
            )


def check_types(file: SourceFile, schema: pa.Schema, columns: Columns, kind: JobKind) -> None:
    """Raises CorpusError when a text column is missing, or is no text."""
    for key in text_keys(kind):
        name = getattr(columns, key)
        _present(file, schema.names, name, f"corpus.columns.{key}")
        if not _is_text(schema.field(name).type):
            raise CorpusError(_wrong_type(file, schema.field(name), "string", f"corpus.columns.{key}"))


def check_names(file: SourceFile, fields: Sequence[str], columns: Columns, kind: JobKind) -> None:
    """Raises CorpusError when a text field is not among `fields`, those that any row of a sample has."""
    for key in text_keys(kind):
        _present(file, fields, getattr(columns, key), f"corpus.columns.{key}")


def check_carried(file: SourceFile, fields: Sequence[str], carry: Sequence[str], is_sampled: bool = False) -> None:
    """Raises CorpusError when a carried column is not among `fields`, those of all files together.

    Args:
        is_sampled: some files have rows that nobody has looked at, and these may have it.
    """
    for name in carry:
        try:
            _present(file, fields, name, "corpus.carry")
        except CorpusError as error:
            if not is_sampled:
                raise
            late = shlex.quote(f"corpus.types={types_as_text([name])}")
            raise CorpusError(f"{error}; or, if it comes later in the files, give its type: --set {late}") from None


def check_id(file: SourceFile, fields: Sequence[str], columns: Columns) -> None:
    """Raises CorpusError when a column of ids that the config names is not among `fields`, those of all files together.

    Ids may be missing, so a job without them is told nothing; one that names their column has mistyped it.
    """
    if columns.id != Columns().id:
        _present(file, fields, columns.id, "corpus.columns.id")


def _present(file: SourceFile, names: Sequence[str], name: str, key: str) -> None:
    if name in names:
        return
    nearest = difflib.get_close_matches(name, names, n=1)
    meant = f" Did you mean {nearest[0]!r}?" if nearest else ""
    value = nearest[0] if nearest else "NAME"
    mend = f"corpus.carry='[{value}]'" if key == "corpus.carry" else f"{key}={value}"
    raise CorpusError(
        f"{file.name}: there is no column {name!r}; it has {', '.join(map(repr, names)) or 'none'}.{meant} "
        f"Map it: --set {mend} (or leave the file out of the input, if only this one is different)"
    )


def _wrong_type(file: SourceFile, field: pa.Field, wanted: str, key: str) -> str:
    return (
        f"{file.name}: column {field.name!r} is of type {field.type}, and {wanted} is needed. Name another column "
        f"({key}), or convert this one."
    )


def _is_text(type: pa.DataType) -> bool:
    if pa.types.is_dictionary(type):
        return _is_text(type.value_type)
    return type in (pa.string(), pa.large_string(), pa.string_view(), pa.null())
