"""Statistics of forward passes: counts and times that can be added up over shards."""

import json
from collections import Counter
from dataclasses import dataclass, field

from actors.backends.base import BatchLayout
from actors.batch import Batch
from actors.engine.cost_model import PassShape

BUCKET = 64
"""Width of the length buckets that statistics are kept by, in tokens."""


@dataclass
class LengthBucket:
    """Counts over the passes of one length bucket."""

    passes: int = 0
    windows: int = 0
    tokens: int = 0
    """Tokens of the windows, without padding."""
    padded_tokens: int = 0
    """Tokens of the windows, with padding."""
    seconds: float = 0.0
    """Time spent in forward passes."""

    def add(self, other: "LengthBucket") -> None:
        """Counts another's passes too."""
        self.passes += other.passes
        self.windows += other.windows
        self.tokens += other.tokens
        self.padded_tokens += other.padded_tokens
        self.seconds += other.seconds

    @property
    def padding(self) -> float:
        """Share of padding among the tokens that were computed."""
        return 1 - self.tokens / self.padded_tokens if self.padded_tokens else 0.0


@dataclass
class PassStats:
    """Counts over passes."""

    buckets: dict[int, LengthBucket] = field(default_factory=dict)
    """By length bucket: tokens of the longest window of a pass, rounded up to `BUCKET`."""
    milliseconds: Counter[int] = field(default_factory=Counter)
    """Passes by their time: milliseconds, rounded up to a power of two."""
    out_of_memory: int = 0
    """Passes that did not fit and were halved."""

    def add_pass(self, batch: Batch, layout: BatchLayout, seconds: float) -> None:
        """Counts one pass."""
        computed = PassShape.of(batch.lengths, layout).tokens
        done = LengthBucket(1, batch.windows, int(batch.lengths.sum()), computed, seconds)
        self._bucket(-(-batch.width // BUCKET) * BUCKET).add(done)
        self.milliseconds[1 << max(int(seconds * 1000), 0).bit_length()] += 1

    def add(self, other: "PassStats") -> None:
        """Counts another's passes too."""
        for width, bucket in other.buckets.items():
            self._bucket(width).add(bucket)
        self.milliseconds.update(other.milliseconds)
        self.out_of_memory += other.out_of_memory

    @property
    def total(self) -> LengthBucket:
        """All buckets together."""
        total = LengthBucket()
        for bucket in self.buckets.values():
            total.add(bucket)
        return total

    def batch_sizes(self) -> dict[int, float]:
        """Mean windows of a pass, by length bucket."""
        return {width: bucket.windows / bucket.passes for width, bucket in sorted(self.buckets.items())}

    def to_json(self) -> str:
        """The counts as a JSON object."""
        buckets = {width: vars(bucket) for width, bucket in self.buckets.items()}
        return json.dumps(vars(self) | {"buckets": buckets})

    @classmethod
    def from_json(cls, text: str) -> "PassStats":
        """The inverse of `to_json`."""
        counts = json.loads(text)
        return cls(
            buckets={int(width): LengthBucket(**bucket) for width, bucket in counts["buckets"].items()},
            milliseconds=Counter({int(limit): n for limit, n in counts["milliseconds"].items()}),
            out_of_memory=counts["out_of_memory"],
        )

    def _bucket(self, width: int) -> LengthBucket:
        return self.buckets.setdefault(width, LengthBucket())
