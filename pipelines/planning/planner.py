"""Makes a plan: looks at every file, checks its columns, cuts it into read units, and chooses the size of a shard."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, replace

from actors.parameters import ChunkParameters
from pipelines.config.job import CorpusParameters, keeps_rest
from pipelines.corpus.column_survey import ColumnSurvey
from pipelines.corpus.columns import check_carry, text_keys
from pipelines.corpus.formats.base import FirstLook, LookOptions, find_format
from pipelines.corpus.parallel import for_every_file
from pipelines.corpus.partitions import with_partition_columns
from pipelines.corpus.source_file import SourceFile
from pipelines.errors import CorpusError
from pipelines.planning.plan import Plan, ReadUnit
from pipelines.planning.row_schema import RowSchema
from pipelines.planning.shard_size import choose_shard_rows, tokens_of
from pipelines.schemas import JobKind

_LEAST_HEAD_BYTES, _MOST_HEAD_BYTES = 64 << 10, 1 << 20
_HEADS_BYTES = 64 << 20
"""Text of all heads together that is read for the types of carried columns, where the least does not come to more."""


def make_plan(
    files: Sequence[SourceFile],
    parameters: CorpusParameters,
    kind: JobKind,
    tokens_per_second: float | None = None,
    answers: int = 1,
    column_bytes: Callable[[float], float] = lambda tokens: 0.0,
    chunk: ChunkParameters | None = None,
) -> Plan:
    """Cuts the files into read units of about `parameters.unit_bytes`, and chooses the size of a shard.

    Reads as much of every file as its format needs for a first look. Every file has a unit, an empty one too, and
    where `parameters.damaged` is quarantine one that cannot be read.
    The same files and parameters give the same plan, whatever pool will run it.

    Args:
        tokens_per_second, answers: as in `choose_shard_rows`.
        column_bytes: its `column_bytes`, of a row of so many tokens.
        chunk: of a job that writes a row for each chunk of a text.

    Raises:
        CorpusError: a file is damaged (under quarantine: all are), or a needed column is missing, of a wrong type, or
            named like one of ours.
        StorageError: a file cannot be read.
    """
    check_carry(parameters, kind, chunk)
    texts = tuple(getattr(parameters.columns, key) for key in text_keys(kind))
    needed = (parameters.columns.id, *texts, *parameters.carry)
    keeps_on = keeps_rest(parameters.damaged)
    head_bytes = _head_bytes(files, parameters)
    options = LookOptions(needed, texts, parameters.unit_bytes, parameters.storage, keeps_on, head_bytes)
    survey = ColumnSurvey(parameters, kind)
    looked = _look_at_all(files, options, survey)
    looks = [look for look, _ in looked]
    if files and all(look.is_lost for look in looks):
        # Nothing would be left but the errors, so they are said.
        failing = parameters.model_copy(update={"damaged": "fail"})
        return make_plan(files, failing, kind, tokens_per_second, answers, column_bytes, chunk)

    # Only a look at a file tells whether it holds lines of JSON or one document.
    files = [replace(file, format=look.format or file.format) for file, look in zip(files, looks, strict=True)]
    survey.check()
    _raise_problems(files, [problem for _, problem in looked])
    carried = survey.carried()
    rows = sum(look.rows for look in looks)
    row_bytes = max(1.0, *_row_bytes(files, looks))
    of_columns, rate = column_bytes(tokens_of(row_bytes)), tokens_per_second
    goes_on = None if chunk is None else chunk.tokens - chunk.overlap
    shard_rows = parameters.shard_rows or choose_shard_rows(rows, row_bytes, rate, answers, of_columns, goes_on)
    spans = ((number, span) for number, look in enumerate(looks) for span in look.spans)
    return Plan(
        files=tuple(files),
        units=tuple(ReadUnit(index, number, *astuple(span)) for index, (number, span) in enumerate(spans)),
        layout=RowSchema(
            *(kind, parameters.columns, carried.schema, shard_rows, parameters.max_text_bytes, parameters.damaged),
            mixed=carried.mixed,
        ),
        row_estimate=rows,
    )


def _look_at_all(
    files: Sequence[SourceFile], options: LookOptions, survey: ColumnSurvey
) -> list[tuple[FirstLook, CorpusError | None]]:
    """The first look at every file, what it says of columns left out, and why it cannot be used."""

    def look_at(file: SourceFile) -> tuple[FirstLook, CorpusError | None]:
        look = find_format(file.format).look(file, options)
        look = with_partition_columns(look, file, options.needed)
        problem = survey.add(file, look)
        return replace(look, names=(), schema=None, sample=()), problem

    return for_every_file(files, look_at)


def _head_bytes(files: Sequence[SourceFile], parameters: CorpusParameters) -> int:
    share = _HEADS_BYTES // max(len(files), 1) if parameters.carry else 0
    return min(max(share, _LEAST_HEAD_BYTES), _MOST_HEAD_BYTES)


def _raise_problems(files: Sequence[SourceFile], problems: Sequence[CorpusError | None]) -> None:
    by_name = {file.name: problem for file, problem in zip(files, problems, strict=True) if problem is not None}

    def raise_one(file: SourceFile) -> None:
        if problem := by_name.get(file.name):
            raise problem

    if by_name:
        for_every_file(files, raise_one)


def _row_bytes(files: Sequence[SourceFile], looks: Sequence[FirstLook]) -> Iterator[float]:
    """Mean text of a row, for every format that has rows."""
    for format in dict.fromkeys(file.format for file in files):
        of_format = [look for file, look in zip(files, looks, strict=True) if file.format == format]
        rows = sum(look.rows for look in of_format)
        yield sum(look.text_bytes for look in of_format) / rows if rows else 0.0
