"""1. One client and an idle service: what HTTP, gateway and queue add to the engine's own time."""

import statistics
import time

import pyarrow as pa

from actors.engine.engine import Engine
from actors.models.hub import find_model
from actors.models.loading import load_engine
from actors.parameters import BatchingParameters, QAParameters
from actors.tokenization.preprocess import prepare_pairs
from benchmarks.serving.bench import Bench
from benchmarks.serving.clients import quantile_of, run
from benchmarks.serving.figures import Figures, Goal
from benchmarks.serving.load import Load, read_sample

_MOST_SECONDS = 10.0
_WARM_UP = 20
_OVERHEAD_MS = 2.0


def measure(bench: Bench) -> Figures:
    """Every round: the no-op, the row over HTTP and the row in this process, one after another."""
    figures = Figures("1. one client, idle service, one row of median length")
    seconds = min(bench.setup.seconds, _MOST_SECONDS)
    sample = read_sample()
    row = sorted(range(len(sample)), key=lambda i: len(sample[i]["context"]))[len(sample) // 2]
    parameters = bench.setup.parameters
    engine = load_engine(find_model(parameters.model), parameters.model, BatchingParameters(), with_qa_head=True)
    for _ in range(bench.setup.rounds):
        noop = quantile_of(run(Load(bench.service.url, seconds, live=True)).table, 0.5)
        outcomes = run(Load(bench.service.url, seconds, row=row))
        prepare, bare = _engine_ms(engine, sample[row], seconds, noop / 1000)
        figures.add("POST /answer, p50", outcomes.ms(0.5))
        figures.add("POST /answer, p99", outcomes.ms(0.99))
        figures.add("GET /live (no-op), p50", noop)
        figures.add("bare engine, row in, answer out, p50", bare)
        figures.add("of it: tokenising, p50", prepare)
        figures.add("overhead: /answer - /live - engine", outcomes.ms(0.5) - noop - bare, goal=Goal("≤", _OVERHEAD_MS))
        for part in ("tokenise", "queue", "inference"):
            figures.add(f"X-{part.title()}-Ms, p50", outcomes.ms(0.5, f"{part}_ms"))
        figures.add("failed", sum(outcomes.failures.values()), "requests", Goal("=", 0))
    return figures


def _engine_ms(engine: Engine, row: dict[str, str], seconds: float, pause: float) -> tuple[float, float]:
    """Medians of preparing a row, and of preparing and answering it.

    Args:
        pause: seconds between two rows, as HTTP makes them; in a loop without, caches and OpenMP's workers stay awake,
            which takes some milliseconds off a pass that no single request could ever have.
    """
    qa = QAParameters()
    question, context = pa.array([row["question"]]), pa.array([row["context"]])
    prepare: list[float] = []
    bare: list[float] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until or len(bare) <= _WARM_UP:
        time.sleep(pause)
        started = time.perf_counter()
        prepared, _ = prepare_pairs(engine.spec, qa, question, context)
        middle = time.perf_counter()
        engine.answer(prepared, qa)
        prepare.append((middle - started) * 1000)
        bare.append((time.perf_counter() - started) * 1000)
    return statistics.median(prepare[_WARM_UP:]), statistics.median(bare[_WARM_UP:])
