"""Which windows go into which step."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.arrays import Ints, Longs
from actors.training.sampler import StepSampler, epoch_order, share_of, steps_of

LENGTHS = st.lists(st.integers(8, 384), min_size=1, max_size=120).map(lambda found: np.array(found, dtype=np.int32))
SIZES = st.integers(1, 9)


def _same(one: list[Longs], other: list[Longs]) -> bool:
    return [batch.tolist() for batch in one] == [batch.tolist() for batch in other]


@given(LENGTHS, SIZES, st.integers(1, 6), st.integers(0, 3), st.integers(0, 3))
def test_every_window_at_most_once_and_all_batches_full(
    lengths: Ints, size: int, buckets: int, seed: int, epoch: int
) -> None:
    batches = epoch_order(lengths, size, buckets, seed, epoch)
    assert len(batches) == steps_of(len(lengths), size)
    seen = np.concatenate(batches)
    assert len(set(seen.tolist())) == len(seen)
    assert set(seen.tolist()) <= set(range(len(lengths)))
    # Less than a batch waits for the next epoch, and a set smaller than a batch is one.
    assert {len(batch) for batch in batches} == {min(size, len(lengths))}
    assert len(lengths) - len(seen) < size
    assert _same(batches, epoch_order(lengths, size, buckets, seed, epoch))


@given(LENGTHS, SIZES)
def test_in_one_bucket_no_two_batches_overlap_in_length(lengths: Ints, size: int) -> None:
    batches = epoch_order(lengths, size, len(lengths), 1, 0)
    ranges = sorted((int(lengths[batch].min()), int(lengths[batch].max())) for batch in batches)
    assert all(one[1] <= other[0] for one, other in pairwise(ranges))


def test_small_buckets_pad_more_than_large_ones_and_less_than_none() -> None:
    lengths = np.random.default_rng(0).integers(8, 384, 4000).astype(np.int32)

    def padded(buckets: int) -> int:
        return sum(int(lengths[batch].max()) * len(batch) for batch in epoch_order(lengths, 16, buckets, 1, 0))

    amounts = [padded(buckets) for buckets in (1, 10, 250)]
    assert amounts == sorted(amounts, reverse=True)
    assert amounts[1] < 1.1 * lengths.sum() < amounts[0]


def test_epochs_and_seeds_differ() -> None:
    lengths = np.arange(100, dtype=np.int32)
    orders = [epoch_order(lengths, 8, 3, seed, epoch) for seed in (1, 2) for epoch in (0, 1)]
    assert not any(_same(orders[i], orders[j]) for i in range(4) for j in range(i))
    # What one epoch leaves out, others take.
    assert set(np.concatenate([*orders[0], *orders[1], *orders[2]]).tolist()) == set(range(100))


@pytest.mark.parametrize("workers", [1, 2, 3, 5])
def test_workers_share_a_batch(workers: int) -> None:
    batch = np.arange(100, 116)
    shares = [share_of(batch, rank, workers) for rank in range(workers)]
    assert sorted(np.concatenate(shares).tolist()) == batch.tolist()
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(LENGTHS, SIZES, st.integers(0, 60))
def test_a_run_takes_its_epochs_one_after_the_other_wherever_it_begins(lengths: Ints, size: int, first: int) -> None:
    order, each = StepSampler(lengths, size, 3, 7), steps_of(len(lengths), size)
    for number in range(first, first + 5):
        expected = epoch_order(lengths, size, 3, 7, number // each)[number % each]
        assert order.batch(number).tolist() == expected.tolist()
