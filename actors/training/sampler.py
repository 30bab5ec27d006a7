"""The sampler: which windows go into which step, shuffled, with windows of similar length in a batch."""

from functools import partial

import numpy as np

from actors.arrays import Ints, Longs


def steps_of(windows: int, batch_size: int) -> int:
    """Steps of one epoch; windows that are left over and fill no batch are dropped from this epoch."""
    return max(windows // batch_size, 1)


def epoch_order(lengths: Ints, batch_size: int, bucket_batches: int, seed: int, epoch: int) -> list[Longs]:
    """The batches of an epoch, as positions of windows.

    All windows are shuffled and dealt into buckets of `bucket_batches` batches; a bucket is sorted by length, cut into
    batches, and all batches are shuffled. The same arguments give the same order on every machine, so a resumed run
    needs nothing but its step number.

    Args:
        lengths: [W] tokens of every window.
    """
    rng = np.random.default_rng((seed, epoch))
    shuffled = rng.permutation(len(lengths))[: steps_of(len(lengths), batch_size) * batch_size]
    bucket = batch_size * bucket_batches
    batches = [
        part[np.argsort(lengths[part], kind="stable")][i : i + batch_size]
        for part in (shuffled[k : k + bucket] for k in range(0, len(shuffled), bucket))
        for i in range(0, len(part), batch_size)
    ]
    return [batches[i] for i in rng.permutation(len(batches))]


class StepSampler:
    """The batches of a whole run by step number; only the batches of the current epoch are in memory."""

    def __init__(self, lengths: Ints, batch_size: int, bucket_batches: int, seed: int) -> None:
        """Takes the [W] lengths of all windows; the other arguments are those of `epoch_order`."""
        self._epoch_order = partial(epoch_order, lengths, batch_size, bucket_batches, seed)
        self._steps = steps_of(len(lengths), batch_size)
        self._epoch = -1
        self._batches: list[Longs] = []

    def batch(self, number: int) -> Longs:
        """Batch `number` of the run, from 0, as positions of windows."""
        epoch, place = divmod(number, self._steps)
        if epoch != self._epoch:
            self._epoch, self._batches = epoch, self._epoch_order(epoch)
        return self._batches[place]


def share_of(batch: Longs, rank: int, workers: int) -> Longs:
    """One worker's share of a batch: every n-th window, so that all workers get similar lengths."""
    return batch[rank::workers]
