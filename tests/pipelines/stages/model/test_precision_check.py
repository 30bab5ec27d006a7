"""Rows of a job that are computed in float32 as well."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from actors.engine.inference_task import Wanted
from actors.models.hub import fingerprint
from actors.models.loading import load_spec
from actors.parameters import BatchingParameters, ChunkParameters, EmbeddingParameters, ModelParameters, QAParameters
from actors.tokenization.chunked_texts import prepare_chunks
from actors.tokenization.preprocess import prepare_pairs, prepare_texts
from pipelines.output.agreement import RowAgreement
from pipelines.output.parts import ShardId
from pipelines.stages.model import precision_check
from pipelines.stages.model.precision_check import PrecisionCheck
from pipelines.stages.model.runner import OwnModel
from tests.pipelines.jobs import mixed_rows

FIRST = ShardId(0, 0, False)
BOTH = Wanted(QAParameters(), EmbeddingParameters())


def _own(model: Path, dtype: str, task: Wanted = BOTH) -> OwnModel:
    parameters = ModelParameters(name=str(model), device="cpu", threads=1).in_type(dtype)
    return OwnModel(parameters, BatchingParameters(), task, fingerprint(model, "torch"))


def _check(model: Path, shards: int = 1, task: Wanted = BOTH) -> PrecisionCheck:
    check = PrecisionCheck.of(_own(model, "bfloat16", task), shards)
    assert check is not None
    return check


def _windows(model: Path, rows: int) -> pa.Buffer:
    found = mixed_rows(10)[:rows]
    questions, contexts = (pa.array([row[name] for row in found], pa.string()) for name in ("question", "context"))
    return prepare_pairs(load_spec(model), QAParameters(), questions, contexts)[0].to_ipc()


def test_what_is_exact_agrees_with_itself(untrained_model: Path) -> None:
    windows = _windows(untrained_model, 10)
    columns, _ = _own(untrained_model, "float32").open()(windows)
    found = _check(untrained_model).compare(FIRST, windows, columns)
    assert (found.rows, all(found.equal_spans), len(found.cosines)) == (10, True, 10)
    assert max(found.score_differences) < 1e-4
    assert min(found.cosines) > 1 - 1e-5


def test_what_is_not_is_found_out(untrained_model: Path) -> None:
    windows = _windows(untrained_model, 10)
    columns, _ = _own(untrained_model, "float32").open()(windows)
    moved = columns.set_column(0, "answer", pa.array(["x"] * 10))
    vectors = np.asarray(columns["embedding"].combine_chunks().flatten())
    backwards = pa.FixedSizeListArray.from_arrays(pa.array(-vectors), len(vectors) // 10)
    moved = moved.set_column(moved.column_names.index("embedding"), "embedding", backwards)
    found = _check(untrained_model).compare(FIRST, windows, moved)
    assert not any(found.equal_spans)
    assert max(found.cosines) < -1 + 1e-5


def test_rows_of_one_text_are_compared_once_and_each_with_its_own(untrained_model: Path) -> None:
    task = Wanted(None, EmbeddingParameters())
    texts = pa.array(["one two", "three four five", "one two", "six"] * 3)
    windows = prepare_texts(load_spec(untrained_model), EmbeddingParameters(), texts)[0].to_ipc()
    columns, _ = _own(untrained_model, "float32", task).open()(windows)
    found = _check(untrained_model, task=task).compare(FIRST, windows, columns)
    assert found.rows == 3
    assert min(found.cosines) > 1 - 1e-5


def test_chunks_are_compared_document_by_document(untrained_model: Path) -> None:
    task = Wanted(None, EmbeddingParameters(), late_chunks=True)
    texts = pa.array(["one two three", "four", "one two three", "five six seven eight nine"])
    chunk = ChunkParameters(by="tokens", tokens=2)
    prepared, _, _ = prepare_chunks(load_spec(untrained_model), EmbeddingParameters(), chunk, texts)
    columns, _ = _own(untrained_model, "float32", task).open()(prepared.to_ipc())
    found = _check(untrained_model, task=task).compare(FIRST, prepared.to_ipc(), columns)
    assert found.rows == prepared.results > prepared.owners == 3
    assert min(found.cosines) > 1 - 1e-5


def test_nothing_is_compared_of_what_is_exact(untrained_model: Path) -> None:
    assert PrecisionCheck.of(_own(untrained_model, "float32"), 10) is None


@pytest.mark.parametrize("shards", [1, 3, 4, 100, 10_000])
def test_about_as_many_rows_whatever_the_size_of_the_job(untrained_model: Path, shards: int) -> None:
    check = _check(untrained_model, shards)
    chosen = [number for number in range(shards) if check.chooses(ShardId(0, number, False))]
    assert chosen[0] == 0
    assert min(shards, 4) <= len(chosen) <= 12
    assert 48 <= check.rows * min(shards, 4) <= 64


def test_a_shard_that_is_not_chosen_costs_nothing(untrained_model: Path) -> None:
    check = _check(untrained_model, 1000)
    other = next(shard for n in range(1, 9) if not check.chooses(shard := ShardId(0, n, False)))
    assert check.compare(other, pa.py_buffer(b"not looked at"), pa.table({})) == RowAgreement()


def test_time_is_bounded(untrained_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision_check, "_SECONDS", -1.0)
    monkeypatch.setattr(precision_check, "_AT_ONCE", 3)
    windows = _windows(untrained_model, 10)
    columns, _ = _own(untrained_model, "float32").open()(windows)
    assert _check(untrained_model).compare(FIRST, windows, columns).rows == 3


def test_what_goes_wrong_is_a_warning_and_no_failure(untrained_model: Path, caplog: pytest.LogCaptureFixture) -> None:
    check = _check(untrained_model)
    broken = replace(check, exact=replace(check.exact, fingerprint="0" * 64))
    windows = _windows(untrained_model, 2)
    with caplog.at_level(logging.WARNING, "spanmill.precision"):
        assert broken.compare(FIRST, windows, pa.table({})) == RowAgreement()
    assert "not compared with float32: ModelError" in caplog.text
    assert check.compare(FIRST, _windows(untrained_model, 0), pa.table({})) == RowAgreement()
