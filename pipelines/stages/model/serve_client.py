"""Sends tokenised shards to the replicas of a running service, piece by piece; the bytes stay in the object store."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from ray.exceptions import ActorUnavailableError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, stop_when_event_set, wait_random_exponential

from actors.arrays import Ints
from actors.engine.inference_task import Wanted
from actors.engine.pass_stats import PassStats
from actors.errors import ModelError, NoRoom
from actors.serving.deployments import PieceResult
from actors.serving.gateway.handle_client import DEATHS, MOST_CRASHES
from actors.serving.types import ANOTHER_MODEL, UNKNOWN_TENANT, ModelIdentity, Refusal
from actors.tenants import DEFAULT_TENANT
from actors.tokenization.tokenized import Tokenized
from pipelines.errors import ServiceChangedError
from pipelines.stages.model.shard_pieces import ShardPieces

_CREDITS = 2
"""Pieces that one client has at replicas at once: as many as a replica takes, since there is a client for each one."""
_PIECE_SECONDS = 2.0
"""Time of the passes of a piece. A replica takes about as long to drain, and loses as much work when it dies."""
_FIRST_TOKENS = 4096
"""Tokens of a piece before the speed of the replicas is known."""
_SMOOTHING = 0.3
"""Weight of the last piece in the moving average of the speed."""
_RETRY_SECONDS = 900.0
"""How long a piece is tried again while replicas are busy, restarted or updated."""


class _ReplicaBusyError(Exception):
    """The replicas have no room for offline work."""


class ServeClient:
    """The model stage of a job on a running service; it always has a few pieces of a shard at the replicas."""

    def __init__(self, handle: Any, task: Wanted, expected: ModelIdentity, tenant: str = DEFAULT_TENANT) -> None:
        """Takes a DeploymentHandle of the model's replicas; `check_service` checks the rest beforehand."""
        self._handle = handle
        self._task = task
        self._expected = expected
        self._tenant = tenant
        self._tokens_per_second = _FIRST_TOKENS / _PIECE_SECONDS
        self._threads = ThreadPoolExecutor(_CREDITS, thread_name_prefix="feed")

    def process(self, prepared: pa.Buffer) -> tuple[pa.Table, PassStats]:
        """Runs a prepared shard, an IPC stream; the columns have one row per row of the shard.

        Raises:
            ModelError: the replicas died at a piece, or a replica refused it for good.
            ServiceChangedError: the service has another model by now, or has the tenant no longer.
            NoRoom: a replica's device has no room for a window that fitted before.
            RayError: no replica had room for a piece for a quarter of an hour.
        """
        shard = Tokenized.from_ipc(prepared)
        reference, pieces = ray.put(prepared), ShardPieces(shard)
        # Every thread takes its next piece when its last one is back, sized by the speed as it is known then.
        threads = [self._threads.submit(self._feed, reference, pieces) for _ in range(_CREDITS)]
        done = [piece for thread in threads for piece in thread.result()]
        total = PassStats()
        for _, (_, stats) in done:
            total.add(stats)
        places = np.empty(shard.results, dtype=np.int64)
        places[np.concatenate([shard.results_of(owners) for owners, _ in done])] = np.arange(shard.results)
        table = pa.concat_tables([table for _, (table, _) in done])
        return table.take(pa.array(places[shard.row_owner])), total

    def _feed(self, reference: Any, pieces: ShardPieces) -> list[tuple[Ints, PieceResult]]:
        done = []
        while (piece := pieces.take(self._tokens_per_second * _PIECE_SECONDS)) is not None:
            owners, tokens = piece
            try:
                result = self._run(reference, owners, pieces)
            except BaseException:
                pieces.drop()
                raise
            self._update_speed(tokens, result[1].total.seconds)
            done.append((owners, result))
        return done

    def _run(self, reference: Any, owners: Ints, pieces: ShardPieces) -> PieceResult:
        crashes = 0
        for attempt in Retrying(
            retry=retry_if_exception_type((_ReplicaBusyError, *DEATHS, BackPressureError, DeploymentUnavailableError)),
            wait=wait_random_exponential(multiplier=0.05, max=_PIECE_SECONDS / 2),
            # Where another piece of the shard has failed for good, this one is not needed.
            stop=stop_after_delay(_RETRY_SECONDS) | stop_when_event_set(pieces.dropped),
            reraise=True,
        ):
            with attempt:
                try:
                    result = self._handle.process.remote(
                        reference, self._task, owners, self._expected, self._tenant
                    ).result()
                except ActorUnavailableError:
                    raise
                except DEATHS as dead:
                    crashes += 1
                    if crashes >= MOST_CRASHES:
                        raise ModelError(f"the model actor died {crashes} times at the same rows: {dead}") from dead
                    raise
                if isinstance(result, Refusal):
                    raise _error_of(result)
        piece_result: PieceResult = result
        return piece_result

    def _update_speed(self, tokens: float, seconds: float) -> None:
        # The seconds are those of its own passes: time in which others had the device says nothing about the speed.
        if tokens and seconds:
            self._tokens_per_second += _SMOOTHING * (tokens / seconds - self._tokens_per_second)


def _error_of(refusal: Refusal) -> Exception:
    if refusal.status == 429:
        return _ReplicaBusyError(refusal.message)
    if refusal.reason in (ANOTHER_MODEL, UNKNOWN_TENANT):
        return ServiceChangedError(f"{refusal.message}.")
    return (NoRoom if refusal.reason == "no_room" else ModelError)(refusal.message)
