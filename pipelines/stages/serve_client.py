"""Sends tokenised shards to the replicas of a running service, piece by piece; the bytes stay in the object store."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from ray import serve
from ray.exceptions import ActorUnavailableError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, stop_when_event_set, wait_random_exponential

from actors.arrays import Ints
from actors.engine.inference_task import Wanted
from actors.engine.pass_stats import PassStats
from actors.errors import ModelError
from actors.serving.deployments import MODEL, Piece
from actors.serving.handle_client import DEATHS
from actors.serving.types import Refusal
from actors.tokenization.tokenized import Tokenized
from pipelines.stages.shard_chunks import ShardChunks

_CREDITS = 2
"""Pieces of one feeder that replicas have in hand at once: as many as a replica takes, since there is a feeder for
each."""
_PIECE_SECONDS = 2.0
"""Of passes in a piece: about so long a replica needs to drain, and so much work dies with it."""
_FIRST_TOKENS = 4096
"""Of a piece, before any speed is known."""
_FADE = 0.3
_CRASHES = 2
"""How often a piece may take its replica down before its shard is given up."""
_PATIENCE_SECONDS = 900.0
"""How long a piece is offered to replicas that are busy, restarted or updated."""


class _NotNowError(Exception):
    """The replicas have no room for offline work."""


class ServeClient:
    """One of a few in a job. It has credits: a piece is handed over when another has come back."""

    def __init__(self, application: str, task: Wanted) -> None:
        """Takes the name of an application on the connected cluster, of which `check_service` knows that it fits."""
        self._handle: Any = serve.get_deployment_handle(MODEL, application)
        self._task = task
        self._tokens_per_second = _FIRST_TOKENS / _PIECE_SECONDS
        self._threads = ThreadPoolExecutor(_CREDITS, thread_name_prefix="feed")

    def process(self, prepared: pa.Buffer) -> tuple[pa.Table, PassStats]:
        """Runs a prepared shard, an IPC stream; the columns have one row per row of the shard.

        Raises:
            ModelError: a piece took its replicas down, or a replica refused it for good.
            RayError: no replica had room for it in a quarter of an hour.
        """
        shard = Tokenized.from_ipc(prepared)
        reference, pieces = ray.put(prepared), ShardChunks(shard)
        # Every thread cuts its next piece when its last one is back, by what the speed is known to be then.
        feeding = [self._threads.submit(self._feed, reference, pieces) for _ in range(_CREDITS)]
        done = [piece for thread in feeding for piece in thread.result()]
        total = PassStats()
        for _, (_, stats) in done:
            total.add(stats)
        places = np.empty(shard.owners, dtype=np.int64)
        places[np.concatenate([owners for owners, _ in done])] = np.arange(shard.owners)
        table = pa.concat_tables([table for _, (table, _) in done])
        return table.take(pa.array(places[shard.row_owner])), total

    def _feed(self, reference: Any, pieces: ShardChunks) -> list[tuple[Ints, Piece]]:
        done = []
        while (cut := pieces.take(self._tokens_per_second * _PIECE_SECONDS)) is not None:
            owners, tokens = cut
            try:
                piece = self._piece(reference, owners, pieces)
            except BaseException:
                pieces.drop()
                raise
            self._learn(tokens, piece[1].total.seconds)
            done.append((owners, piece))
        return done

    def _piece(self, reference: Any, owners: Ints, pieces: ShardChunks) -> Piece:
        crashes = 0
        for attempt in Retrying(
            retry=retry_if_exception_type((_NotNowError, *DEATHS, BackPressureError, DeploymentUnavailableError)),
            wait=wait_random_exponential(multiplier=0.05, max=_PIECE_SECONDS / 2),
            # Where another piece of the shard has failed for good, nobody wants this one.
            stop=stop_after_delay(_PATIENCE_SECONDS) | stop_when_event_set(pieces.dropped),
            reraise=True,
        ):
            with attempt:
                try:
                    piece = self._handle.process.remote(reference, self._task, owners).result()
                except ActorUnavailableError:
                    raise
                except DEATHS as dead:
                    crashes += 1
                    if crashes >= _CRASHES:
                        raise ModelError(f"the model actor died {crashes} times at the same rows: {dead}") from dead
                    raise
                if isinstance(piece, Refusal):
                    raise _NotNowError(piece.message) if piece.status == 429 else ModelError(piece.message)
        result: Piece = piece
        return result

    def _learn(self, tokens: float, seconds: float) -> None:
        # Of its passes alone: while other pieces or online requests have the device, it is not the piece that is slow.
        if tokens and seconds:
            self._tokens_per_second += _FADE * (tokens / seconds - self._tokens_per_second)
