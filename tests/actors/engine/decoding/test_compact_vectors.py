"""Vectors in fewer bits, against the published formulas of sentence-transformers and numpy."""

import numpy as np
import numpy.typing as npt
import pytest

from actors.arrays import Floats
from actors.engine.decoding.compact_vectors import compacted, described, directions, number_type, written_width
from actors.parameters import EmbeddingParameters

BINARY, INT8 = EmbeddingParameters(dtype="binary"), EmbeddingParameters(dtype="int8")


def _unit_vectors(rows: int, width: int) -> Floats:
    vectors = np.random.default_rng(0).normal(size=(rows, width)).astype(np.float32)
    unit: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def _in_ranges(vectors: Floats, low: float, high: float) -> npt.NDArray[np.int8]:
    """int8 of sentence-transformers 5.7.0's quantize_embeddings with ranges that are the same in every dimension.

    It cuts the range into 255 steps, and numbers the step that a number lies in.
    """
    steps = np.clip(np.floor((vectors - low) / ((high - low) / 255)), 0, 255)
    whole: npt.NDArray[np.int8] = (steps - 128).astype(np.int8)
    return whole


@pytest.mark.parametrize("width", [1, 7, 8, 9, 384])
def test_binary_is_the_sign_of_every_number_in_its_bit(width: int) -> None:
    vectors = _unit_vectors(20, width)
    vectors[0, 0], vectors[1, 0] = 0.0, -0.0
    packed = compacted(vectors, BINARY)
    assert packed.dtype == number_type(BINARY) == np.uint8
    assert packed.shape == (20, written_width(BINARY, width)) == (20, -(-width // 8))
    for row, numbers in zip(packed, vectors, strict=True):
        bits = "".join(f"{byte:08b}" for byte in row)
        assert bits == "".join("1" if number > 0 else "0" for number in numbers).ljust(len(bits), "0")


def test_float16_cuts_what_it_cannot_hold() -> None:
    vectors = np.array([[0.1, 70_000.0, -1e30, 65_504.0]], dtype=np.float32)
    found = compacted(vectors, EmbeddingParameters(dtype="float16", normalize=False))
    assert found.dtype == np.float16
    assert found.tolist() == [[float(np.float16(0.1)), 65_504, -65_504, 65_504]]
    exact = compacted(vectors, EmbeddingParameters(normalize=False))
    np.testing.assert_array_equal(exact, vectors)


def test_int8_is_the_nearest_of_its_steps_and_comes_back_by_the_scale() -> None:
    vectors = _unit_vectors(50, 64)
    numbers = compacted(vectors, INT8)
    assert numbers.dtype == number_type(INT8) == np.int8
    assert INT8.int8_scale == 1 / 127
    assert np.abs(numbers * np.float32(INT8.int8_scale) - vectors).max() <= INT8.int8_scale / 2 + 1e-7
    cosines = (numbers * vectors).sum(axis=1) / np.linalg.norm(numbers.astype(float), axis=1)
    assert cosines.min() > 0.999


def test_int8_stands_for_what_that_of_sentence_transformers_with_the_same_range_stands_for() -> None:
    """Theirs has 255 steps of 2 / 255, whose middles are half a step beside 0; both are off by half a step at most."""
    vectors = _unit_vectors(50, 64)
    theirs = (_in_ranges(vectors, -1.0, 1.0).astype(np.float64) + 128.5) * 2 / 255 - 1
    ours = compacted(vectors, INT8) * INT8.int8_scale
    assert np.abs(ours - theirs).max() <= 1 / 255 + INT8.int8_scale / 2 + 1e-7


def test_a_smaller_range_is_finer_and_cuts_what_lies_beyond() -> None:
    half = EmbeddingParameters(dtype="int8", int8_range=0.5)
    vectors = np.array([[0.1, -0.5, 0.75, -0.75, 0.0, 0.001]], dtype=np.float32)
    assert compacted(vectors, half).tolist() == [[25, -127, 127, -127, 0, 0]]
    assert compacted(vectors, INT8).tolist() == [[13, -64, 95, -95, 0, 0]]


def test_a_vector_has_the_same_numbers_in_any_company() -> None:
    vectors = _unit_vectors(30, 16)
    vectors[7] *= 0.01
    for embedding in (INT8, BINARY, EmbeddingParameters(dtype="float16")):
        together = compacted(vectors, embedding)
        for row in range(30):
            np.testing.assert_array_equal(compacted(vectors[row : row + 1], embedding)[0], together[row])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_floats_are_cast(dtype: str) -> None:
    embedding = EmbeddingParameters.model_validate({"dtype": dtype})
    vectors = _unit_vectors(3, 5)
    numbers = compacted(vectors, embedding)
    np.testing.assert_array_equal(numbers, vectors.astype(dtype))
    assert numbers.dtype == number_type(embedding)
    assert described(embedding, 5) == {}


def test_a_part_tells_what_its_numbers_stand_for() -> None:
    assert described(INT8, 384) == {
        "embedding.dtype": "int8",
        "embedding.dimensions": "384",
        "embedding.int8_scale": repr(1 / 127),
    }
    cut = EmbeddingParameters(dtype="binary", dimensions=60)
    assert described(cut, 384) == {"embedding.dtype": "binary", "embedding.dimensions": "60"}


def test_written_vectors_point_where_the_vectors_do() -> None:
    vectors = _unit_vectors(40, 256)
    for embedding, least in ((INT8, 0.995), (BINARY, 0.7), (EmbeddingParameters(dtype="float16"), 0.9999)):
        found = directions(compacted(vectors, embedding))
        assert found.dtype == np.float32
        cosines = (found * vectors).sum(axis=1) / np.linalg.norm(found, axis=1)
        assert cosines.min() > least, embedding.dtype
