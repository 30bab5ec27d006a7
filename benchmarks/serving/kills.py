"""5. SIGKILL of a replica while both classes have work in hand, again and again."""

import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.serving.bench import ONLINE, Bench
from benchmarks.serving.clients import running
from benchmarks.serving.figures import Figures, Goal
from benchmarks.serving.job import SHARED, Job, answering, read_answers, write_corpus
from benchmarks.serving.load import read_sample
from benchmarks.serving.service import REPLICA

_ROWS = 3_000
_SAME_SCORE = 1e-4
_CALM_SECONDS = (3.0, 6.0)
"""Between one that is ready and its end."""
_LOAD_SECONDS = 30.0
_MOST_SECONDS = 180.0


def measure(bench: Bench) -> Figures:
    """One round: jobs one after another until all kills are done, the last one to its end; every row is compared."""
    setup = bench.setup
    figures = Figures(f"5. {setup.kills} x SIGKILL of a replica, online at {ONLINE:.0%}, a job beside it")
    corpus = setup.folder / "killed.jsonl"
    write_corpus(corpus, _ROWS)
    words = [*setup.job_words, *SHARED]
    failures: Counter[str] = Counter()
    killed, asked = 0, 0
    rng = random.Random(7)
    expected = _expected(bench)
    for number in range(setup.kills):
        if killed >= setup.kills:
            break
        output = setup.folder / f"killed-{number}"
        with answering(corpus, output, words) as job:
            job.wait_warm()
            for failed, requests, seconds in _kill(bench, job, setup.kills - killed, rng):
                failures += failed
                asked += requests
                killed += 1
                figures.add("ready again after", seconds, "s")
                setup.console.print(f"kill {killed}: ready after {seconds:.1f} s, {dict(failed)}", style="dim")
            code = job.end()
        figures.add("exit code of the job", code, "", Goal("=", 0))
        figures.add("rows that differ from a job of its own pool", _differing(output, expected), "rows", Goal("=", 0))
        shutil.rmtree(output)
    figures.add("kills", killed, "")
    figures.add("online requests", asked, "")
    figures.add("online failures", sum(failures.values()), "")
    figures.note(f"online failures by status and reason: {dict(failures) or 'none'}")
    return figures


def _kill(bench: Bench, job: Job, most: int, rng: random.Random) -> Iterator[tuple[Counter[str], int, float]]:
    """Failures and number of online requests, and seconds until ready, of each kill while the job runs."""
    for seed in range(most):
        with ExitStack() as stack:
            wait = stack.enter_context(running(bench.load(ONLINE, _LOAD_SECONDS, seed)))
            time.sleep(rng.uniform(*_CALM_SECONDS))
            if job.process.poll() is not None:
                return
            os.kill(rng.choice(bench.service.pids(REPLICA)), signal.SIGKILL)
            seconds = bench.service.wait_ready(_MOST_SECONDS)
            outcomes = wait()
        yield outcomes.failures, len(outcomes.table), seconds


def _expected(bench: Bench) -> pa.Table:
    """The sample's answers by a job with a pool of its own."""
    folder = bench.setup.folder
    write_corpus(folder / "sample.jsonl", len(read_sample()))
    with answering(folder / "sample.jsonl", folder / "expected", bench.setup.job_words) as job:
        if job.end():
            raise RuntimeError(f"the job with its own pool failed: {job.log.read_text()[-2000:]}")
    return read_answers(folder / "expected")


def _differing(output: Path, expected: pa.Table) -> int:
    """Rows that are missing, come twice, or have another span or score than the same row of a dedicated job."""
    found = read_answers(output)
    distinct = len(pc.unique(found["id"]))
    base = pc.replace_substring_regex(found["id"], r"#\d+$", "#0")
    right = expected.take(pc.index_in(base, expected["id"].combine_chunks()))
    same = pc.less_equal(pc.abs(pc.subtract(found["score"], right["score"])), _SAME_SCORE)
    for name in ("answer", "start", "end"):
        same = pc.and_(same, pc.fill_null(pc.equal(found[name], right[name]), False))
    return abs(_ROWS - distinct) + len(found) - distinct + len(found) - int(pc.sum(same).as_py())
