"""3. Offline work on replicas against a pool of the job's own, and what both classes do together."""

import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.serving.bench import ONLINE, Bench, Setup, started
from benchmarks.serving.clients import run
from benchmarks.serving.figures import Figures, Goal
from benchmarks.serving.job import SHARED, Job, answering, write_corpus

_ROWS = 50_000
_OF_DEDICATED, _OF_CAPACITY = 0.95, 0.9


def measure(setup: Setup) -> Figures:
    """Every round: the job alone on a service's replicas, the job beside online load, then a pool of its own."""
    figures = Figures("3. offline work: own pool, replicas, and replicas beside online load")
    corpus = setup.folder / "saturating.jsonl"
    write_corpus(corpus, _ROWS)
    for number in range(setup.rounds):
        with started(setup) as bench:
            words = [*setup.job_words, *SHARED]
            alone, beside, online = _on_replicas(bench, corpus, setup.folder / f"share-{number}", words)
        dedicated = _dedicated(setup, corpus, setup.folder / f"dedicated-{number}")
        figures.add("own pool", dedicated, "rows/s")
        figures.add("replicas, no online load", alone, "rows/s")
        figures.add("replicas / own pool", alone / dedicated, "", Goal("≥", _OF_DEDICATED))
        figures.add(f"replicas, online at {ONLINE:.0%}: offline", beside, "rows/s")
        figures.add(f"replicas, online at {ONLINE:.0%}: online", online, "rows/s")
        figures.add("online alone: capacity", bench.capacity, "rows/s")
        shares = beside / alone + online / bench.capacity
        figures.add("both: shares of what each can do alone, added", shares, "", Goal("≥", _OF_CAPACITY))
        figures.add("both: rows/s of own pool's", (beside + online) / dedicated, "")
    return figures


def _on_replicas(bench: Bench, corpus: Path, output: Path, words: Sequence[str]) -> tuple[float, float, float]:
    """Rows per second: the job alone, the job beside online load, online."""
    seconds = bench.setup.seconds
    with answering(corpus, output, words) as job:
        # Passes are short for as long as the requests that measured the capacity are remembered.
        job.wait_warm()
        alone = _rate(job, seconds)
        began = time.time()
        online = run(bench.load(ONLINE)).goodput()
        return alone, job.rate(began, began + seconds), online


def _dedicated(setup: Setup, corpus: Path, output: Path) -> float:
    with answering(corpus, output, setup.job_words) as job:
        job.wait_warm()
        return _rate(job, setup.seconds)


def _rate(job: Job, seconds: float) -> float:
    began = time.time()
    time.sleep(seconds)
    return job.rate(began, began + seconds)
