"""Computes some rows of a job in float32 as well, so that its report can say how far its own precision agrees."""

import logging
import time
import zlib
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from actors.backends.base import find_runtime
from actors.backends.precision import EXACT
from actors.errors import first_line
from actors.parameters import BatchingParameters
from actors.tokenization.tokenized import Tokenized
from pipelines.output.agreement import RowAgreement
from pipelines.output.parts import ShardId
from pipelines.stages.model.runner import OwnModel

_MOST_ROWS = 64
"""Rows of a job that are compared, about."""
_SHARDS = 4
"""Shards that they are of, about: each costs a load of the model."""
_AT_ONCE = 8
"""Rows after which the clock is looked at."""
_SECONDS = 5.0
"""After which a shard's comparison ends, with the rows that it has: a feeder of a service has a single slow thread."""
_WINDOWS = 4

_LOG = logging.getLogger("spanmill.precision")


@dataclass(frozen=True)
class PrecisionCheck:
    """Compares rows of the first shard of a job, and of a few others that are spread over it.

    The model is loaded in float32 for as long as a shard is compared, on the CPU: the job's device may have no room for
    it, and has other work. It takes 4 bytes of memory for each weight.
    """

    exact: OwnModel
    every: int
    """Beside the first shard, about one of so many."""
    rows: int
    """Of a shard, at most: owners of windows, which are documents where these are cut into chunks."""

    @classmethod
    def of(cls, own: OwnModel, expected_shards: int) -> "PrecisionCheck | None":
        """For a job of about so many shards; None where it is computed in float32 itself, or has nothing to compare.

        Args:
            own: the model as an actor of the job would load it.
        """
        if own.model.dtype == EXACT:
            return None
        shards = min(max(expected_shards, 1), _SHARDS)
        device = "cpu" if find_runtime(own.model.backend).runs_on_cpu else own.model.device
        model = own.model.in_type(EXACT).model_copy(update={"device": device})
        task = own.task.compared
        if task is None:
            return None
        exact = replace(own, model=model, task=task, batching=BatchingParameters(fixed_windows=_WINDOWS))
        return cls(exact, -(-max(expected_shards, 1) // shards), _MOST_ROWS // shards)

    def chooses(self, shard: ShardId) -> bool:
        """Whether a shard is one of those that are compared; the same job has the same."""
        is_first = (shard.unit, shard.number) == (0, 0)
        return is_first or not zlib.crc32(f"{shard.number}-{shard.unit}".encode()) % self.every

    def compare(self, shard: ShardId, windows: pa.Buffer, columns: pa.Table) -> RowAgreement:
        """Compares rows of a shard, chosen at random; none of most shards.

        What goes wrong here is logged as a warning and fails no shard.

        Args:
            windows: `Tokenized.to_ipc` of the shard.
            columns: what the job's precision gives, one row per row of the shard.
        """
        if not self.chooses(shard):
            return RowAgreement()
        try:
            return self._compare(shard, windows, columns)
        except Exception as error:
            _LOG.warning(
                "not compared with float32: %s: %s", type(error).__name__, first_line(error), extra=vars(shard)
            )
            return RowAgreement()

    def _compare(self, shard: ShardId, windows: pa.Buffer, columns: pa.Table) -> RowAgreement:
        prepared = Tokenized.from_ipc(windows)
        # Rows with one text have one owner, and are computed once. Of every result a row that has it:
        _, rows = np.unique(prepared.row_owner, return_index=True)
        chosen = np.random.default_rng([shard.unit, shard.number]).permutation(prepared.owners)[: self.rows]
        if not len(chosen):
            return RowAgreement()
        run = self.exact.open_parts()
        pieces, until = list[RowAgreement](), time.monotonic() + _SECONDS
        for start in range(0, len(chosen), _AT_ONCE):
            some = chosen[start : start + _AT_ONCE].astype(np.int32)
            exact, _ = run(windows, some)
            found = columns.take(pa.array(rows[prepared.results_of(some)]))
            pieces.append(RowAgreement.between(found, exact))
            if time.monotonic() > until:
                break
        return RowAgreement.joined(pieces)
