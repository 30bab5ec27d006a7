"""What a pass gives back, cut to what one of several calls has in it."""

import numpy as np

from actors.backends.base import PassOutput


def test_a_part_holds_the_rows_of_one_call_and_no_more_columns_than_it_has() -> None:
    logits, hidden = np.arange(12.0, dtype=np.float32).reshape(3, 4), np.zeros((3, 4, 2), dtype=np.float32)
    pooled = np.arange(6.0, dtype=np.float32).reshape(3, 1, 2)
    part = PassOutput(logits, -logits, pooled, 7, hidden, maxima=-pooled).part(slice(1, 3), 2)
    assert part.start_logits is not None
    assert part.end_logits is not None
    assert part.hidden is not None
    assert part.pooled is not None
    assert part.start_logits.tolist() == [[4, 5], [8, 9]]
    assert part.end_logits.tolist() == [[-4, -5], [-8, -9]]
    assert part.hidden.shape == (2, 2, 2)
    assert part.pooled.tolist() == [[[2, 3]], [[4, 5]]]
    assert part.maxima is not None
    assert part.maxima.tolist() == [[[-2, -3]], [[-4, -5]]]
    assert part.peak_bytes == 7


def test_what_was_not_asked_for_is_in_no_part() -> None:
    part = PassOutput(None, None, None, None).part(slice(0, 1), 1)
    assert part == PassOutput(None, None, None, None)
