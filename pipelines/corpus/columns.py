"""Checks that files have the columns that a job needs, and finds the types of the carried ones."""

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipelines.config.job import Columns, CorpusParameters
from pipelines.corpus.formats.base import RAW_COLUMNS
from pipelines.corpus.source_file import SourceFile
from pipelines.errors import CorpusError
from pipelines.schemas import JobKind, output_names


def text_keys(kind: JobKind) -> tuple[str, ...]:
    """Keys of `corpus.columns` that a job of this kind needs, without id."""
    return ("text",) if kind == "embed" else ("question", "context")


def check_carry(parameters: CorpusParameters, kind: JobKind) -> None:
    """Raises CorpusError when a carried column's name is taken by a column of the output, or named twice."""
    for name in parameters.carry:
        if name in output_names() | RAW_COLUMNS:
            raise CorpusError(
                f"corpus.carry: the output has a column {name!r} of its own. Leave it out, or rename it in the input."
            )
        if parameters.carry.count(name) > 1:
            raise CorpusError(f"corpus.carry: {name!r} is named twice. Leave one out.")
        if name in text_keys(kind) and getattr(parameters.columns, name) != name:
            raise CorpusError(
                f"corpus.carry: {name!r} is also what the job calls its column {getattr(parameters.columns, name)!r}. "
                f"Leave it out, or rename the input's column."
            )


def check_types(file: SourceFile, schema: pa.Schema, columns: Columns, kind: JobKind, carry: pa.Schema) -> None:
    """Raises CorpusError when a needed column is missing, or has a type that cannot be used."""
    for key in text_keys(kind):
        name = getattr(columns, key)
        _present(file, schema.names, name, f"corpus.columns.{key}")
        if not _is_text(schema.field(name).type):
            raise CorpusError(_wrong_type(file, schema.field(name), "string", f"corpus.columns.{key}"))
    if columns.id in schema.names:
        type = _plain(schema.field(columns.id).type)
        if not (_is_text(type) or pa.types.is_integer(type)):
            raise CorpusError(_wrong_type(file, schema.field(columns.id), "string or integer", "corpus.columns.id"))
    for field in carry:
        _present(file, schema.names, field.name, "corpus.carry")
        if not _castable(schema.field(field.name).type, field.type):
            raise CorpusError(_wrong_type(file, schema.field(field.name), str(field.type), "corpus.carry"))


def check_names(
    file: SourceFile, fields: Sequence[str], columns: Columns, kind: JobKind, carry: Sequence[str] = ()
) -> None:
    """Raises CorpusError when a needed field is not among `fields`, those that any row of a sample has."""
    for key in text_keys(kind):
        _present(file, fields, getattr(columns, key), f"corpus.columns.{key}")
    for name in carry:
        _present(file, fields, name, "corpus.carry")


def carried_from_schema(file: SourceFile, schema: pa.Schema, parameters: CorpusParameters, kind: JobKind) -> pa.Schema:
    """Types of the carried columns as a file declares them. Raises CorpusError when one is missing."""
    fields = []
    for name in parameters.carry:
        _present(file, schema.names, name, "corpus.carry")
        type = _plain(schema.field(name).type)
        fields.append(pa.field(name, pa.string() if name in text_keys(kind) or pa.types.is_null(type) else type))
    return pa.schema(fields)


def carried_from_rows(rows: Sequence[Mapping[str, Any]], parameters: CorpusParameters, kind: JobKind) -> pa.Schema:
    """Types of the carried columns as Arrow infers them from a sample; nulls alone make a string, and values of several
    types make the type of the most.
    """
    fields = []
    for name in parameters.carry:
        type = _inferred([row.get(name) for row in rows])
        fields.append(pa.field(name, pa.string() if name in text_keys(kind) or pa.types.is_null(type) else type))
    return pa.schema(fields)


def _inferred(values: Sequence[Any]) -> pa.DataType:
    try:
        return pa.array(values).type
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        # A few odd values cost their rows, not the job.
        commonest = Counter(type(value) for value in values if value is not None).most_common(1)[0][0]
        alike = [value for value in values if type(value) is commonest]
        return _inferred(alike) if len(alike) < len(values) else pa.string()


def _present(file: SourceFile, names: Sequence[str], name: str, key: str) -> None:
    if name in names:
        return
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
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


def _plain(type: pa.DataType) -> pa.DataType:
    """Without dictionary encoding and string views, which not every reader of the output knows."""
    if pa.types.is_dictionary(type):
        return _plain(type.value_type)
    if type == pa.string_view():
        return pa.string()
    return pa.binary() if type == pa.binary_view() else type


def _is_text(type: pa.DataType) -> bool:
    type = _plain(type)
    return type in (pa.string(), pa.large_string(), pa.null())


def _castable(source: pa.DataType, target: pa.DataType) -> bool:
    try:
        pa.array([], _plain(source)).cast(target)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
        return False
    return True
