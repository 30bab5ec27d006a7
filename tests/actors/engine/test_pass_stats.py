"""Counts over passes add up."""

import numpy as np
import pytest

from actors.backends.base import BatchLayout
from actors.engine.pass_stats import LengthBucket, PassStats
from tests.actors.helpers import hand_batch


def _stats() -> PassStats:
    stats = PassStats()
    stats.add_pass(hand_batch([10, 8], [1, 1], [1, 1], 0), BatchLayout.PADDED, 0.5)
    stats.add_pass(hand_batch([64], [1], [1], 0), BatchLayout.PADDED, 0.25)
    stats.add_pass(hand_batch([65, 60, 40], [1, 1, 1], [1, 1, 1], 0), BatchLayout.PADDED, 0.25)
    return stats


def test_passes_are_counted_by_length_bucket() -> None:
    stats = _stats()
    assert stats.buckets == {64: LengthBucket(2, 3, 82, 84, 0.75), 128: LengthBucket(1, 3, 165, 195, 0.25)}
    assert stats.total == LengthBucket(3, 6, 247, 279, 1.0)
    assert stats.batch_sizes() == {64: 1.5, 128: 3.0}
    assert stats.total.padding == pytest.approx(1 - 247 / 279)
    assert stats.milliseconds == {512: 1, 256: 2}


def test_adding_counts_both() -> None:
    total, other = _stats(), _stats()
    other.out_of_memory = 2
    total.add(other)
    assert total.total == LengthBucket(6, 12, 494, 558, 2.0)
    assert (total.out_of_memory, total.milliseconds) == (2, {512: 2, 256: 4})
    assert total.batch_sizes() == _stats().batch_sizes()
    assert other.total.passes == 3, "the other is left as it was"


def test_no_passes_have_no_padding() -> None:
    assert (PassStats().total.padding, PassStats().batch_sizes()) == (0.0, {})
    assert type(_stats().total.tokens) is int, "plain numbers, that any format takes"
    assert not isinstance(_stats().total.tokens, np.integer)


def test_stats_travel_as_json() -> None:
    there_and_back = PassStats.from_json(_stats().to_json())
    assert there_and_back == _stats()
    there_and_back.add(_stats())
    assert there_and_back.buckets[64].passes == 4
    assert PassStats.from_json(PassStats().to_json()) == PassStats()
