"""The best spans of windows, as they come from a pass, before they are merged into the answers of rows."""

from dataclasses import dataclass, fields

import numpy as np

from actors.arrays import Floats, Ints, Longs


@dataclass(frozen=True)
class Candidates:
    """The K best spans of n windows, best first; unused places have start -1."""

    start: Ints
    """[n, K] first token of the span, counted from the window's first passage token."""
    end: Ints
    """[n, K] last token of the span, counted likewise."""
    score: Floats
    """[n, K] probability: softmax of the start logits times softmax of the end logits."""
    null_score: Floats
    """[n] probability that the window holds no answer; 0 without a CLS token."""

    @classmethod
    def empty(cls, windows: int, k: int) -> "Candidates":
        """Room for the candidates of `windows` windows."""
        return cls(
            start=np.full((windows, k), -1, dtype=np.int32),
            end=np.full((windows, k), -1, dtype=np.int32),
            score=np.zeros((windows, k), dtype=np.float32),
            null_score=np.zeros(windows, dtype=np.float32),
        )

    def part(self, windows: slice | Longs) -> "Candidates":
        """Those of some of the windows; views of them for a slice."""
        return Candidates(*(getattr(self, field.name)[windows] for field in fields(self)))

    def first(self, k: int) -> "Candidates":
        """The k best of every window; views."""
        return Candidates(self.start[:, :k], self.end[:, :k], self.score[:, :k], self.null_score)

    def put(self, windows: Longs, part: "Candidates") -> None:
        """Stores the candidates of the windows at these positions."""
        k = part.start.shape[1]
        self.start[windows, :k] = part.start
        self.end[windows, :k] = part.end
        self.score[windows, :k] = part.score
        self.null_score[windows] = part.null_score


@dataclass(frozen=True)
class SpanSearch:
    """Which spans are looked for in some windows of a pass."""

    windows: slice
    """These windows, by their places in the pass."""
    k: int
    """How many, the best first."""
    max_answer_len: int
    """Tokens of the longest."""
