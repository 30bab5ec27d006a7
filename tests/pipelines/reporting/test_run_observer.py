"""What is logged and reported of a run that ends early."""

from pathlib import Path

import orjson
import pytest

from pipelines.errors import JobError
from pipelines.job.job import bind
from pipelines.reporting.json_log import logging_to
from pipelines.reporting.progress import Tally
from pipelines.reporting.run_observer import RunObserver
from tests.pipelines.helpers import qa_rows
from tests.pipelines.jobs import make_job, write_jsonl


@pytest.mark.parametrize(
    ("error", "logged"),
    [
        (KeyboardInterrupt(), {"event": "run stopped", "level": "WARNING"}),
        (JobError("s3://me:pass4711@b"), {"event": "run failed", "level": "ERROR", "error": "JobError: s3://b"}),
    ],
)  # fmt: skip
def test_a_run_that_is_stopped_has_not_failed(
    tmp_path: Path, untrained_model: Path, error: BaseException, logged: dict[str, str]
) -> None:
    corpus = write_jsonl(tmp_path / "in.jsonl", qa_rows(2))
    job = bind(make_job([corpus], tmp_path / "out", untrained_model), replace=False)
    with logging_to(tmp_path / "log.jsonl"):
        RunObserver(job, Tally(), 0).fail(error)
    [line] = [orjson.loads(line) for line in (tmp_path / "log.jsonl").read_bytes().splitlines()]
    del line["time"]
    assert line == {**logged, "logger": "spanmill.job", "job": job.manifest.job8}
