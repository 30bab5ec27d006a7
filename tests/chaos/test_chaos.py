"""The short form of `make chaos`: a worker, a model actor and the driver of one job are killed."""

from pathlib import Path

import pytest

from tests.chaos.bench import open_bench
from tests.chaos.kills import kill_model_actor, kill_other_worker
from tests.chaos.verdict import judge
from tests.chaos.workers import workers_below
from tests.waiting import until

pytestmark = [pytest.mark.ray, pytest.mark.more]


def test_a_worker_an_actor_and_the_driver_are_killed(tmp_path: Path, untrained_model: Path) -> None:
    with open_bench(tmp_path, untrained_model, seed=1, rows=90) as bench, bench.local_job() as job:
        command = job.start()
        pid = command.process.pid
        assert job.wait_for_commit(command)
        # The one that was chosen may end by itself meanwhile.
        until(lambda: kill_other_worker(lambda: workers_below(pid), bench.random))
        assert job.wait_for_commit(command)
        until(lambda: kill_model_actor(workers_below(pid), bench.random))
        assert job.wait_for_commit(command)
        command.process.kill()
        command.process.wait()
        before = len(job.watch)
        again = job.start()
        job.end(again, 0)
    assert len(job.watch) > before, "the job was done before its driver was killed"
    verdict = judge(job.output, job.watch, job.expected, may_write_again=True)
    assert verdict.is_good, verdict.summary()
