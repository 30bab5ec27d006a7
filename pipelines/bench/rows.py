"""The rows of a run: of the user's corpus or generated, cut into a warm-up and rounds that share none."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipelines.bench.generated import questions_and_passages, texts_of_mixed_length, words_of
from pipelines.bench.worker import Worker
from pipelines.config.job import OfflineConfig
from pipelines.corpus.listing import list_files
from pipelines.errors import ConfigError
from pipelines.execution.sampling import sample_plan
from pipelines.planning.planner import make_plan
from pipelines.rows.shard_reader import read_unit
from pipelines.rows.validation import validate
from pipelines.schemas import JobKind
from pipelines.words import counted

_SEED = 7
_WARM_ROWS = 32
_FEWEST = 4
"""Rows of a round."""
_PIECE_ROWS = 64
_TEXTS = {"answer": ("question", "context"), "embed": ("text",)}


@dataclass(frozen=True)
class Slice:
    """Rows that all peers get."""

    path: Path
    """A JSON object of columns, which every environment can read."""
    columns: dict[str, list[str]]

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(next(iter(self.columns.values())))

    def part(self, number: int, of: int, folder: Path) -> "Slice":
        """Every `of`-th row, written to a file of its own."""
        columns = {name: values[number::of] for name, values in self.columns.items()}
        return _write(folder / f"{self.path.stem}-{number}-of-{of}.json", columns)


@dataclass(frozen=True)
class Slices:
    """The rows of a run."""

    corpus: str
    """What they are of, for people."""
    warm: Slice
    rounds: tuple[Slice, ...]


def slices_of(
    inputs: Sequence[str],
    config: OfflineConfig,
    task: JobKind,
    model: Path,
    rows: int,
    rounds: int,
    folder: Path,
    reference: Worker,
) -> Slices:
    """Reads or generates rows, leaves out those that cannot be cut into windows, and writes them to files.

    Args:
        inputs: the user's corpus; empty to generate one of words of the model's tokenizer.
        rows: of a round; there are fewer where the corpus has not so many.
        folder: for the files.
        reference: the engine, which knows what can be cut.

    Raises:
        CorpusError, StorageError: the corpus cannot be read.
        ConfigError: it has too few rows.
    """
    wanted = rows * rounds + min(rows, _WARM_ROWS)
    table = _read(inputs, config, task, wanted) if inputs else _generate(task, model, wanted)
    columns = {name: table[name].to_pylist() for name in _TEXTS[task]}
    usable = reference.ask("usable", rows=columns)
    columns = {name: [values[place] for place in usable] for name, values in columns.items()}
    each = min(rows, len(usable) * rows // wanted)
    if each < _FEWEST:
        raise ConfigError(
            f"the corpus has {counted(len(usable), 'row')} that can be used, too few for {counted(rounds, 'round')}; "
            "name more INPUT, or lower --rounds"
        )
    warm = len(usable) - each * rounds
    cuts = [0, min(warm, _WARM_ROWS)] + [min(warm, _WARM_ROWS) + each * number for number in range(1, rounds + 1)]
    parts = [
        _write(folder / f"rows-{number}.json", {name: values[first:stop] for name, values in columns.items()})
        for number, (first, stop) in enumerate(pairwise(cuts))
    ]
    corpus = ", ".join(inputs) if inputs else "generated, with lengths like SQuAD's"
    return Slices(corpus, parts[0], tuple(parts[1:]))


def _generate(task: JobKind, model: Path, rows: int) -> pa.Table:
    words = words_of(model)
    return questions_and_passages(words, rows) if task == "answer" else texts_of_mixed_length(words, rows)


def _read(inputs: Sequence[str], config: OfflineConfig, task: JobKind, wanted: int) -> pa.Table:
    """About so many rows from all over a corpus, in random order, or all of a smaller one."""
    plan = make_plan(list_files(inputs, config.corpus), config.corpus, task)
    if plan.row_estimate > 2 * wanted:
        plan = sample_plan(plan, 2 * -(-wanted // _PIECE_ROWS) + 2, _PIECE_ROWS)
    tables = []
    for unit in plan.units:
        file = plan.file_of(unit)
        for raw in read_unit(file, unit, plan.layout, config.corpus.storage):
            tables.append(validate(raw, file.name, plan.layout).rows.select(["id", *_TEXTS[task]]))
    table = pa.concat_tables(tables) if tables else pa.table({"id": [], **{name: [] for name in _TEXTS[task]}})
    # Pieces of a sample may share rows.
    _, first = np.unique(np.array(table["id"].to_pylist(), dtype=object), return_index=True)
    return table.take(np.random.default_rng(_SEED).permutation(first)[:wanted])


def _write(path: Path, columns: dict[str, list[str]]) -> Slice:
    path.write_text(json.dumps(columns), encoding="utf-8")
    return Slice(path, columns)
