"""Makes a plan: looks at every file, checks its columns, cuts it into read units, and chooses the size of a shard."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, replace
from typing import Any

import pyarrow as pa

from pipelines.config.job import CorpusParameters, keeps_rest
from pipelines.corpus.columns import (
    carried_from_rows,
    carried_from_schema,
    check_carry,
    check_names,
    check_types,
    text_keys,
)
from pipelines.corpus.formats.base import FirstLook, LookOptions, find_format
from pipelines.corpus.parallel import for_every_file
from pipelines.corpus.partitions import with_partition_columns
from pipelines.corpus.source_file import SourceFile
from pipelines.errors import CorpusError
from pipelines.planning.plan import Plan, ReadUnit
from pipelines.planning.row_schema import RowSchema
from pipelines.planning.shard_size import choose_shard_rows
from pipelines.schemas import JobKind


def make_plan(
    files: Sequence[SourceFile],
    parameters: CorpusParameters,
    kind: JobKind,
    tokens_per_second: float | None = None,
    answers: int = 1,
) -> Plan:
    """Cuts the files into read units of about `parameters.unit_bytes`, and chooses the size of a shard.

    Reads as much of every file as its format needs for a first look. Every file has a unit, an empty one too, and
    where `parameters.damaged` is quarantine one that cannot be read.
    The same files and parameters give the same plan, whatever pool will run it.

    Args:
        tokens_per_second, answers: as in `choose_shard_rows`.

    Raises:
        CorpusError: a file is damaged (under quarantine: all are), or a needed column is missing, of a wrong type, or
            named like one of ours.
        StorageError: a file cannot be read.
    """
    check_carry(parameters, kind)
    needed = (*(getattr(parameters.columns, key) for key in ("id", *text_keys(kind))), *parameters.carry)
    options = LookOptions(needed, parameters.unit_bytes, parameters.storage, keeps_rest(parameters.damaged))

    def look_at(file: SourceFile) -> FirstLook:
        return with_partition_columns(find_format(file.format).look(file, options), file, needed)

    looks = for_every_file(files, look_at)
    if files and all(look.is_lost for look in looks):
        # Nothing would be left but the errors, so they are said.
        return make_plan(files, parameters.model_copy(update={"damaged": "fail"}), kind, tokens_per_second, answers)

    # Only a look at a file tells whether it holds lines of JSON or one document.
    files = [replace(file, format=look.format or file.format) for file, look in zip(files, looks, strict=True)]
    carry = _check_columns(files, looks, parameters, kind)
    rows = sum(look.rows for look in looks)
    row_bytes = max(1.0, *_row_bytes(files, looks))
    shard_rows = parameters.shard_rows or choose_shard_rows(rows, row_bytes, tokens_per_second, answers)
    spans = ((number, span) for number, look in enumerate(looks) for span in look.spans)
    return Plan(
        files=tuple(files),
        units=tuple(ReadUnit(index, number, *astuple(span)) for index, (number, span) in enumerate(spans)),
        layout=RowSchema(kind, parameters.columns, carry, shard_rows, parameters.max_text_bytes, parameters.damaged),
        row_estimate=rows,
    )


def _check_columns(
    files: Sequence[SourceFile], looks: Sequence[FirstLook], parameters: CorpusParameters, kind: JobKind
) -> pa.Schema:
    """The types of the carried columns, which all files fit: as the first file that declares types has them, else
    inferred from rows of the file that has most of the columns.
    """
    look_of = {file.name: look for file, look in zip(files, looks, strict=True)}
    declared = [file for file in files if look_of[file.name].schema is not None]
    sampled = [file for file in files if look_of[file.name].schema is None and look_of[file.name].names]
    # A file without rows has no value that cannot be used; where no file has any, its columns are checked all the same.
    declared = [file for file in declared if look_of[file.name].rows] or ([] if sampled else declared)
    if sampled:
        everywhere = tuple(dict.fromkeys(name for file in sampled for name in look_of[file.name].names))
        check_names(sampled[0], everywhere, parameters.columns, kind, parameters.carry)
    for_every_file(files, lambda file: _check_sample(file, look_of[file.name], parameters, kind))
    if not declared:
        return carried_from_rows(_sample(looks, parameters), parameters, kind)
    schemas = {file.name: look_of[file.name].schema for file in declared}
    carry = carried_from_schema(declared[0], schemas[declared[0].name], parameters, kind)
    for_every_file(declared, lambda file: check_types(file, schemas[file.name], parameters.columns, kind, carry))
    return carry


def _check_sample(file: SourceFile, look: FirstLook, parameters: CorpusParameters, kind: JobKind) -> None:
    if look.misfit:
        raise CorpusError(look.misfit)
    if look.schema is None and look.is_telling:
        check_names(file, look.names, parameters.columns, kind)


def _sample(looks: Sequence[FirstLook], parameters: CorpusParameters) -> Sequence[Mapping[str, Any]]:
    samples = [(len(set(parameters.carry) & set(look.names)), look.sample) for look in looks if look.sample]
    if not parameters.carry or not samples:
        return ()
    _, richest = max(samples, key=lambda one: one[0])
    return richest()


def _row_bytes(files: Sequence[SourceFile], looks: Sequence[FirstLook]) -> Iterator[float]:
    """Mean text of a row, for every format that has rows."""
    for format in dict.fromkeys(file.format for file in files):
        of_format = [look for file, look in zip(files, looks, strict=True) if file.format == format]
        rows = sum(look.rows for look in of_format)
        yield sum(look.text_bytes for look in of_format) / rows if rows else 0.0
