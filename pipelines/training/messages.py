"""Messages from the workers of a training run to the driver. Ray's queue actor unpickles them, so no heavy imports."""

from dataclasses import dataclass
from typing import Protocol


class Messages(Protocol):
    """What takes the messages of a run: a queue of Ray's, or the display itself."""

    def put(self, item: object, /) -> None:
        """Takes one message."""


@dataclass(frozen=True)
class TeacherAlignment:
    """How the tokens of a teacher stand to the student's, and how much of the student's windows it reads."""

    exact_share: float | None
    """Share of the tokens of its passages that stand where one of the student's stands; None where both have one
    tokenizer."""
    windows: int
    """Windows of the student."""
    unread: int
    """Windows out of `windows` that are learnt from by their labels alone."""

    def __str__(self) -> str:
        said = []
        if self.exact_share is not None:
            said.append(f"the teacher has another tokenizer: {self.exact_share:.1%} of its tokens are the base's too")
        if self.unread:
            said.append(f"windows that are learnt from by their labels alone: {self.unread:,} of {self.windows:,}")
        return "; ".join(said)


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
