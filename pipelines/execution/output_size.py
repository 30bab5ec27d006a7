"""How much a job will write, column by column, from the tokens of a sample of its rows; and when that is too much."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from actors.arrays import Ints
from actors.engine.column_sizes import column_bytes
from actors.tokenization.tokenized import Tokenized
from pipelines.corpus.columns import text_keys
from pipelines.errors import SpanmillError
from pipelines.execution.sampling import sample_plan
from pipelines.job.job import Job
from pipelines.planning.plan import Plan
from pipelines.rows.shard_reader import read_unit
from pipelines.rows.validation import validate
from pipelines.stages.prepare import PrepareStage
from pipelines.storage.filesystem import Store
from pipelines.words import counted, of_bytes

_PIECES, _PIECE_ROWS = 8, 64
_MOST_BYTES = 2 << 20
"""Of the sample and its texts, which are tokenised in a second or two and take some 30 times their bytes meanwhile.
A single row may have more."""
_SEED = 5
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
class ChunkCounts:
    """How many chunks the documents of a sample have."""

    mean: float
    least: int
    most: int


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
    """Of an input row's passage or text, on average; those that its chunks share count in each."""
    sampled: int
    """Input rows that this is known from."""
    chunks: ChunkCounts | None = None
    """None of a job without chunks."""

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
    tables = list(_sampled_rows(job))
    table = pa.concat_tables(tables).combine_chunks() if tables else None
    if table is None or not len(table):
        return None
    task, model, chunk = job.task, job.model, job.chunk
    prepared, _, chunks = PrepareStage(job.plan.layout, model.spec, task.qa, task.embedding, chunk=chunk).tokenized(
        table
    )
    lengths = _tokens_of_rows(prepared)
    if not len(lengths):
        return None
    each, counts = np.unique(lengths, return_counts=True)
    template = model.spec.single if task.qa is None else model.spec.pair
    asked = prepared.question.lengths[prepared.windows.question[prepared.first_windows]]
    beside = template.specials + float(asked.mean())
    sizes = [column_bytes(task, model.hidden_size, model.depth, model.cut, float(tokens), beside) for tokens in each]
    names = [name for name, _ in sizes[0]]
    means = np.average([[size for _, size in row] for row in sizes], axis=0, weights=counts)
    read = table.select(list(text_keys(job.kind)))
    written = table.select([name for name in ("id", *job.plan.layout.carry.names) if name in table.column_names])
    answers = 0 if task.qa is None or not task.gives_answers else task.qa.top_k
    per_row = np.ones(len(lengths), dtype=np.int64) if chunk is None else np.bincount(chunks["row"].to_numpy())
    texts = read.nbytes / len(lengths) if chunk is not None and chunk.text else 0.0
    written_rows = round(rows * len(lengths) / len(per_row))
    sizes_of = zip(names, means.tolist(), strict=True)
    return OutputSize(
        rows=written_rows,
        columns=tuple(ColumnSize(name, size, written_rows) for name, size in sizes_of),
        other_row_bytes=written.nbytes / len(table) + answers * _ANSWER + texts,
        text_bytes=read.nbytes / len(table) * rows,
        tokens=float(lengths.sum()) / len(per_row),
        sampled=len(per_row),
        chunks=None if chunk is None else ChunkCounts(float(per_row.mean()), int(per_row.min()), int(per_row.max())),
    )


def _tokens_of_rows(prepared: Tokenized) -> Ints:
    """[R] tokens of the passage, the text or the chunk of each row that is written."""
    if prepared.chunks is not None:
        of_chunks: Ints = (prepared.chunks.stop - prepared.chunks.first)[prepared.row_owner]
        return of_chunks
    passages = prepared.windows.passage[prepared.first_windows]
    of_texts: Ints = prepared.passage.lengths[passages][prepared.row_owner]
    return of_texts


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


def _sampled_rows(job: Job) -> Iterator[pa.Table]:
    """Rows from all over the corpus whose texts are not too much together, one at least where there is one."""
    left, is_small = _MOST_BYTES, job.plan.row_estimate <= _PIECES * _PIECE_ROWS
    most_of_piece = _MOST_BYTES if is_small else _MOST_BYTES // _PIECES
    plan = job.plan if is_small else sample_plan(job.plan, _PIECES, _PIECE_ROWS)
    for rows in _valid_rows(job, plan):
        sizes = np.sum([pc.binary_length(rows[key]).to_numpy() for key in text_keys(job.kind)], axis=0)
        # Not the first ones: long texts would leave out all that come after them.
        order = np.random.default_rng(_SEED).permutation(len(rows))
        fits = int(np.searchsorted(np.cumsum(sizes[order]), min(left, most_of_piece), side="right"))
        chosen = np.sort(order[: max(fits, 1)])
        left -= int(sizes[chosen].sum())
        # Copied, so that the piece is not kept for the rows that are.
        yield rows if len(chosen) == len(rows) else rows.take(pa.array(chosen))
        if left <= 0:
            return


def _valid_rows(job: Job, plan: Plan) -> Iterator[pa.Table]:
    """The rows of a plan for this job's corpus, some at a time; what is wrong with others is for the job to say."""
    for unit in plan.units:
        file = plan.file_of(unit)
        try:
            for raw in read_unit(file, unit, job.plan.layout, job.config.corpus.storage):
                rows = validate(raw, file.name, job.plan.layout).rows
                if len(rows):
                    yield rows
        except SpanmillError:
            continue
