"""How much a job will write, against what it writes, and when that is said to be too much."""

import shutil
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pytest

from actors.model_actor import ModelActor
from actors.parameters import BatchingParameters, ModelParameters
from pipelines.config.job import EmbedConfig
from pipelines.execution import output_size
from pipelines.execution.output_size import ChunkCounts, ColumnSize, OutputSize, sampled_size, warnings
from pipelines.stages.prepare import PrepareStage
from pipelines.storage.filesystem import resolve
from tests.pipelines.helpers import qa_rows
from tests.pipelines.jobs import make_job, write_jsonl

ROWS = 12


class _Usage(NamedTuple):
    free: int


def _size(total: float, text_bytes: float = 1e9, name: str = "attention") -> OutputSize:
    column = ColumnSize(name, total / 1000, 1000)
    return OutputSize(1000, (column,), 0.0, text_bytes, 50.0, 64)


def test_vectors_take_what_their_types_say(tmp_path: Path, untrained_model: Path) -> None:
    rows = [{"id": str(n), "text": f"Ada keeps {n} goats in Brindle."} for n in range(ROWS)]
    corpus = write_jsonl(tmp_path / "in" / "a.jsonl", rows).parent
    words = "embedding={pooling: [mean, max], dtype: int8, dimensions: 24}"
    size = sampled_size(make_job([corpus], tmp_path / "out", untrained_model, words, kind=EmbedConfig), 1000)
    assert size is not None
    assert [(c.name, c.row_bytes) for c in size.columns] == [("embedding_mean", 24.0), ("embedding_max", 24.0)]
    assert size.rows == 1000
    assert size.total == pytest.approx(1000 * (48 + size.other_row_bytes))
    texts = sum(len(str(row["text"])) for row in rows) / ROWS * 1000
    # Arrow has four bytes more for each text: where it ends.
    assert texts <= size.text_bytes <= texts + 6 * 1000


def test_a_row_is_counted_for_each_chunk(tmp_path: Path, untrained_model: Path) -> None:
    rows = [{"id": str(n), "text": f"Ada keeps {n} goats. They eat her hat. She laughs."} for n in range(ROWS)]
    corpus = write_jsonl(tmp_path / "in" / "a.jsonl", rows).parent
    words = ("chunk={tokens: 8, by: sentence, text: true}", "embedding.dtype=int8")
    job = make_job([corpus], tmp_path / "out", untrained_model, *words, kind=EmbedConfig)
    size = sampled_size(job, ROWS)
    assert size is not None
    assert size.rows == 3 * ROWS
    assert [(c.name, c.row_bytes) for c in size.columns] == [("embedding", job.model.hidden_size)]
    texts = sum(len(str(row["text"])) for row in rows) / (3 * ROWS)
    assert size.other_row_bytes > texts
    assert size.chunks == ChunkCounts(3.0, 3, 3)
    assert size.sampled == ROWS


def test_columns_of_the_layers_are_near_what_they_take(tmp_path: Path, untrained_model: Path) -> None:
    corpus = write_jsonl(tmp_path / "in" / "a.jsonl", qa_rows(ROWS)).parent
    words = ("output.columns=[answers, embedding, tokens, token_vectors, hidden, attention]", "qa.max_seq_len=64")
    job = make_job([corpus], tmp_path / "out", untrained_model, *words)
    size = sampled_size(job, ROWS)
    assert size is not None
    rows = pa.table({name: [row[name] for row in qa_rows(ROWS)] for name in ("question", "context")})
    task = job.task
    stage = PrepareStage(job.plan.layout, job.model.spec, task.qa, task.embedding, keep_texts=task.needs_texts)
    prepared, *_ = stage.tokenized(rows)
    actor = ModelActor(ModelParameters(name=str(untrained_model), device="cpu"), BatchingParameters(), True)
    table, _ = actor.process(prepared.to_ipc(), task)
    for column in size.columns:
        held = table[column.name].combine_chunks().nbytes / ROWS
        assert 0.5 * held < column.row_bytes < 2 * held, column.name


@pytest.mark.parametrize(
    ("rows", "text_bytes", "least", "most"), [(60, 100, 5, 10), (1000, 100, 5, 10), (3, 5000, 1, 1)]
)
def test_a_sample_has_no_more_text_than_is_tokenised_at_once(
    tmp_path: Path,
    untrained_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    rows: int,
    text_bytes: int,
    least: int,
    most: int,
) -> None:
    """Of a corpus that is read whole for it, of one that is read in pieces, and of rows that are each too long."""
    monkeypatch.setattr(output_size, "_MOST_BYTES", 1000)
    texts = [f"{n} {'a b ' * text_bytes}"[:text_bytes] for n in range(rows)]
    corpus = write_jsonl(tmp_path / "in" / "a.jsonl", [{"id": str(n), "text": t} for n, t in enumerate(texts)]).parent
    size = sampled_size(make_job([corpus], tmp_path / "out", untrained_model, kind=EmbedConfig), rows)
    assert size is not None
    assert least <= size.sampled <= most
    assert size.text_bytes == pytest.approx(rows * text_bytes, rel=0.1)


def test_an_input_that_cannot_be_read_has_no_size(tmp_path: Path, untrained_model: Path) -> None:
    corpus = write_jsonl(tmp_path / "in" / "a.jsonl", [{"id": "x", "question": None, "context": "y"}] * 3).parent
    assert sampled_size(make_job([corpus], tmp_path / "out", untrained_model), 3) is None


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (_size(99e9, 30e9), None),
        (_size(101e9, 30e9), "about 101.0 GB before compression, 3 times the texts, most of it in attention"),
        (_size(5e9, 0.2e9), "about 5.0 GB before compression, 25 times the texts"),
        (_size(5e8, 1e6), None),
        (_size(2e12, 1e12), "about 2.0 TB"),
    ],
)
def test_a_very_large_output_is_warned_of(size: OutputSize, said: str | None) -> None:
    found = warnings(size, resolve("memory://out", {}))
    assert len(found) == (said is not None)
    if said is not None:
        assert said in found[0]


def test_a_disk_that_is_too_small_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: _Usage(3_000_000))
    store = resolve(str(tmp_path / "not" / "there"), {})
    (line,) = warnings(_size(4e6), store)
    assert "4.0 MB" in line
    assert "3.0 MB left, most of it in attention; name an OUTPUT with more room" in line
    assert warnings(_size(2e6), store) == []
