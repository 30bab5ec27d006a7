"""The worker of rank zero: what it evaluates, keeps and reports. A real run on the CPU, without Ray."""

import math
import queue
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pytest
import torch

from actors.training.checkpoint_state import load_state
from actors.training.predict import predict_answers
from actors.training.setup import Sources, TrainingSetup, WorkerRank, assemble
from pipelines.config.loader import load_config
from pipelines.config.training import FinetuneConfig
from pipelines.errors import StorageError
from pipelines.evaluation.evaluator import evaluate_predictions
from pipelines.evaluation.squad import EXAMPLE_SCHEMA
from pipelines.storage.filesystem import Store
from pipelines.storage.url import Url
from pipelines.training import rank_zero
from pipelines.training.checkpoints import Checkpoints
from pipelines.training.messages import HeldOutScores, StepProgress
from pipelines.training.rank_zero import RankZero, follow, read_history
from tests.pipelines.jobs import mixed_rows

TINY = Path(__file__).parents[2] / "golden" / "models" / "distilbert"
WORDS = (
    *("training.batch_size=4", "training.epochs=0.08", "training.learning_rate=1e-3", "data.held_out_rows=3"),
    *("checkpoints.every_steps=3", "checkpoints.judge_every_steps=4", "qa.max_seq_len=64", "qa.doc_stride=16"),
)


def _table(count: int) -> pa.Table:
    rows = [
        {**row, "answer_texts": row["answers"]["text"], "answer_starts": row["answers"]["answer_start"]}
        for row in mixed_rows(count)
    ]
    return pa.Table.from_pylist(rows, schema=EXAMPLE_SCHEMA)


ROWS = _table(24)[:20]


def _setup(config: FinetuneConfig) -> TrainingSetup:
    place = WorkerRank(torch.device("cpu"), threads=1)
    return assemble(Sources(TINY, None, False), config.qa, config.training, ROWS, place)


def _run(folder: Path, *words: str, held_out: pa.Table = ROWS, first: int = 0) -> tuple[RankZero, list[Any]]:
    config = load_config(FinetuneConfig, None, (*WORDS, *words))
    said: queue.SimpleQueue[Any] = queue.SimpleQueue()
    checkpoints = Checkpoints(Store(Url(str(folder))), "0123abcd")
    worker = RankZero(config, checkpoints, _setup(config), held_out, cast(Any, said))
    if first:
        found = checkpoints.latest()
        assert found is not None
        assert load_state(found[1], worker.setup.student, worker.setup.loop.trainer, found[0]) == first
    worker.train(first)
    return worker, [said.get() for _ in range(said.qsize())]


def test_a_whole_run(tmp_path: Path) -> None:
    worker, said = _run(tmp_path)
    last = worker.setup.loop.total
    assert last > 8
    judged = [word for word in said if isinstance(word, HeldOutScores)]
    every = [0, *range(4, last, 4), last]
    assert [(word.step, word.rows) for word in judged] == [(step, 20 if step in (0, last) else 3) for step in every]
    assert read_history(worker.checkpoints) == judged
    kept = (last - 1) // 3 * 3
    assert worker.checkpoints.names() == [f"0123abcd-{step:09d}.pt" for step in (kept, last)]

    advances = [word for word in said if isinstance(word, StepProgress)]
    assert (advances[-1].step, advances[-1].steps) == (last, last)
    assert 0 < advances[-1].loss < 20
    assert {word.embeddings for word in advances} == {None}
    assert advances[-1].rows_per_second == pytest.approx(4 * advances[-1].steps_per_second)
    assert advances[-1].tokens_per_second > 20 * advances[-1].rows_per_second


def test_how_embeddings_are_kept_is_told(tmp_path: Path) -> None:
    keeping = (f"training.embeddings.{key}" for key in ("distance=1e-6", "slack=0", "weight=20"))
    worker, said = _run(tmp_path, *keeping)
    kept = [word.embeddings for word in said if isinstance(word, StepProgress) and word.embeddings]
    assert kept[-1].distance > 1e-6
    # The first step is where the base is, and all others are too far; the word is of the weight of the last.
    assert kept[-1].weight == pytest.approx(20 * math.exp(0.01 * (worker.setup.loop.total - 3)), rel=2e-3)


def test_a_resumed_run_ends_the_same(tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    whole, _ = _run(tmp_path / "whole")
    folder, last = tmp_path / "cut", whole.setup.loop.total

    class Breaking(Checkpoints):
        def save(self, step: int, state: bytes) -> None:
            if step == 9:
                raise Stop
            super().save(step, state)

    config, said = whole.config, cast(Any, queue.SimpleQueue())
    with pytest.raises(Stop):
        RankZero(config, Breaking(Store(Url(str(folder))), "0123abcd"), _setup(config), ROWS, said).train(0)
    worker, words = _run(folder, first=6)
    assert [word.step for word in words if isinstance(word, HeldOutScores)] == [*range(8, last, 4), last]
    # Scores of before the kill are kept, and all are those of the whole run, as the weights are.
    assert read_history(worker.checkpoints) == read_history(whole.checkpoints)
    one, other = (run.setup.student.state_dict() for run in (worker, whole))
    assert all(torch.equal(one[name], other[name]) for name in other)


def test_a_run_that_only_lacks_its_model_takes_no_step(tmp_path: Path) -> None:
    whole, _ = _run(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    _, words = _run(tmp_path, first=whole.setup.loop.total)
    assert words == []
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_scores_are_those_of_the_answers(tmp_path: Path) -> None:
    worker, said = _run(tmp_path)
    model, spec, qa = worker.setup.student, worker.setup.spec, worker.config.qa
    found = predict_answers(model, spec, qa, *(ROWS[name].combine_chunks() for name in ("question", "context")))
    score = evaluate_predictions(ROWS, pa.table({"answer": found, "no_answer": pa.nulls(20, pa.float64())})).answerable
    last = [word for word in said if isinstance(word, HeldOutScores)][-1]
    assert (last.em, last.f1) == (score.em, score.f1)
    assert score.f1 > 0


def test_an_interval_is_judged_on_rows_from_all_over_the_file(tmp_path: Path) -> None:
    _, said = _run(tmp_path)
    _, alone = _run(tmp_path / "alone", held_out=ROWS.take([0, 6, 13]))
    at_four, alone_at_four = (
        next(word for word in words if isinstance(word, HeldOutScores) and word.step == 4) for words in (said, alone)
    )
    assert at_four == alone_at_four


def test_nothing_held_out_is_never_judged(tmp_path: Path) -> None:
    worker, said = _run(tmp_path, held_out=ROWS[:0])
    assert {type(word) for word in said} == {StepProgress}
    assert read_history(worker.checkpoints) == []


def test_a_store_that_refuses_ends_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="file"):
        _run(tmp_path / "file", held_out=ROWS[:0])


def test_the_others_answer_what_rank_zero_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config(FinetuneConfig, None, WORDS)
    setup, asked = _setup(config), list[int]()
    monkeypatch.setattr(rank_zero, "predict_rows", lambda *words: asked.append(len(words[2])))
    follow(config, setup, ROWS, first=0)
    last = setup.loop.total
    assert asked == [20, *(3 for _ in range(4, last, 4)), 20]
    asked.clear()
    follow(config, _setup(config), ROWS, first=last - 1)
    assert asked == [20]
