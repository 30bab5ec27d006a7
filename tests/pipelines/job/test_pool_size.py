"""How many actors, and what they take."""

from typing import Any

import pytest

from pipelines.config.job import PoolParameters
from pipelines.errors import ConfigError
from pipelines.job.pool_size import ActorPool, check_placement, plan_pool


def _plan(resources: dict[str, float], threads: int | None = None, nodes: int = 1, **parameters: Any) -> ActorPool:
    return plan_pool(PoolParameters(**parameters), threads, resources, nodes)


def test_one_actor_with_every_thread_where_there_is_no_gpu() -> None:
    assert _plan({"CPU": 8}) == ActorPool(size=1, max_size=1, cpus=1.0, gpus=0.0, threads=8)


def test_one_actor_per_gpu() -> None:
    assert _plan({"CPU": 32, "GPU": 4}) == ActorPool(size=4, max_size=4, cpus=1.0, gpus=1.0, threads=8)


def test_gpus_can_be_shared_and_left_alone() -> None:
    assert _plan({"CPU": 32, "GPU": 4}, gpus=0.5).size == 8
    assert _plan({"CPU": 32, "GPU": 4}, gpus=0).gpus == 0.0


def test_threads_are_shared_out_among_the_actors_of_a_machine() -> None:
    assert _plan({"CPU": 8}, size=3).threads == 2
    assert _plan({"CPU": 32}, size=4, nodes=4).threads == 8
    assert _plan({"CPU": 8}, size=3, threads=5).threads == 5
    assert _plan({"CPU": 2}, size=4, cpus=0.25).threads == 1


def test_a_pool_may_grow_and_has_threads_for_its_largest_size() -> None:
    pool = _plan({"CPU": 8}, size=1, max_size=3)
    assert (pool.size, pool.max_size, pool.threads) == (1, 3, 2)


def test_a_shared_service_has_a_feeder_for_every_replica_unless_the_job_says_otherwise() -> None:
    resources = {"CPU": 8.0}
    assert plan_pool(PoolParameters(kind="serve"), None, resources, replicas=3).size == 3
    assert plan_pool(PoolParameters(kind="serve", size=2), None, resources, replicas=3).size == 2
    bounded = plan_pool(PoolParameters(kind="serve", max_size=2), None, resources, replicas=3)
    assert (bounded.size, bounded.max_size) == (2, 2)


def test_a_machine_of_one_cpu_has_a_pool_too() -> None:
    assert _plan({"CPU": 1}).cpus == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("resources", "parameters", "message"),
    [
        ({"CPU": 2.0}, {"size": 2, "cpus": 1}, "2 actors of 1 CPU leave less than 0.6 of the cluster's 2 CPUs"),
        ({"CPU": 8.0}, {"gpus": 1}, "1 actors of 1 GPU need 1, the cluster has 0"),
        ({"CPU": 8.0, "GPU": 1.0}, {"size": 2}, "2 actors of 1 GPU need 2, the cluster has 1"),
    ],
)
def test_a_pool_that_does_not_fit_is_refused_since_ray_would_wait_for_ever(
    resources: dict[str, float], parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        _plan(resources, **parameters)


@pytest.mark.parametrize(
    ("resources", "nodes", "side_by_side", "pool"),
    [
        ({"CPU": 8}, 1, 4, ActorPool(size=4, max_size=4, cpus=1.0, gpus=0.0, threads=2)),
        ({"CPU": 2}, 1, 2, ActorPool(size=2, max_size=2, cpus=0.7, gpus=0.0, threads=1)),
        ({"CPU": 16}, 2, 2, ActorPool(size=4, max_size=4, cpus=1.0, gpus=0.0, threads=4)),
        ({"CPU": 8, "GPU": 2}, 1, 2, ActorPool(size=4, max_size=4, cpus=1.0, gpus=0.5, threads=2)),
    ],
)
def test_actors_side_by_side_share_a_machine_or_a_gpu(
    resources: dict[str, float], nodes: int, side_by_side: int, pool: ActorPool
) -> None:
    assert plan_pool(PoolParameters(), None, resources, nodes, side_by_side=side_by_side) == pool


def test_actors_that_are_given_are_not_multiplied() -> None:
    assert plan_pool(PoolParameters(size=1), None, {"CPU": 8}, side_by_side=4).size == 1
    assert plan_pool(PoolParameters(gpus=0.5), None, {"CPU": 8, "GPU": 1}, side_by_side=4).size == 2


def test_an_actor_must_fit_into_one_node() -> None:
    """Four CPUs in all are not four in one place."""
    small = [("10.0.0.1", {"CPU": 2.0}), ("10.0.0.2", {"CPU": 2.0, "GPU": 1.0})]
    said = r"of 1 actors of 3 CPU each 0 find room; the largest nodes are 10\.0\.0\.2 \(2 CPU, 1 GPU\), 10\.0\.0\.1"
    with pytest.raises(ConfigError, match=said):
        check_placement(ActorPool(1, 1, cpus=3.0, gpus=0.0, threads=1), small)


def test_some_actors_without_room_are_warned_of_and_the_others_run() -> None:
    small = [("10.0.0.1", {"CPU": 2.0}), ("10.0.0.2", {"CPU": 2.0, "GPU": 1.0})]
    said = check_placement(ActorPool(2, 2, cpus=1.0, gpus=1.0, threads=1), small)
    assert said is not None
    assert "of 2 actors of 1 CPU and 1 GPU each 1 find room" in said
    assert said.endswith("; the others start when nodes with room join")


def test_fractions_of_a_gpu_and_feeders_fit() -> None:
    assert not check_placement(ActorPool(3, 3, cpus=0.1, gpus=1 / 3, threads=1), [("one", {"CPU": 1.0, "GPU": 1.0})])
    assert not check_placement(ActorPool(5, 9, cpus=0.05, gpus=0.0, threads=1), [("one", {"CPU": 0.16})] * 2)
