"""Figures of two models' embeddings."""

import numpy as np
import numpy.typing as npt
import pytest

from models.compare_embeddings import NEIGHBOURS, compare


def random_vectors(rows: int, seed: int = 0) -> npt.NDArray[np.float32]:
    vectors = np.random.default_rng(seed).normal(size=(rows, 8))
    unit: npt.NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def test_the_same_vectors_are_as_close_as_can_be() -> None:
    vectors = random_vectors(50)
    closeness = compare(vectors, vectors)
    assert closeness.mean == pytest.approx(1.0)
    assert closeness.recall == 1.0


def test_a_rotation_keeps_neighbours_and_no_cosine() -> None:
    vectors = random_vectors(50)
    closeness = compare(vectors, np.roll(vectors, 3, axis=1))
    assert closeness.recall == 1.0
    assert closeness.mean < 0.5


def test_strangers_share_neighbours_by_chance_only() -> None:
    closeness = compare(random_vectors(400), random_vectors(400, seed=1))
    assert closeness.recall < 4 * NEIGHBOURS / 400


def test_few_texts_have_few_neighbours() -> None:
    vectors = random_vectors(3)
    assert compare(vectors, vectors).recall == 1.0
    with pytest.raises(ValueError, match=r"two texts of at most 256 tokens .* not 1"):
        compare(vectors[:1], vectors[:1])
