"""A replica's threads are its share of its own machine."""

import pytest

from actors.serving.placement import threads_of_replica

EIGHT = {"CPU": 8.0}


@pytest.mark.parametrize(
    ("machines", "replicas", "threads"),
    [
        ([EIGHT], 1, 8),
        ([EIGHT], 3, 2),
        ([EIGHT] * 4, 4, 8),
        ([EIGHT] * 4, 6, 4),
        ([{}, {"CPU": 0.0}, EIGHT, EIGHT], 2, 8),
        ([EIGHT], 20, 1),
    ],
)
def test_only_replicas_of_the_same_machine_share_its_cpus(
    machines: list[dict[str, float]], replicas: int, threads: int
) -> None:
    assert threads_of_replica(EIGHT, machines, replicas, cpus=1, gpus=0) == threads


def test_no_more_replicas_share_a_machine_than_it_can_hold() -> None:
    gpu, cpu = {"CPU": 16.0, "GPU": 2.0}, {"CPU": 64.0}
    assert threads_of_replica(gpu, [gpu, cpu, cpu], 8, cpus=1, gpus=1) == 8
    assert threads_of_replica(gpu, [gpu], 8, cpus=0, gpus=0.5) == 4
    assert threads_of_replica({"CPU": 2.0}, [{"CPU": 2.0}] * 2, 9, cpus=1, gpus=0) == 1
