"""How much a job will write, column by column, from the tokens of a sample of its rows; and when that is too much."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from actors.engine.column_sizes import column_bytes
from pipelines.corpus.columns import text_keys
from pipelines.errors import SpanmillError
from pipelines.execution.sampling import sample_plan
from pipelines.job.job import Job
from pipelines.rows.shard_reader import read_unit
from pipelines.rows.validation import validate
from pipelines.stages.prepare import PrepareStage
from pipelines.storage.filesystem import Store
from pipelines.words import counted, of_bytes

_PIECES, _PIECE_ROWS = 8, 64
"""Of the sample, which is tokenised in a second or two."""
_ANSWER = 48
"""Bytes of an answer with its score and place, about."""
_MOST = 100e9
"""Bytes of an output that are worth a warning,"""
_MOST_TIMES, _LEAST = 20, 1e9
"""and how many times the input's texts an output has that is worth one, from so many bytes on."""


@dataclass(frozen=True)
class ColumnSize:
    """A column that holds more than a few numbers."""

    name: str
    row_bytes: float
    rows: int

    @property
    def bytes(self) -> float:
        """Of all rows."""
        return self.row_bytes * self.rows


@dataclass(frozen=True)
class OutputSize:
    """What the parts of a job hold, in bytes before they are compressed."""

    rows: int
    """That the job writes, or about; those of a job with chunks are chunks."""
    columns: tuple[ColumnSize, ...]
    """The large ones, in the order in which they are written."""
    other_row_bytes: float
    """Of a row's id, carried columns and answers."""
    text_bytes: float
    """Of the texts of all rows that the model reads."""
    tokens: float
    """Of an input row's passage or text, on average."""
    sampled: int
    """Input rows that this is known from."""

    @property
    def total(self) -> float:
        """Of all rows and columns."""
        return sum(column.bytes for column in self.columns) + self.other_row_bytes * self.rows

    @property
    def note(self) -> str:
        """What these figures are, for people."""
        return f"before compression, from {self.tokens:,.0f} tokens a row in a sample of {counted(self.sampled, 'row')}"


def sampled_size(job: Job, rows: int) -> OutputSize | None:
    """What a planned job will write; None where no row can be read, which is for others to say.

    Args:
        rows: of the job, or about.
    """
    tables = list(_valid_rows(job))
    table = pa.concat_tables(tables).combine_chunks() if tables else None
    if table is None or not len(table):
        return None
    task, model = job.task, job.model
    prepared, *_ = PrepareStage(job.plan.layout, model.spec, task.qa, task.embedding).tokenized(table)
    windows = prepared.windows
    is_first = windows.first == 0
    lengths = prepared.passage.lengths[windows.passage[is_first]][prepared.row_owner]
    if not len(lengths):
        return None
    each, counts = np.unique(lengths, return_counts=True)
    template = model.spec.single if task.qa is None else model.spec.pair
    beside = template.specials + float(prepared.question.lengths[windows.question[is_first]].mean())
    sizes = [column_bytes(task, model.hidden_size, model.depth, model.cut, float(tokens), beside) for tokens in each]
    names = [name for name, _ in sizes[0]]
    means = np.average([[size for _, size in row] for row in sizes], axis=0, weights=counts)
    read = table.select(list(text_keys(job.kind)))
    written = table.select([name for name in ("id", *job.plan.layout.carry.names) if name in table.column_names])
    answers = 0 if task.qa is None or not task.gives_answers else task.qa.top_k
    chunks, texts = _chunks_of(job, table)
    written_rows = rows if chunks is None else round(rows * chunks / len(lengths))
    sizes_of = zip(names, means.tolist(), strict=True)
    return OutputSize(
        rows=written_rows,
        columns=tuple(ColumnSize(name, size, written_rows) for name, size in sizes_of),
        other_row_bytes=written.nbytes / len(table) + answers * _ANSWER + texts,
        text_bytes=read.nbytes / len(table) * rows,
        tokens=float(lengths.mean()),
        # Pieces of a small corpus overlap.
        sampled=min(len(lengths), max(rows, 1)),
    )


def _chunks_of(job: Job, table: pa.Table) -> tuple[int | None, float]:
    """How many chunks rows have, and the bytes of a chunk's text where that is written; None of a job without."""
    chunk = job.chunk
    if chunk is None:
        return None, 0.0
    stage = PrepareStage(job.plan.layout, job.model.spec, None, job.task.embedding, chunk=chunk)
    _, _, chunks = stage.tokenized(table)
    return len(chunks), table.select(list(text_keys(job.kind))).nbytes / max(len(chunks), 1) if chunk.text else 0.0


def warnings(size: OutputSize, store: Store) -> list[str]:
    """What there is to say of an output that is very large, one sentence each; nothing of most.

    Args:
        store: OUTPUT.
    """
    found, total = list[str](), size.total
    largest = max(size.columns, key=lambda column: column.bytes, default=None)
    of_what = "" if largest is None else f", most of it in {largest.name}"
    times = total / max(size.text_bytes, 1.0)
    if total > _MOST or (times > _MOST_TIMES and total > _LEAST):
        found.append(
            f"the output will be about {of_bytes(total)} before compression, {times:,.0f} times the texts{of_what}; "
            "fewer columns (output.columns), smaller numbers (dtype: float16, int8, binary) or fewer layers take less"
        )
    free = _free_bytes(store)
    if free is not None and total > free:
        found.append(
            f"the output will be about {of_bytes(total)} before compression, and the disk of {store.url} has "
            f"{of_bytes(free)} left{of_what}; name an OUTPUT with more room, or write less"
        )
    return found


def _free_bytes(store: Store) -> int | None:
    """Of the disk that a local folder is on, or will be; None of any other store."""
    protocols = store.fs.protocol
    if "file" not in ((protocols,) if isinstance(protocols, str) else protocols):
        return None
    path = Path(store.root)
    there = next((folder for folder in (path, *path.parents) if folder.exists()), None)
    try:
        return None if there is None else shutil.disk_usage(there).free
    except OSError:
        return None


def _valid_rows(job: Job) -> Iterator[pa.Table]:
    """Rows from all over the corpus; what is wrong with others is for the job to say."""
    plan = job.plan
    for unit in sample_plan(plan, _PIECES, _PIECE_ROWS).units:
        file = plan.file_of(unit)
        try:
            for raw in read_unit(file, unit, plan.layout, job.config.corpus.storage):
                yield validate(raw, file.name, plan.layout).rows
        except SpanmillError:
            continue
