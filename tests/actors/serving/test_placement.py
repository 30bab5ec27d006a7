"""A replica's threads are its share of its own machine; replicas that do not fit are named."""

import pytest

from actors.serving.placement import Replicas, replicas_here, shortage, threads_of_replica

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


def test_replicas_of_other_models_share_the_machine_too() -> None:
    big, gpu = {"CPU": 8.0}, {"CPU": 16.0, "GPU": 2.0}
    assert replicas_here(big, [big, big], 4, cpus=1, gpus=0) == 2
    assert replicas_here(big, [big, gpu], 2, cpus=1, gpus=1) == 0, "it has no GPU for them"
    assert threads_of_replica(big, [big, big], 2, cpus=1, gpus=0, others=3) == 2
    assert threads_of_replica(big, [big], 1, cpus=1, gpus=0, others=20) == 1


def _wanted(*of: tuple[str, int, float, float]) -> list[Replicas]:
    return [Replicas(*one) for one in of]


@pytest.mark.parametrize(
    ("wanted", "machines"),
    [
        (_wanted(("a", 1, 1, 0), ("gateway", 1, 0.1, 0)), [{"CPU": 2.0}]),
        (_wanted(("a", 10, 0.1, 0)), [{"CPU": 1.0}]),
        (_wanted(("small", 2, 1, 0), ("large", 1, 4, 0)), [{"CPU": 4.0}, {"CPU": 2.0}]),
        (_wanted(("on CPUs", 8, 1, 0), ("on GPUs", 2, 1, 1)), [{"CPU": 4.0, "GPU": 2.0}, {"CPU": 8.0}]),
        (_wanted(("a", 1, 1, 0), ("b", 1, 0, 0)), [{"CPU": 1.0}]),
    ],
)
def test_nothing_is_said_of_replicas_that_fit(wanted: list[Replicas], machines: list[dict[str, float]]) -> None:
    assert shortage(wanted, machines) is None


def test_replicas_that_do_not_fit_are_named_with_numbers() -> None:
    said = shortage(_wanted(("first", 1, 1, 0), ("second", 2, 1, 0), ("gateway", 1, 0.1, 0)), [{"CPU": 2.0}])
    assert said == (
        "the replicas do not fit the cluster: wanted are first 1 of 1 CPU; second 2 of 1 CPU; gateway 1 of 0.1 CPU; "
        "there are 2 CPU on one machine, and no room for 1 of second, 1 of gateway"
    )
    said = shortage(_wanted(("a", 1, 3, 0), ("b", 1, 1, 1)), [{"CPU": 2.0}, {"CPU": 2.0}])
    assert said is not None
    assert "b 1 of 1 CPU and 1 GPU; there are 4 CPU on 2 machines, and no room for 1 of b, 1 of a" in said
