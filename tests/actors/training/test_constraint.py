"""The weight of keeping the embeddings follows the distance, on one worker and on two."""

import math
import multiprocessing
from pathlib import Path

import pytest
import torch
from torch import distributed

from actors.training.constraint import EmbeddingConstraint
from actors.training.parameters import KeepingParameters


def _after(distance: float, steps: int, **settings: float) -> float:
    constraint = EmbeddingConstraint(KeepingParameters.model_validate({"distance": 0.1, "slack": 0.0} | settings))
    for _ in range(steps):
        constraint.follow(torch.tensor(distance), 1.0)
    return constraint.weight


def test_it_moves_by_the_excess_as_a_share_of_what_is_allowed() -> None:
    assert _after(0.1, 5) == pytest.approx(10.0)
    assert _after(0.15, 1) == pytest.approx(10.0 * math.exp(0.005))
    assert _after(0.075, 1) == pytest.approx(10.0 * math.exp(-0.0025))
    assert _after(0.075, 1, slack=0.05) == pytest.approx(10.0 * math.exp(-0.005))
    assert _after(0.0, 3) == pytest.approx(10.0 * math.exp(-0.03))


def test_it_moves_by_a_hundredth_at_most_and_within_bounds() -> None:
    assert _after(1.9, 1) == pytest.approx(10.0 * math.exp(0.01))
    assert _after(1.9, 207) == pytest.approx(10.0 * math.exp(2.07))
    assert _after(1.9, 300) == 80.0
    assert _after(0.0, 300) == 1.0


def test_without_a_distance_nothing_is_kept() -> None:
    constraint = EmbeddingConstraint(KeepingParameters())
    constraint.follow(torch.tensor(1.0), 1.0)
    assert constraint.weight == 0.0


def _worker(rank: int, meeting: Path) -> float:
    """Workers whose texts are at 0.1 and 0.2: together they are at what is allowed."""
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    try:
        constraint = EmbeddingConstraint(KeepingParameters(distance=0.1, slack=0.1, weight=20.0))
        distance = torch.tensor(0.1 * (rank + 1))
        constraint.follow(distance, 0.5)
        assert float(distance) == pytest.approx(0.1 * (rank + 1)), "what the step found is left as it is"
        return constraint.weight
    finally:
        distributed.destroy_process_group()


def test_workers_have_one_weight(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        other = pool.apply_async(_worker, (1, tmp_path / "meeting"))
        ours, theirs = _worker(0, tmp_path / "meeting"), other.get(120)
    assert ours == theirs == pytest.approx(20.0)
