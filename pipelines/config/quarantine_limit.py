"""The limit on quarantined rows, above which a job fails."""

import re
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol, Self

from pipelines.errors import JobError

_LIMIT = re.compile(r"(\d+)|(\d+(?:\.\d+)?)\s*%")


class Counted(Protocol):
    """Rows that a job has written so far."""

    @property
    def rows(self) -> int:
        """Rows in parts."""
        ...

    @property
    def quarantined(self) -> int:
        """Rows in quarantine."""
        ...

    @property
    def reasons(self) -> Counter[str]:
        """Quarantined rows by reason."""
        ...


@dataclass(frozen=True)
class QuarantineLimit:
    """Largest number of rows that may be in quarantine: a count, or a share of all rows."""

    count: int | None
    share: Fraction | None
    """A fraction, because it is exact: with floats, 0.7% of 1,000 rows would not be 7."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads "100" or "0.5%". Raises ValueError for anything else."""
        found = _LIMIT.fullmatch(text.strip())
        if found is None or (found[2] and Fraction(found[2]) > 100):
            raise ValueError("write a number of rows (100) or a share of them (0.5%)")
        return cls(int(found[1]), None) if found[1] else cls(None, Fraction(found[2]) / 100)

    def is_passed(self, quarantined: int, rows: int) -> bool:
        """True when more rows are quarantined than the limit allows; `rows` includes the quarantined ones."""
        if self.count is not None:
            return quarantined > self.count
        return self.share is not None and quarantined > self.share * rows

    def check(self, counts: Counted) -> None:
        """Raises JobError when the rows of a whole job pass the limit."""
        if self.is_passed(counts.quarantined, counts.rows + counts.quarantined):
            raise JobError(self.complaint(counts))

    def complaint(self, counts: Counted) -> str:
        """The error message for a job that exceeds the limit."""
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in counts.reasons.most_common(5))
        return (
            f"{counts.quarantined:,} of {counts.rows + counts.quarantined:,} rows so far are quarantined, more than "
            f"max_quarantined ({self}) allows. Reasons: {reasons or 'see _quarantine'}. The rows are in _quarantine/ "
            "of OUTPUT, each with its reason. Mend the input and start anew (--overwrite), or raise the limit "
            "(--max-quarantined) and run the same command again: what is committed stays."
        )

    def __str__(self) -> str:
        return f"{float(100 * self.share):g}%" if self.share is not None else f"{self.count:,}"
