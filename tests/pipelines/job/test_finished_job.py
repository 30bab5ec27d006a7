"""Jobs that are complete already are known without their model being loaded, and no others are taken for it."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.config.job import AnswerConfig
from pipelines.config.loader import load_config
from pipelines.job.finished_job import find_finished
from pipelines.job.job import Job, bind, find_places
from pipelines.output.parts import REPORT_JSON, ShardId, write_success
from pipelines.output.row_counts import RowCounts
from pipelines.schemas import QUARANTINE_SCHEMA
from tests.pipelines.helpers import qa_rows
from tests.pipelines.jobs import make_job, write_jsonl

WORDS = ("embedding.pooling=mean", "corpus.carry=[day]")


def _asked(folder: Path, model: Path, *words: str, limit: int | None = None) -> RowCounts | None:
    config = load_config(AnswerConfig, None, [f"model.name={model}", *WORDS, *words])
    return find_finished(find_places([str(folder / "in")], str(folder / "out"), config), config, limit)


@pytest.fixture
def finished(tmp_path: Path, untrained_model: Path) -> Path:
    """A folder with the input `in`, and with `out` as a job leaves it that is done: four rows and a bad one."""
    write_jsonl(tmp_path / "in" / "a.jsonl", [{**row, "day": 1} for row in qa_rows(5)])
    job = bind(make_job([tmp_path / "in"], tmp_path / "out", untrained_model, *WORDS), replace=False)
    _commit(job, ShardId(0, 0, True))
    write_success(job.store, {})
    (tmp_path / "out" / REPORT_JSON).write_text("{}")
    return tmp_path


def _commit(job: Job, shard: ShardId) -> None:
    rows = pa.Table.from_pylist([{"id": "q0"}] * 4, job.schema)
    bad = pa.table({name: [None] for name in QUARANTINE_SCHEMA.names}, schema=QUARANTINE_SCHEMA)
    job.parts.commit(shard, rows, bad, {})


def test_a_job_that_is_done_is_found_with_its_counts(finished: Path, untrained_model: Path) -> None:
    found = _asked(finished, untrained_model)
    assert found is not None
    assert (found.total, found.rows, found.quarantined) == (5, 4, 1)
    # Keys that change no row may be others.
    assert _asked(finished, untrained_model, "pool.size=3", "corpus.shard_rows=7") is not None
    # Its precision is what it was begun with, also where there are GPUs now.
    assert _asked(finished, untrained_model, "model.device=cuda") is not None


@pytest.mark.parametrize(
    "keys",
    [
        "embedding.dtype=binary",
        "embedding.dimensions=5",
        "embedding.pooling=[cls, max]",
        "embedding.of=question",
        "embedding={of: [passage, question], dtype: int8, dimensions: 7, pooling: [mean, last]}",
    ],
)
def test_a_job_with_vectors_of_another_kind_is_found_too(tmp_path: Path, untrained_model: Path, keys: str) -> None:
    write_jsonl(tmp_path / "in" / "a.jsonl", [{**row, "day": 1} for row in qa_rows(5)])
    job = bind(make_job([tmp_path / "in"], tmp_path / "out", untrained_model, *WORDS, keys), replace=False)
    _commit(job, ShardId(0, 0, True))
    write_success(job.store, {})
    (tmp_path / "out" / REPORT_JSON).write_text("{}")
    assert _asked(tmp_path, untrained_model, keys) is not None
    assert _asked(tmp_path, untrained_model) is None


@pytest.mark.parametrize(
    "words",
    [
        ("qa.top_k=2",),
        ("embedding=null",),
        ("corpus.carry=[]",),
        ("corpus.damaged=quarantine",),
        ("model.dtype=bfloat16",),
        ("model.precision=fast",),
    ],
)
def test_another_config_is_another_job(finished: Path, untrained_model: Path, words: tuple[str, ...]) -> None:
    assert _asked(finished, untrained_model, *words) is None


def test_another_limit_is_another_job(finished: Path, untrained_model: Path) -> None:
    assert _asked(finished, untrained_model, limit=3) is None


def test_too_many_bad_rows_are_for_the_job_to_say(finished: Path, untrained_model: Path) -> None:
    assert _asked(finished, untrained_model, "max_quarantined=0") is None


def _new_file(folder: Path) -> None:
    write_jsonl(folder / "in" / "b.jsonl", qa_rows(1))


def _changed_file(folder: Path) -> None:
    write_jsonl(folder / "in" / "a.jsonl", qa_rows(6))


def _lost_part(folder: Path) -> None:
    next((folder / "out").glob("part-*")).unlink()


def _lost_mark(folder: Path) -> None:
    (folder / "out" / "_SUCCESS").unlink()


def _lost_report(folder: Path) -> None:
    (folder / "out" / REPORT_JSON).unlink()


def _other_schema(folder: Path) -> None:
    manifest = folder / "out" / "_manifest.json"
    manifest.write_text(manifest.read_text().replace("score: double", "score: float"))


@pytest.mark.parametrize("change", [_new_file, _changed_file, _lost_part, _lost_mark, _lost_report, _other_schema])
def test_whatever_is_not_as_it_was_is_for_the_job_to_find(
    finished: Path, untrained_model: Path, change: Callable[[Path], None]
) -> None:
    change(finished)
    assert _asked(finished, untrained_model) is None
