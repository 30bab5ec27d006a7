"""How long work takes beside how long it was thought to take, of late."""

_SURPRISE = 3.0
"""A time counts as this many times what was expected at most; where it stays so, the pace follows in a few steps."""
_KEPT = 0.9
"""Part of what was seen before that counts beside what is seen now."""


class Pace:
    """Seconds per unit of work, or whatever else it takes, over the last ten times or so; long ones count for more."""

    def __init__(self, at_first: float, seen: float = 0.0) -> None:
        """Takes the pace that is believed until work has been seen.

        Args:
            seen: work that this pace counts for afterwards, as if it had been seen; 0 forgets it at once.
        """
        self.per_unit = at_first
        self._work, self._seconds = seen, seen * at_first

    def observe(self, work: float, seconds: float) -> None:
        """Learns from work that took so long; nothing where the work was none.

        A single time that is far from the others, of a device that hung for a moment, counts for a little only.
        """
        if work <= 0:
            return
        if self._work:
            seconds = min(seconds, _SURPRISE * self.per_unit * work)
        self._work = _KEPT * self._work + work
        self._seconds = _KEPT * self._seconds + seconds
        self.per_unit = self._seconds / self._work
