"""Figures of two models' embeddings."""

import numpy as np
import pytest

from models.compare_embeddings import NEIGHBOURS, compare


def unit(
    vectors: "np.ndarray[tuple[int, int], np.dtype[np.float32]]",
) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_the_same_vectors_are_as_close_as_can_be() -> None:
    vectors = unit(np.random.default_rng(0).normal(size=(50, 8)))
    closeness = compare(vectors, vectors)
    assert closeness.mean == pytest.approx(1.0)
    assert closeness.recall == 1.0


def test_a_rotation_keeps_neighbours_and_no_cosine() -> None:
    vectors = unit(np.random.default_rng(0).normal(size=(50, 8)))
    closeness = compare(vectors, np.roll(vectors, 3, axis=1))
    assert closeness.recall == 1.0
    assert closeness.mean < 0.5


def test_strangers_share_neighbours_by_chance_only() -> None:
    rng = np.random.default_rng(0)
    closeness = compare(unit(rng.normal(size=(400, 8))), unit(rng.normal(size=(400, 8))))
    assert closeness.recall < 4 * NEIGHBOURS / 400
