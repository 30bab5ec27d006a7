"""A report whose figures are given by hand."""

from pipelines.bench.figures import (
    BatchPoint,
    Curves,
    Line,
    Machine,
    PassPoint,
    Report,
    Round,
    ScalePoint,
    Turn,
)


def make_report() -> Report:
    """Three rounds of 100 rows; an engine, another, and one that failed."""
    rates: dict[str, tuple[float, ...]] = {"sgemm": (1e9, 1e9, 3e9), "fastest float32 product": (2e9, 2e9, 2e9)}
    lines = (
        Line(
            "engine", "engine", "the engine", "measured", is_own=True, precision="float32", turns=_turns(1.0, 2.0, 3.0)
        ),
        Line(
            "other", "other", "another", "measured", precision="int8", setting="8 a batch", turns=_turns(2.0, 8.0, 3.0)
        ),
        Line("third", "third", "a third", "failed", "ended by signal 9"),
    )
    curves = Curves(
        tuple(BatchPoint(size, 100 * size / (size + 3)) for size in (1, 2, 4, 8, 16)),
        BatchPoint(6.3, 75.0),
        tuple(ScalePoint(actors, threads, 10.0 * actors * threads) for actors, threads in ((1, 1), (2, 1), (1, 2))),
        tuple(PassPoint(n, 100 * n, 0.01 * n, 0.011 * n) for n in range(1, 30)),
    )
    machine = Machine("A CPU", 2, ("avx2",), 8.0, None, "3.11.0", {"torch": "2.9"})
    rounds = tuple(Round(100, 110, 1000, 1e9, rates, "sgemm") for _ in range(3))
    return Report("answer", "minilm-qa", 2, "generated", machine, rounds, lines, curves)


def _turns(*seconds: float) -> tuple[Turn, ...]:
    return tuple(Turn(one, 0.99) for one in seconds)
