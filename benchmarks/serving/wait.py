"""2. Online at 30 % of the capacity, with and without a job that takes all that is left."""

import time

from benchmarks.serving.bench import ONLINE, Bench
from benchmarks.serving.clients import run
from benchmarks.serving.figures import Figures, Goal
from benchmarks.serving.job import SHARED, answering, write_corpus

_ROWS = 50_000
"""More than a round can answer: the job is broken off."""
_SLOWER = 2.0


def measure(bench: Bench) -> Figures:
    """Every round: online alone, then online beside the job."""
    setup = bench.setup
    figures = Figures(f"2. online at {ONLINE:.0%} of capacity ({ONLINE * bench.capacity:.1f} requests/s) beside a job")
    corpus = setup.folder / "saturating.jsonl"
    write_corpus(corpus, _ROWS)
    quantum = setup.parameters.sharing.quantum_ms
    for number in range(setup.rounds):
        alone = run(bench.load(ONLINE, seed=number))
        words = [*setup.job_words, *SHARED]
        with answering(corpus, setup.folder / f"wait-{number}", words) as job:
            job.wait_warm()
            began = time.time()
            beside = run(bench.load(ONLINE, seed=number))
            offline = job.rate(began, began + setup.seconds)
        one_pass = beside.ms(0.5, "inference_ms")
        figures.add("wait in the actor, p50", beside.ms(0.5, "queue_ms"))
        figures.add("wait in the actor, p99", beside.ms(0.99, "queue_ms"))
        figures.add("an online pass, p50", one_pass)
        figures.add("an online pass, p99", beside.ms(0.99, "inference_ms"))
        waited = beside.ms(0.99, "queue_ms") / (quantum + one_pass)
        figures.add(f"wait p99 / (quantum {quantum:g} + one pass)", waited, "", Goal("≤", 1.0))
        figures.add("wait in the actor without the job, p99", alone.ms(0.99, "queue_ms"))
        for share, name in ((0.5, "p50"), (0.99, "p99")):
            figures.add(f"end to end without the job, {name}", alone.ms(share))
            figures.add(f"end to end beside the job, {name}", beside.ms(share))
        figures.add("p50, beside / without", beside.ms(0.5) / alone.ms(0.5), "x")
        figures.add("p99, beside / without", beside.ms(0.99) / alone.ms(0.99), "x", Goal("≤", _SLOWER))
        figures.add("offline beside it", offline, "rows/s")
        failed = sum(alone.failures.values()) + sum(beside.failures.values())
        figures.add("failed", failed, "requests", Goal("=", 0))
    return figures
