"""How many workers a training run has, and what each takes."""

from typing import Any

import pytest

from pipelines.config.training import WorkerParameters
from pipelines.errors import ConfigError
from pipelines.training.ray_trainer import plan_workers


@pytest.mark.parametrize(
    ("number", "cpus", "resources", "expected"),
    [
        (None, None, {"CPU": 1.0}, (1, 1.0, 0, 1)),
        (None, None, {"CPU": 2.0}, (1, 2.0, 0, 2)),
        (None, None, {"CPU": 16.0}, (1, 15.0, 0, 15)),
        (2, None, {"CPU": 16.0}, (2, 7.0, 0, 7)),
        (2, 1.0, {"CPU": 2.0}, (2, 1.0, 0, 1)),
        (4, None, {"CPU": 2.0}, (4, 0.5, 0, 1)),
        (3, 0.5, {"CPU": 2.0}, (3, 0.5, 0, 1)),
        (None, None, {"CPU": 16.0, "GPU": 4.0}, (4, 3.0, 1, 3)),
        (2, None, {"CPU": 16.0, "GPU": 4.0}, (2, 7.0, 1, 7)),
    ],
)
def test_workers_share_the_cluster(
    number: int | None, cpus: float | None, resources: dict[str, float], expected: tuple[int, float, int, int]
) -> None:
    scaling, threads = plan_workers(WorkerParameters(number=number, cpus=cpus), resources)
    share: Any = scaling.resources_per_worker
    assert (scaling.num_workers, share["CPU"], share.get("GPU", 0), threads) == expected
    assert scaling.use_gpu == bool(expected[2])


@pytest.mark.parametrize(
    ("number", "cpus", "resources", "words"),
    [
        (3, 1.0, {"CPU": 2.0}, "3 workers need 3 CPUs, the cluster has 2; lower workers.number or workers.cpus"),
        (None, 4.0, {"CPU": 2.0}, "1 workers need 4 CPUs"),
        (3, None, {"CPU": 16.0, "GPU": 2.0}, "3 workers need 3 GPUs, the cluster has 2; lower workers.number$"),
    ],
)
def test_workers_that_the_cluster_cannot_hold(
    number: int | None, cpus: float | None, resources: dict[str, float], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        plan_workers(WorkerParameters(number=number, cpus=cpus), resources)
