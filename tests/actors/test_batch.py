"""Windows end to end, and the same padded."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.batch import Batch
from tests.actors.helpers import hand_batch

PAD = 99


def _batch(lengths: Sequence[int]) -> Batch:
    batch = hand_batch(lengths, [0] * len(lengths), lengths, None)
    return replace(batch, ids=np.arange(sum(lengths), dtype=np.int32), pad_id=PAD)


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6), width=st.integers(0, 2))
def test_padding_is_taken_off_again(lengths: list[int], width: int) -> None:
    batch = _batch(lengths)
    shape = (sum(lengths), width) if width else (sum(lengths),)
    values = np.random.default_rng(0).random(shape, dtype=np.float32)
    padded = batch.pad(values)
    assert padded.dtype == np.float32
    assert padded.shape == (len(lengths), max(lengths), *shape[1:])
    np.testing.assert_array_equal(batch.unpad(padded), values)
    first = 0
    for row, length in enumerate(lengths):
        np.testing.assert_array_equal(padded[row, :length], values[first : first + length])
        assert not padded[row, length:].any()
        first += length


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_ids_masks_and_positions(lengths: list[int]) -> None:
    batch = replace(_batch(lengths), types=np.ones(sum(lengths), dtype=np.int32))
    rows = np.split(np.arange(sum(lengths)), np.cumsum(lengths)[:-1])
    padding = [max(lengths) - length for length in lengths]
    assert batch.input_ids.tolist() == [[*row, *[PAD] * more] for row, more in zip(rows, padding, strict=True)]
    ones = [[1] * length + [0] * more for length, more in zip(lengths, padding, strict=True)]
    assert batch.token_type_ids is not None
    assert batch.token_type_ids.tolist() == ones
    assert (batch.attention_mask is None) == (not any(padding))
    if batch.attention_mask is not None:
        assert batch.attention_mask.tolist() == ones
    assert batch.positions.tolist() == [place for length in lengths for place in range(length)]
    assert {array.dtype for array in (batch.input_ids, batch.token_type_ids)} == {np.dtype(np.int64)}


@pytest.mark.parametrize(("cls", "row"), [(None, "..PP..."), (0, "P.PP..."), (5, "..PP.P.")])
def test_an_answer_may_be_on_the_passage_and_on_the_cls_token(cls: int | None, row: str) -> None:
    batch = hand_batch([7, 6], [2, 1], [2, 1], cls)
    assert "".join(".P"[flag] for flag in batch.answer_mask[0].tolist()) == row
    assert "".join(".P"[flag] for flag in batch.passage_mask[1].tolist()) == ".P....."
