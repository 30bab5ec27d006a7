"""4. Twice the capacity: what is answered, how late, and how soon the rest is refused."""

from benchmarks.serving.bench import Bench
from benchmarks.serving.clients import quantile_of, run
from benchmarks.serving.figures import Figures, Goal
from benchmarks.serving.service import GATEWAY_REPLICA, PROXY, REPLICA, Service

_LOWER = (0.5, 0.8, 0.95, 1.05)
_LOWER_SECONDS = 15.0
_OVER = 2.0
_OF_BEST, _REFUSAL_MS, _FLAT_MB = 0.9, 100.0, 16.0
_BOUND = 3
"""Remainders of large requests have a third of the device, so they may wait this many times as long as first slices."""


def measure(bench: Bench) -> Figures:
    """Every round: rates up to the capacity, then twice that."""
    setup = bench.setup
    figures = Figures(f"4. {_OVER:g} x capacity ({_OVER * bench.capacity:.1f} requests/s) for {setup.seconds:g} s")
    queue_ms = setup.parameters.sharing.queue_ms
    for number in range(setup.rounds):
        seconds = min(setup.seconds, _LOWER_SECONDS)
        best = max(run(bench.load(share, seconds, seed=number)).goodput() for share in _LOWER)
        before = _memory(bench.service)
        over = run(bench.load(_OVER, seed=number))
        after = _memory(bench.service)
        figures.add("best goodput at lower rates", best, "answers/s")
        figures.add("goodput", over.goodput(), "answers/s")
        figures.add("goodput / best", over.goodput() / best, "", Goal("≥", _OF_BEST))
        figures.add("p50 of what was answered", over.ms(0.5))
        figures.add("p99 of what was answered", over.ms(0.99))
        bound = _BOUND * queue_ms
        figures.add(f"p99 / {_BOUND} x queue_ms ({queue_ms:g})", over.ms(0.99) / bound, "", Goal("≤", 1.0))
        figures.add("refused", 100 * len(over.refused) / len(over.table), "%")
        figures.add("p50 of refusals", quantile_of(over.refused, 0.5))
        figures.add("p99 of refusals", quantile_of(over.refused, 0.99), goal=Goal("≤", _REFUSAL_MS))
        for name, old in before.items():
            figures.add(f"{name} before", old, "MB")
            figures.add(f"{name} grown by", after[name] - old, "MB", Goal("≤", _FLAT_MB))
        figures.note(f"round {number + 1}, not answered: {dict(over.failures)}")
    return figures


def _memory(service: Service) -> dict[str, float]:
    sizes = {}
    for name, title in (("gateway", GATEWAY_REPLICA), ("replica", REPLICA), ("proxy", PROXY)):
        sizes[f"{name} RSS"], sizes[f"{name} PSS"] = service.memory_mb(title)
    return sizes
