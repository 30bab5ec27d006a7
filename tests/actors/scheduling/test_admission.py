"""Who is taken under open-loop load, and how long those who were taken wait, in simulated time."""

import math

import numpy as np
import pytest

from actors.engine.engine import Engine
from actors.engine.inference_task import Wanted
from actors.errors import QueueFull
from actors.parameters import BatchingParameters
from actors.scheduling.admission import Admission
from actors.scheduling.request import QueuedRequest
from tests.actors.helpers import TableBackend
from tests.actors.scheduling.deep_backend import DeepBackend
from tests.actors.scheduling.simulation import (
    LARGE,
    MEDIUM,
    QUANTUM,
    SMALL,
    SPEC,
    WAIT,
    WANTED,
    Cost,
    Simulation,
    SteppedScheduler,
    capacity,
    cpu,
    gpu,
    poisson,
)

SECONDS = 20.0


@pytest.fixture(scope="module")
def capacities() -> dict[Cost, float]:
    return {cost: capacity(cost) for cost in (cpu, gpu)}


@pytest.mark.parametrize("cost", [cpu, gpu])
@pytest.mark.parametrize("share", [0.5, 1.0, 2.0])
def test_what_is_taken_waits_no_longer_than_it_may_and_the_device_stays_busy(
    cost: Cost, share: float, capacities: dict[Cost, float]
) -> None:
    simulation = Simulation(cost)
    began = simulation.clock.now
    simulation.load(poisson(share * capacities[cost], SECONDS))
    taken = [outcome for outcome in simulation.outcomes if not outcome.refused]
    assert np.quantile([outcome.wait for outcome in taken], 0.99) < WAIT
    assert len(taken) / (simulation.clock.now - began) > 0.9 * min(share, 1.0) * capacities[cost]
    for outcome in simulation.of(LARGE):
        # It is sure of a third of the device, and may be late only where load has doubled while it was there.
        bound = max(WAIT, WAIT / 2 + 2 * outcome.own)
        assert outcome.refused or outcome.wait < bound * (2 if share > 1 else 1)
    small, medium = simulation.refused(SMALL), simulation.refused(MEDIUM)
    if share == 0.5:
        assert (small, medium) == (0.0, 0.0)
    elif share == 1.0:
        assert small < 0.02
        assert medium < 0.15
    elif cost is cpu:
        assert small == 0.0, "what overloads the device is the work of others"


def test_no_small_request_is_refused_where_others_are_answered_at_once(capacities: dict[Cost, float]) -> None:
    simulation = Simulation(gpu).load(poisson(2 * capacities[gpu], SECONDS))
    small = simulation.of(SMALL)
    refused = [outcome for outcome in small if outcome.refused]
    assert refused
    for outcome in refused:
        nearest = min((one for one in small if not one.refused), key=lambda one: abs(one.arrived - outcome.arrived))
        assert nearest.wait > WAIT / 3


@pytest.mark.parametrize("cost", [cpu, gpu])
def test_a_hundred_small_requests_at_once_are_all_taken(cost: Cost) -> None:
    simulation = Simulation(cost).load((0.0, SMALL) for _ in range(100))
    assert simulation.refused(SMALL) == 0.0
    assert max(outcome.wait for outcome in simulation.outcomes) < WAIT


def test_a_request_that_takes_longer_than_others_may_wait_shuts_nobody_out() -> None:
    simulation = Simulation(cpu, max_wait=0.01)
    simulation.load(iter([(0.0, LARGE), (0.001, SMALL), (0.002, SMALL)]))
    assert [outcome.refused for outcome in simulation.outcomes[:2]] == [False, False]


def test_what_looks_inside_the_model_counts_by_the_time_of_its_own_passes() -> None:
    engine = Engine(DeepBackend(lambda tokens: 0.01 * tokens), SPEC, BatchingParameters(max_windows=4))
    wanted = Wanted(layer_vectors=True)
    engine.finish(engine.begin(LARGE, wanted))
    scheduler = SteppedScheduler(engine, QUANTUM, 100, math.inf)
    request = scheduler.submit(engine.begin(MEDIUM, wanted))
    # Six windows of 128 tokens.
    assert Admission(engine, 100, WAIT).backlog([request]) == pytest.approx(6 * 1.28, rel=0.05)


def test_beyond_a_number_of_requests_there_is_no_room() -> None:
    engine = Engine(TableBackend(), SPEC, BatchingParameters())
    request = QueuedRequest(engine.begin(SMALL, WANTED), math.inf, 0.0)
    Admission(engine, 2, WAIT).check(request, [request], 0.0)
    with pytest.raises(QueueFull, match="2 requests wait already"):
        Admission(engine, 2, WAIT).check(request, [request] * 2, 0.0)
