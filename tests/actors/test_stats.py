"""Counts over passes add up."""

import numpy as np
import pytest

from actors.stats import PassStats
from tests.actors.helpers import hand_batch


def _stats() -> PassStats:
    stats = PassStats()
    stats.add_pass(hand_batch([10, 8], [1, 1], [1, 1], 0), 0.5)
    stats.add_pass(hand_batch([64], [1], [1], 0), 0.25)
    stats.add_pass(hand_batch([65, 60, 40], [1, 1, 1], [1, 1, 1], 0), 0.25)
    return stats


def test_passes_are_counted_by_length_bucket() -> None:
    stats = _stats()
    assert (stats.passes, stats.windows, stats.tokens, stats.padded_tokens) == (3, 6, 247, 279)
    assert stats.seconds == 1.0
    assert stats.bucket_passes == {64: 2, 128: 1}
    assert stats.bucket_windows == {64: 3, 128: 3}
    assert stats.batch_sizes() == {64: 1.5, 128: 3.0}
    assert stats.padding == pytest.approx(1 - 247 / 279)


def test_adding_counts_both() -> None:
    total, other = _stats(), _stats()
    other.out_of_memory = 2
    total.add(other)
    assert (total.passes, total.windows, total.tokens, total.padded_tokens) == (6, 12, 494, 558)
    assert (total.seconds, total.out_of_memory) == (2.0, 2)
    assert total.bucket_passes == {64: 4, 128: 2}
    assert total.batch_sizes() == _stats().batch_sizes()
    assert other.passes == 3, "the other is left as it was"


def test_no_passes_have_no_padding() -> None:
    assert (PassStats().padding, PassStats().batch_sizes()) == (0.0, {})
    assert type(_stats().tokens) is int, "plain numbers, that any format takes"
    assert not isinstance(_stats().tokens, np.integer)


def test_stats_travel_as_json() -> None:
    there_and_back = PassStats.from_json(_stats().to_json())
    assert there_and_back == _stats()
    there_and_back.add(_stats())
    assert there_and_back.bucket_passes == {64: 4, 128: 2}
    assert PassStats.from_json(PassStats().to_json()) == PassStats()
