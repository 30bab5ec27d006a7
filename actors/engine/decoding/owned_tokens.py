"""Which window gives the vector of a token: windows of one passage overlap, and every token counts once."""

from dataclasses import dataclass

import numpy as np

from actors.arrays import Longs, segments
from actors.batch import Batch
from actors.tokenization.windows import Windows


@dataclass(frozen=True)
class OwnedTokens:
    """Of every passage token the window where it stands farthest from an edge; of two such, the earlier one.

    Neighbours share the tokens of their overlap in its middle: left of it a token is nearer to the edge of the window
    that begins there, right of it to the edge of the one that ends. So each window gives a run of tokens.
    """

    first: Longs
    """[W] first passage token that the window gives, counted from the passage's start."""
    stop: Longs
    """[W] passage token after the last that it gives."""
    place: Longs
    """[W] where these tokens begin among the T tokens of all owners, owner after owner."""
    offsets: Longs
    """[owners + 1] where the tokens of each owner begin among these."""

    @classmethod
    def of(cls, windows: Windows, owners: int) -> "OwnedTokens":
        """For all windows of a request or shard."""
        first, stop = windows.first.astype(np.int64), windows.stop.astype(np.int64)
        # The first token that is nearer to the left window's end than to the right one's beginning.
        cuts = (stop[:-1] - 1 + first[1:]) // 2 + 1
        is_same = windows.owner[1:] == windows.owner[:-1]
        begin, end = first.copy(), stop.copy()
        begin[1:][is_same], end[:-1][is_same] = cuts[is_same], cuts[is_same]
        place = np.cumsum(end - begin) - (end - begin)
        offsets = np.zeros(owners + 1, dtype=np.int64)
        np.add.at(offsets, windows.owner + 1, end - begin)
        return cls(begin, end, place, np.cumsum(offsets))

    def moves(self, windows: Windows, chosen: Longs, batch: Batch) -> tuple[Longs, Longs]:
        """Where the tokens that some windows give stand in a padded batch, counted through its [n, S], and where they
        belong among all T; [m] each.

        Args:
            chosen: [n] positions of the batch's windows.
        """
        lengths = self.stop[chosen] - self.first[chosen]
        inside = batch.passage_start + self.first[chosen] - windows.first[chosen]
        rows = np.arange(batch.windows, dtype=np.int64) * batch.width
        return segments(rows + inside, lengths), segments(self.place[chosen], lengths)
