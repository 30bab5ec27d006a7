"""Several tenants on one simulated device: who gets how much of it, and who waits for whom, under open-loop load."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pytest

from actors.tenants import NO_TENANT, TenantWeights
from actors.tokenization.tokenized import Tokenized
from tests.actors.scheduling.simulation import (
    KINDS,
    QUANTUM,
    SMALL,
    WAIT,
    Cost,
    Outcome,
    Simulation,
    capacity,
    cpu,
    gpu,
    poisson,
)

SECONDS = 12.0
WEIGHTS = TenantWeights({"default": 1.0, "a": 1.0, "b": 1.0, "c": 2.0})
Mixture = Sequence[float]
"""Which part of the requests is small, medium and large."""
SMALL_ONES, MIXED, LONG_ONES = (1.0, 0.0, 0.0), (0.8, 0.2, 0.0), (0.0, 0.9, 0.1)


def _tokens(mixture: Mixture) -> float:
    """Of a request, in the mean."""
    return sum(share * float(kind.lengths(2).sum()) for share, kind in zip(mixture, KINDS, strict=True))


def _arrivals(asked: Mapping[str, tuple[float, Mixture]]) -> Iterator[tuple[float, Tokenized, str]]:
    """Of tenants that ask for so many tokens a second, in such requests."""
    for seed, (tenant, (tokens, mixture)) in enumerate(asked.items()):
        for at, kind in poisson(tokens / _tokens(mixture), SECONDS, mixture, seed):
            yield at, kind, tenant


def _of(simulation: Simulation, tenant: str, since: float = 0.0) -> list[Outcome]:
    return [one for one in simulation.outcomes if one.tenant == tenant and one.arrived > since]


def _computed(simulation: Simulation, began: float) -> int:
    """Tokens, until the last request has come."""
    return sum(tokens for ended, _, tokens in simulation.engine.computed if began < ended <= began + SECONDS)


@pytest.fixture(scope="module")
def tokens_per_second() -> dict[Cost, float]:
    return {cost: _tokens(MIXED) * capacity(cost, MIXED) for cost in (cpu, gpu)}


@pytest.mark.parametrize(
    ("cost", "mixtures", "loads"),
    [
        pytest.param(cpu, (MIXED, MIXED, MIXED), (1.0, 1.0, 1.0), id="asking alike"),
        pytest.param(cpu, (MIXED, MIXED, MIXED), (3.0, 0.75, 1.5), id="one asks most"),
        pytest.param(cpu, (SMALL_ONES, LONG_ONES, MIXED), (0.75, 1.0, 1.5), id="small and long ones"),
        pytest.param(gpu, (MIXED, MIXED, MIXED), (2.0, 0.75, 1.5), id="passes that are shared"),
    ],
)
def test_tenants_that_ask_for_more_than_there_is_share_by_weight(
    cost: Cost, mixtures: Sequence[Mixture], loads: Sequence[float], tokens_per_second: dict[Cost, float]
) -> None:
    asked = {
        tenant: (load * tokens_per_second[cost], mixture)
        for tenant, load, mixture in zip("abc", loads, mixtures, strict=True)
    }
    simulation = Simulation(cost, weights=WEIGHTS)
    began = simulation.clock.now
    simulation.load_of(_arrivals(asked))
    # After the first seconds, in which queues fill up, and until the last request has come.
    found = simulation.shares(began + 3.0, began + SECONDS)
    for tenant, share in {"a": 0.25, "b": 0.25, "c": 0.5}.items():
        assert found[tenant] == pytest.approx(share, rel=0.1), found
    # Those of the first seconds were taken when there was nobody else.
    small = [one for one in _of(simulation, "a", began + 3.0) if one.kind is SMALL and not one.refused]
    assert np.quantile([one.wait for one in small], 0.99) < 1.25 * WAIT


def test_a_flood_of_one_tenant_has_nobody_else_refused_or_wait(tokens_per_second: dict[Cost, float]) -> None:
    capacity = tokens_per_second[cpu]
    asked = {"a": (8 * capacity, MIXED), "b": (0.1 * capacity, SMALL_ONES), "c": (0.1 * capacity, MIXED)}
    simulation = Simulation(cpu, weights=WEIGHTS).load_of(_arrivals(asked))
    assert np.mean([one.refused for one in _of(simulation, "a")]) > 0.3
    for tenant in "bc":
        assert not any(one.refused for one in _of(simulation, tenant))
    # A pass of others, and those of its own that came with it.
    assert np.quantile([one.wait for one in _of(simulation, "b")], 0.99) < 6 * QUANTUM


def test_a_readiness_probe_waits_for_nobodys_queue(tokens_per_second: dict[Cost, float]) -> None:
    capacity = tokens_per_second[cpu]
    asked = {"default": (4 * capacity, MIXED), "a": (4 * capacity, MIXED), "c": (4 * capacity, MIXED)}
    probes = [(float(at), SMALL, NO_TENANT) for at in range(1, int(SECONDS))]
    simulation = Simulation(cpu, weights=WEIGHTS).load_of([*_arrivals(asked), *probes])
    found = _of(simulation, NO_TENANT)
    assert len(found) == len(probes)
    assert max(one.wait for one in found) < 6 * QUANTUM


def test_what_a_tenant_leaves_goes_to_the_others(tokens_per_second: dict[Cost, float]) -> None:
    capacity = tokens_per_second[cpu]
    asked = {"a": (2 * capacity, MIXED), "b": (2 * capacity, MIXED), "c": (0.2 * capacity, MIXED)}
    simulation = Simulation(cpu, weights=WEIGHTS)
    began = simulation.clock.now
    simulation.load_of(_arrivals(asked))
    assert not any(one.refused for one in _of(simulation, "c"))
    found = simulation.shares(began + 3.0, began + SECONDS)
    assert found["a"] == pytest.approx(found["b"], rel=0.1)
    together = Simulation(cpu).load_of((at, kind, "default") for at, kind, _ in _arrivals(asked))
    assert _computed(simulation, began) > 0.95 * _computed(together, began), "no more is lost than within one tenant"


def test_a_tenant_that_was_away_is_owed_nothing() -> None:
    simulation = Simulation(cpu, weights=WEIGHTS)
    began = simulation.clock.now
    first = [(0.0, SMALL, "a")] * 400
    later = [(1.0, SMALL, tenant) for tenant in "ab" for _ in range(300)]
    simulation.load_of([*first, *later])
    found = simulation.shares(began + 1.1, began + 2.0)
    assert found["b"] == pytest.approx(0.5, abs=0.05), "it does not make up for the second without it"


@pytest.mark.parametrize("share", [0.7, 2.0])
def test_a_tenant_that_is_alone_is_served_as_if_there_were_no_others(share: float) -> None:
    """In the same order, at the same moments, and with the same refusals: no throughput is lost."""
    arrivals = [(at, kind) for at, kind in poisson(share * capacity(cpu), SECONDS)]
    plain = Simulation(cpu).load(iter(arrivals)).outcomes
    alone = Simulation(cpu, weights=WEIGHTS).load(iter(arrivals)).outcomes
    for one, other in zip(plain, alone, strict=True):
        assert (one.arrived, one.refused) == (other.arrived, other.refused)
        assert one.done == other.done or one.refused
    assert any(one.refused for one in plain) == (share > 1)
