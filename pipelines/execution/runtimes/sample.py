"""Windows of a job's input on which runtimes are compared."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from actors.arrays import Ints
from actors.tokenization.tokenized import Tokenized
from pipelines.errors import SpanmillError
from pipelines.execution.sampling import sample_plan
from pipelines.job.job import Job
from pipelines.planning.plan import ReadUnit
from pipelines.planning.shard_size import tokens_of
from pipelines.rows.shard_reader import read_unit
from pipelines.rows.validation import validate
from pipelines.stages.prepare import PrepareStage

SECONDS = 4.0
"""Of an actor's work that a sample is for."""
_PIECES = 8
_MEAN = 0.75
"""Of a piece, as a share of the longest (see `sample_plan`)."""
_MOST_ROWS = 512
"""Of a piece."""
_FEWEST_ROWS = 64
"""Of all pieces together."""
_SPECIALS = 3
"""Special tokens of a window, about."""
_SEED = 5


@dataclass(frozen=True)
class WindowSample:
    """Tokenised rows from all over a corpus, as a shard of the job would be."""

    prepared: Tokenized
    lengths: Ints
    """[W] tokens of every window, about."""
    job_tokens: float
    """Of all windows of the job, about."""

    def cut(self, tokens: float) -> Tokenized:
        """Rows of it, drawn at random, whose windows have about so many tokens together; at least one row."""
        prepared = self.prepared
        of_owner = np.bincount(prepared.windows.owner, weights=self.lengths, minlength=prepared.owners)
        order = np.random.default_rng(_SEED).permutation(prepared.owners)
        count = int(np.searchsorted(np.cumsum(of_owner[order]), tokens)) + 1
        return prepared.of_owners(np.sort(order[:count]).astype(np.int32))


def sample_windows(job: Job) -> WindowSample | None:
    """Windows for some seconds of an actor's work; None where no row can be read. A small corpus gives less."""
    plan = job.plan
    row_bytes = sum(file.size for file in plan.files) / max(plan.row_estimate, 1)
    wanted = max(SECONDS * job.model.tokens_per_second / tokens_of(row_bytes), _FEWEST_ROWS)
    rows = min(wanted, plan.row_estimate)
    piece_rows = int(min(max(rows / _PIECES / _MEAN, 1), _MOST_ROWS))
    tables = list(_valid_rows(job, sample_plan(plan, _PIECES, piece_rows).units))
    if not sum(map(len, tables)):
        return None
    task = job.task
    prepare = PrepareStage(
        plan.layout, job.model.spec, task.qa, task.embedding, keep_texts=task.needs_texts, chunk=job.chunk
    )
    prepared, _, _ = prepare.tokenized(pa.concat_tables(tables).combine_chunks())
    if not prepared.owners:
        return None
    lengths = prepared.lengths(_SPECIALS)
    # A text that several rows share is computed once in each shard.
    of_row = float(lengths.sum()) / sum(map(len, tables))
    return WindowSample(prepared, lengths, of_row * plan.row_estimate)


def _valid_rows(job: Job, units: Sequence[ReadUnit]) -> Iterator[pa.Table]:
    """The rows of some units that can be read; what is wrong with the others is for the job to say."""
    columns = ["question", "context"] if job.task.qa is not None else ["text"]
    plan = job.plan
    for unit in units:
        file = plan.file_of(unit)
        try:
            for raw in read_unit(file, unit, plan.layout, job.config.corpus.storage):
                yield validate(raw, file.name, plan.layout).rows.select(columns)
        except SpanmillError:
            continue
