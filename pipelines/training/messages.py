"""What the workers of a training run tell. Imports nothing: the words pass through a process of their own."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kept:
    """How the embeddings are kept."""

    distance: float
    """From the base's, mean over the steps since the last word."""
    weight: float
    """Of keeping them, beside the answers."""


@dataclass(frozen=True)
class Advance:
    """How far the run is."""

    step: int
    """Steps taken."""
    steps: int
    loss: float
    """Mean over the steps since the last word."""
    kept: Kept | None
    """None where the embeddings are let go."""
    steps_per_second: float
    rows_per_second: float
    """Windows of all workers."""
    tokens_per_second: float
    """Likewise, without padding."""


@dataclass(frozen=True)
class Judged:
    """The held-out rows, answered by the model as it was."""

    step: int
    """Steps taken; 0 is the base."""
    rows: int
    """Answerable rows."""
    em: float
    """Percent, without abstaining."""
    f1: float
    """Percent, without abstaining."""


@dataclass(frozen=True)
class Failed:
    """Something went wrong that would go wrong again."""

    reason: str
