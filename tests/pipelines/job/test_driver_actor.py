"""The driver of a job as an actor; that a job through Ray's client has one, tests/cluster/test_jobs.py shows."""

import io
import logging
import os
import threading
import time
from pathlib import Path

import pytest
from ray.exceptions import ActorDiedError, RayTaskError
from rich.console import Console

from pipelines.errors import JobError
from pipelines.job.driver_actor import _Driver, _raised, in_cluster, is_outside
from pipelines.job.job import Job
from tests.pipelines.helpers import qa_rows
from tests.pipelines.jobs import make_job, write_jsonl

on_cluster = pytest.mark.usefixtures("cluster")


@pytest.fixture
def job(tmp_path: Path, untrained_model: Path) -> Job:
    corpus = write_jsonl(tmp_path / "in.jsonl", qa_rows(3))
    return make_job([corpus], tmp_path / "out", untrained_model, "ray.passes=2")


def _say(job: Job, console: Console, rows: int) -> tuple[int, int]:
    console.print(f"{job.kind} of {rows} rows")
    logging.getLogger("spanmill.job").warning("said", extra={"rows": rows})
    return rows, os.getpid()


@on_cluster
def test_what_is_printed_and_logged_there_appears_here(job: Job, caplog: pytest.LogCaptureFixture) -> None:
    out = io.StringIO()
    rows, pid = in_cluster(_say, job, Console(file=out, width=100), 7)
    assert (rows, out.getvalue()) == (7, "answer of 7 rows\n")
    assert pid != os.getpid()
    (record,) = [record for record in caplog.records if record.name == "spanmill.job"]
    assert (record.getMessage(), record.__dict__["rows"]) == ("said", 7)


@on_cluster
def test_a_quiet_console_stays_quiet(job: Job) -> None:
    out = io.StringIO()
    in_cluster(_say, job, Console(file=out, quiet=True), 7)
    assert not out.getvalue()


def _fail(job: Job, console: Console) -> None:
    raise JobError("shards are missing")


@on_cluster
def test_an_error_is_the_one_that_was_raised(job: Job) -> None:
    with pytest.raises(JobError, match=r"^shards are missing$"):
        in_cluster(_fail, job, Console(file=io.StringIO()))


def _die(job: Job, console: Console, mark: Path, times: int) -> str:
    with mark.open("a") as file:
        file.write("x")
    if len(mark.read_text()) <= times:
        os._exit(1)
    return "done"


@on_cluster
def test_another_driver_goes_on_as_often_as_the_job_has_rounds(job: Job, tmp_path: Path) -> None:
    out = io.StringIO()
    assert in_cluster(_die, job, Console(file=out), tmp_path / "once", 1) == "done"
    assert "another one goes on" in out.getvalue()
    with pytest.raises(JobError, match=r"lost with its node 2 times.*the same command goes on"):
        in_cluster(_die, job, Console(file=out), tmp_path / "always", 2)


@on_cluster
def test_a_cluster_that_is_connected_directly_is_not_outside(job: Job) -> None:
    assert not is_outside(job.config)


@pytest.mark.parametrize("cause", [ActorDiedError(), ConnectionError("the head is away")])
def test_an_error_of_rays_that_the_call_met_is_not_the_loss_of_its_driver(cause: Exception) -> None:
    raised = _raised(RayTaskError("run", "", cause))  # type: ignore[no-untyped-call]
    assert isinstance(raised, JobError)
    assert str(raised).startswith(f"{type(cause).__name__}: ")
    mine = JobError("shards are missing")
    assert _raised(RayTaskError("run", "", mine)) is mine  # type: ignore[no-untyped-call]


def test_a_call_that_is_stopped_ends_as_by_ctrl_c() -> None:
    driver, begun, ends = _Driver(100, False, logging.INFO), threading.Event(), list[str]()

    def waits(job: Job, console: Console) -> None:
        begun.set()
        try:
            while True:
                time.sleep(0.01)
        except BaseException as error:
            ends.append(type(error).__name__)
            raise

    def run() -> None:
        with pytest.raises(JobError, match=r"^stopped$"):
            driver.run(waits, None)  # type: ignore[arg-type]
        ends.append("over")

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert begun.wait(10)
    driver.stop()
    thread.join(10)
    assert ends == ["KeyboardInterrupt", "over"]
    driver.stop()
