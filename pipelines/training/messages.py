"""Messages from the workers of a training run to the driver. Ray's queue actor unpickles them, so no heavy imports."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EmbeddingDrift:
    """How far the embeddings are from the base's, and how strongly they are held."""

    distance: float
    """Distance from the base's embeddings, mean over the steps since the last message."""
    weight: float
    """Weight of the loss term that keeps them."""


@dataclass(frozen=True)
class StepProgress:
    """How far the run is, and how fast."""

    step: int
    """Steps taken."""
    steps: int
    """Steps of the whole run."""
    loss: float
    """Mean over the steps since the last message."""
    embeddings: EmbeddingDrift | None
    """None where the run does not keep embeddings."""
    steps_per_second: float
    rows_per_second: float
    """Windows of all workers per second."""
    tokens_per_second: float
    """Tokens of all workers per second, without padding."""


@dataclass(frozen=True)
class HeldOutScores:
    """Scores on the held-out rows, at one step of the run."""

    step: int
    """Steps taken; 0 is the base."""
    rows: int
    """Answerable rows."""
    em: float
    """Percent, without abstaining."""
    f1: float
    """Percent, without abstaining."""


@dataclass(frozen=True)
class WorkerFailed:
    """An error that another try would meet again."""

    reason: str
