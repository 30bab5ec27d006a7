"""What one run of a job did."""

from dataclasses import dataclass

from pipelines.output.row_counts import RowCounts
from pipelines.reporting.progress import Tally

POISON_ROWS = 3
"""Exit code of a job that is complete, but for rows that broke the model or its worker, where the config has none."""


@dataclass(frozen=True)
class Outcome:
    """What one run of a job did."""

    tally: Tally
    counts: RowCounts
    """Of the whole job, earlier runs included."""
    shards_before: int
    """Shards that earlier runs had committed."""
    seconds: float
    """From the first shard's start to the last commit, start-up of Ray and model included."""
    rate: float
    """Rows per second from when the model began with the first shard of this run to the last commit; 0 without any."""
    poison_exit_code: int = POISON_ROWS
    """As in the config."""

    @property
    def poison_rows(self) -> int:
        """Rows in quarantine because they broke the model or its worker."""
        return self.counts.poison_rows

    @property
    def exit_code(self) -> int:
        """0, or `poison_exit_code` where rows broke the model or its worker."""
        return self.poison_exit_code if self.poison_rows else 0
