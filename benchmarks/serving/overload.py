"""4. Half, once and twice the capacity: what is answered, how late, and how soon the rest is refused.

Requests come at random moments, whatever becomes of those before them.
"""

from benchmarks.serving.bench import Bench
from benchmarks.serving.clients import quantile_of, run
from benchmarks.serving.figures import Figures, Goal
from benchmarks.serving.service import GATEWAY_REPLICA, PROXY, REPLICA, Service

_LOWER = (0.5, 0.8, 1.0, 1.1)
_LOWER_SECONDS = 15.0
_OVER = 2.0
_OF_BEST, _REFUSAL_MS, _FLAT_MB = 0.9, 100.0, 16.0
_HALF, _ONCE = 0.5, 1.0
_OF_ITS_OWN = 0.99
"""Quantile of the times at half the capacity that stands for what a large request takes by itself."""


def measure(bench: Bench) -> Figures:
    """Every round: rates up to the capacity, then twice that; beside what queue_ms promises."""
    setup = bench.setup
    figures = Figures(f"4. {_OVER:g} x capacity ({_OVER * bench.capacity:.1f} requests/s) for {setup.seconds:g} s")
    queue_ms = setup.parameters.sharing.queue_ms
    for number in range(setup.rounds):
        seconds = min(setup.seconds, _LOWER_SECONDS)
        lower = {share: run(bench.load(share, seconds, seed=number)) for share in _LOWER}
        best = max(outcomes.goodput() for outcomes in lower.values())
        before = _memory(bench.service)
        over = run(bench.load(_OVER, seed=number))
        after = _memory(bench.service)
        figures.add("best goodput at lower rates", best, "answers/s")
        figures.add("goodput", over.goodput(), "answers/s")
        figures.add("goodput / best", over.goodput() / best, "", Goal("≥", _OF_BEST))
        figures.add("p50 of what was answered", over.ms(0.5))
        own = lower[_HALF].ms(_OF_ITS_OWN)
        for share, outcomes in ((_HALF, lower[_HALF]), (_ONCE, lower[_ONCE]), (_OVER, over)):
            figures.add(f"{share:g} x capacity: refused", 100 * len(outcomes.refused) / len(outcomes.table), "%")
            goal = Goal("≤", queue_ms + own)
            figures.add(f"{share:g} x capacity: p99, against queue_ms and own time", outcomes.ms(0.99), goal=goal)
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
