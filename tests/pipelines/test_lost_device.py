"""Jobs whose model actors lose their device."""

import io
from pathlib import Path
from shutil import copytree
from typing import Any

import pyarrow.parquet as pq
import pytest
from rich.console import Console
from tokenizers import Tokenizer

from pipelines.errors import JobError
from pipelines.execution.executor import execute
from pipelines.execution.outcome import Outcome
from pipelines.job.job import bind
from tests.actors import lossy_runtime
from tests.pipelines.helpers import qa_rows
from tests.pipelines.jobs import make_job, part_rows, write_jsonl

pytestmark = pytest.mark.usefixtures("cluster")

WORDS = ("model.backend=tests.actors.lossy_runtime:RUNTIME", "corpus.shard_rows=3")


@pytest.fixture
def model(untrained_model: Path, tmp_path: Path) -> Path:
    return Path(copytree(untrained_model, tmp_path / "model"))


def _run(model: Path, output: Path, lines: list[dict[str, Any]], **files: str) -> tuple[Outcome, str]:
    """Runs a job; what breaks the device is written once the driver, which runs the model too, has planned it."""
    corpus = write_jsonl(output.parent / "in.jsonl", lines)
    job = bind(make_job([corpus], output, model, *WORDS), replace=False)
    for name, text in files.items():
        (model / name).write_text(text)
    log = io.StringIO()
    return execute(job, Console(file=log, width=1000)), log.getvalue()


@pytest.mark.more
def test_an_actor_whose_device_is_lost_ends_and_another_computes_its_shards(tmp_path: Path, model: Path) -> None:
    outcome, log = _run(model, tmp_path / "out", qa_rows(12), losses="1")
    assert [row["id"] for row in part_rows(tmp_path / "out")] == [row["id"] for row in qa_rows(12)]
    assert all(row["answer"] for row in part_rows(tmp_path / "out"))
    assert (outcome.counts.rows, outcome.counts.quarantined, outcome.tally.failures) == (12, 0, {})
    assert log.count("model failed: the device is lost: CUDA error: an illegal memory access was encountered\n") == 1
    # The driver's own, the actor's of each of the two passes, and that of the actor that follows the lost one.
    loads = (model / lossy_runtime.LOADS).read_text().splitlines()
    assert len(loads) == 4
    assert len(set(loads)) == len(loads), "every time another process"


@pytest.mark.more
@pytest.mark.parametrize("file", [lossy_runtime.LOSSES, lossy_runtime.BROKEN])
def test_a_device_that_is_lost_every_time_ends_the_job_with_the_reason(tmp_path: Path, model: Path, file: str) -> None:
    """In its first pass in every process, or so that no process can load the model any more.

    Of 15 shards: one is told at each loss, and others give up that wait in an actor at the third loss.
    """
    with pytest.raises(JobError, match=r"the device is lost: CUDA error: .*6 shards in a row.*nvidia-smi"):
        _run(model, tmp_path / "out", qa_rows(45), **{file: "1000000"})
    assert list((tmp_path / "out").glob("part-*")) == []
    assert not (tmp_path / "out" / "_quarantine").exists(), "no row is to blame"


@pytest.mark.more
def test_a_row_at_which_the_device_is_lost_every_time_is_found_and_quarantined(tmp_path: Path, model: Path) -> None:
    poison = Tokenizer.from_file(str(model / "tokenizer.json")).token_to_id("[MASK]")
    rows = qa_rows(9)
    rows[4]["context"] += " [MASK]"
    outcome, _ = _run(model, tmp_path / "out", rows, poison=str(poison))
    assert (outcome.counts.rows, outcome.counts.quarantined, outcome.counts.reasons) == (8, 1, {"failed": 1})
    [row] = pq.read_table(tmp_path / "out" / "_quarantine").to_pylist()
    assert row["id"] == rows[4]["id"]
    assert row["detail"].startswith("the device is lost: CUDA error")


@pytest.mark.more
def test_of_a_device_that_is_always_lost_no_row_is_to_blame(tmp_path: Path, model: Path) -> None:
    """So few shards that the search for poison rows has its turn."""
    with pytest.raises(JobError, match=r"the device was lost 7 times in a row.* the rows are not to blame.*CUDA error"):
        _run(model, tmp_path / "out", qa_rows(3), losses="1000000")
    assert not (tmp_path / "out" / "_quarantine").exists()
