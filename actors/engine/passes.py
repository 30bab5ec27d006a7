"""A pass on its way: whose windows it computes, and what came of it."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import NamedTuple

from actors.arrays import Longs
from actors.backends.base import PassOutput, SubmittedPass
from actors.batch import Batch
from actors.engine.cost_model import PassShape
from actors.engine.inference_task import InferenceTask


class Share(NamedTuple):
    """The windows of one task in a pass."""

    task: InferenceTask
    chosen: Longs
    """[n] positions of these windows among those of the task."""


@dataclass(frozen=True)
class Pass:
    """A forward pass that took place."""

    online: bool
    size: PassShape
    tokens: int
    """Without padding."""
    seconds: float
    waited: float
    """Seconds that it waited for its turn on the device; not those behind the pass that the device has already."""


@dataclass(frozen=True)
class PassInFlight:
    """A pass that the device has taken, and whose results nobody has taken yet."""

    shares: tuple[Share, ...]
    batches: tuple[Batch, ...]
    """Of each share."""
    size: PassShape
    online: bool
    waited: float
    submitted: SubmittedPass
    turn: ExitStack
    """What is left once the device is done: whoever waits for it is next."""

    @property
    def task(self) -> InferenceTask:
        """The first one; all want the same of the model."""
        return self.shares[0].task

    @property
    def tokens(self) -> int:
        """Without padding."""
        return sum(int(batch.lengths.sum()) for batch in self.batches)

    def parts(self, output: PassOutput) -> Iterator[tuple[Share, Batch, PassOutput]]:
        """What each share got of the pass."""
        for share, batch, rows in zip(self.shares, self.batches, rows_of(self.batches), strict=True):
            yield share, batch, output.part(rows, batch.width)


def rows_of(batches: Sequence[Batch]) -> Iterator[slice]:
    """Where the windows of each batch lie when all are stacked."""
    first = 0
    for batch in batches:
        yield slice(first, first + batch.windows)
        first += batch.windows
