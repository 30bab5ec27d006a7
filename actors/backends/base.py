"""What the engine asks of a runtime."""

from dataclasses import dataclass
from typing import Protocol

from actors.arrays import Floats
from actors.batch import Batch


@dataclass(frozen=True)
class PassOutput:
    """What one forward pass gives back, on the host."""

    start_logits: Floats | None
    """[n, S]; None when no answers were asked for."""
    end_logits: Floats | None
    """[n, S]; None when no answers were asked for."""
    pooled: Floats | None
    """[n, D] weighted sums of the last hidden states; None when no weights were given."""
    peak_bytes: int | None
    """Most memory the pass held beyond the weights; None where the device does not say."""
    hidden: Floats | None = None
    """[n, S, D] last hidden states; None when they were not asked for."""

    def part(self, rows: slice, width: int) -> "PassOutput":
        """What some windows got, cut to a width that holds all of their tokens."""
        start, end, hidden = (
            None if values is None else values[rows, :width]
            for values in (self.start_logits, self.end_logits, self.hidden)
        )
        pooled = None if self.pooled is None else self.pooled[rows]
        return PassOutput(start, end, pooled, self.peak_bytes, hidden)


class Backend(Protocol):
    """A loaded model on one device. Calls come from one thread at a time."""

    @property
    def hidden_size(self) -> int:
        """D, the width of an embedding."""
        ...

    @property
    def memory_limit(self) -> int | None:
        """Bytes that are free for a pass; None where the device does not say."""
        ...

    def forward(
        self, batch: Batch, want_spans: bool, pool_weights: Floats | None, want_hidden: bool = False
    ) -> PassOutput:
        """Runs the model.

        Args:
            want_spans: whether start and end logits are needed.
            pool_weights: [n, S] weights of the last hidden states in `pooled`; None when no embedding is needed.
            want_hidden: whether the hidden states themselves are needed.

        Raises:
            OutOfMemory: the batch does not fit; nothing is left allocated.
        """
        ...
