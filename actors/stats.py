"""What the forward passes over a shard did, in numbers that add up."""

import json
from collections import Counter
from dataclasses import dataclass, field

from actors.collate import Batch

BUCKET = 64
"""Width of the length buckets that statistics are kept by, in tokens."""


@dataclass
class PassStats:
    """Counts over passes."""

    passes: int = 0
    windows: int = 0
    tokens: int = 0
    """Tokens of the windows, without padding."""
    padded_tokens: int = 0
    """Tokens of the windows, with padding."""
    seconds: float = 0.0
    """Time spent in forward passes."""
    out_of_memory: int = 0
    """Passes that did not fit and were halved."""
    bucket_passes: Counter[int] = field(default_factory=Counter)
    """Passes by length bucket: the padded width, rounded up to `BUCKET`."""
    bucket_windows: Counter[int] = field(default_factory=Counter)
    """Windows by length bucket."""

    def add_pass(self, batch: Batch, seconds: float) -> None:
        """Counts one pass."""
        bucket = -(-batch.width // BUCKET) * BUCKET
        self.passes += 1
        self.windows += batch.windows
        self.tokens += int(batch.lengths.sum())
        self.padded_tokens += batch.windows * batch.width
        self.seconds += seconds
        self.bucket_passes[bucket] += 1
        self.bucket_windows[bucket] += batch.windows

    def add(self, other: "PassStats") -> None:
        """Counts another's passes too."""
        self.passes += other.passes
        self.windows += other.windows
        self.tokens += other.tokens
        self.padded_tokens += other.padded_tokens
        self.seconds += other.seconds
        self.out_of_memory += other.out_of_memory
        self.bucket_passes.update(other.bucket_passes)
        self.bucket_windows.update(other.bucket_windows)

    @property
    def padding(self) -> float:
        """Share of padding among the tokens that were computed."""
        return 1 - self.tokens / self.padded_tokens if self.padded_tokens else 0.0

    def batch_sizes(self) -> dict[int, float]:
        """Mean windows of a pass, by length bucket."""
        return {b: self.bucket_windows[b] / n for b, n in sorted(self.bucket_passes.items())}

    def to_json(self) -> str:
        """The counts as a JSON object."""
        return json.dumps(vars(self))

    @classmethod
    def from_json(cls, text: str) -> "PassStats":
        """The inverse of `to_json`."""
        counts = json.loads(text)
        for name in ("bucket_passes", "bucket_windows"):
            counts[name] = Counter({int(bucket): n for bucket, n in counts[name].items()})
        return cls(**counts)
