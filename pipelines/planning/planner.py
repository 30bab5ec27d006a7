"""Making a plan: footers and samples are read, columns checked, files cut into units, the shard's size chosen."""

from collections.abc import Iterator, Sequence
from itertools import chain

import pyarrow as pa

from pipelines.config.job import CorpusParameters
from pipelines.corpus.columns import carried_from_parquet, check_carry, check_parquet, text_keys
from pipelines.corpus.formats.jsonl_sniff import Head, carried_from_heads, read_heads
from pipelines.corpus.formats.parquet import Footer, read_footer
from pipelines.corpus.listing import SourceFile
from pipelines.corpus.parallel import for_every_file
from pipelines.errors import DamagedError
from pipelines.planning.plan import Plan, ReadUnit
from pipelines.planning.row_schema import RowSchema
from pipelines.planning.shard_size import choose_shard_rows
from pipelines.schemas import JobKind

# Text under gzip or zstd; only estimates hang on it.
_COMPRESSION_RATIO = 4
_GUESSED_ROW_BYTES = 1024.0
# Of a damaged file: the reader will find out for itself, and say so in the file's only shard.
_NO_FOOTER = Footer(pa.schema([]), (), ())


def make_plan(
    files: Sequence[SourceFile], parameters: CorpusParameters, kind: JobKind, tokens_per_second: float | None = None
) -> Plan:
    """Cuts the files into read units of about `parameters.unit_bytes`, and chooses the size of a shard.

    Reads every Parquet footer, and the first lines of every JSONL file. Every file has a unit, an empty one too, and
    where `parameters.damaged` is quarantine one that cannot be read.
    The same files and parameters give the same plan, whatever pool will run it.

    Raises:
        CorpusError: a file is damaged (under quarantine: all are), or a needed column is missing, of a wrong type, or
            named like one of ours.
        StorageError: a file cannot be read.
    """
    check_carry(parameters, kind)
    jsonl = [file for file in files if file.format == "jsonl"]
    footers = _footers([file for file in files if file.format == "parquet"], parameters, kind)
    parquet = [file for file in files if file.name in footers]
    heads = read_heads(jsonl, parameters, kind)
    if files and not parquet and all(head.lost for head in heads):
        # Nothing would be left but the errors, so they are said.
        return make_plan(files, parameters.model_copy(update={"damaged": "fail"}), kind, tokens_per_second)

    if parquet:
        carry = carried_from_parquet(parquet[0], footers[parquet[0].name].schema, parameters, kind)
    else:
        carry = carried_from_heads(jsonl, heads, parameters, kind)
    for_every_file(
        parquet, lambda file: check_parquet(file, footers[file.name].schema, parameters.columns, kind, carry)
    )

    cuts = chain.from_iterable(
        _groups_cut(number, footers.get(file.name, _NO_FOOTER), parameters.unit_bytes)
        if file.format == "parquet"
        else _bytes_cut(number, file, parameters.unit_bytes)
        for number, file in enumerate(files)
    )
    groups = [(sum(footer.group_rows), _COMPRESSION_RATIO * sum(footer.group_bytes)) for footer in footers.values()]
    lines = [_lines_of(file, head) for file, head in zip(jsonl, heads, strict=True)]
    rows = sum(count for count, _ in chain(groups, lines))
    row_bytes = max(_row_bytes(groups), _row_bytes(lines), 1.0)
    shard_rows = parameters.shard_rows or choose_shard_rows(rows, row_bytes, tokens_per_second)
    return Plan(
        files=tuple(files),
        units=tuple(ReadUnit(index, *cut) for index, cut in enumerate(cuts)),
        layout=RowSchema(kind, parameters.columns, carry, shard_rows, parameters.max_text_bytes, parameters.damaged),
        row_estimate=rows,
    )


def _footers(files: Sequence[SourceFile], parameters: CorpusParameters, kind: JobKind) -> dict[str, Footer]:
    """By file name; a damaged file that may be has none."""
    needed = [*(getattr(parameters.columns, key) for key in ("id", *text_keys(kind))), *parameters.carry]

    def look(file: SourceFile) -> Footer | None:
        try:
            return read_footer(file, needed, parameters.storage)
        except DamagedError:
            if parameters.damaged == "fail":
                raise
            return None

    found = zip(files, for_every_file(files, look), strict=True)
    return {file.name: footer for file, footer in found if footer is not None}


def _lines_of(file: SourceFile, head: Head) -> tuple[int, int]:
    """(rows, bytes) of a file's text, both estimated."""
    size = file.size * (_COMPRESSION_RATIO if file.compression else 1)
    return round(size / (head.row_bytes or _GUESSED_ROW_BYTES)), size


def _row_bytes(sizes: Sequence[tuple[int, int]]) -> float:
    rows = sum(count for count, _ in sizes)
    return sum(size for _, size in sizes) / rows if rows else 0.0


_Cut = tuple[int, int, int, int, int | None]
"""file, start, stop, first_row, rows of a ReadUnit."""


def _groups_cut(number: int, footer: Footer, unit_bytes: int) -> Iterator[_Cut]:
    start = first_row = rows = size = 0
    for group, (group_rows, group_bytes) in enumerate(zip(footer.group_rows, footer.group_bytes, strict=True)):
        if group > start and size + group_bytes > unit_bytes:
            yield number, start, group, first_row, rows
            start, first_row, rows, size = group, first_row + rows, 0, 0
        rows += group_rows
        size += group_bytes
    yield number, start, len(footer.group_rows), first_row, rows


def _bytes_cut(number: int, file: SourceFile, unit_bytes: int) -> Iterator[_Cut]:
    step = file.size if file.compression else unit_bytes
    for start in range(0, max(file.size, 1), max(step, 1)):
        yield number, start, min(start + step, file.size), 0, None
