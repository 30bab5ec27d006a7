"""Hands prepared shards to the replicas of a running service, piece by piece and by reference."""

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from ray import serve
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from actors.errors import ModelError
from actors.prepared import Prepared
from actors.serving.requests import Refusal
from actors.serving.service import MODEL, Piece
from actors.stats import PassStats
from actors.tokens import Longs
from actors.work import Wanted

_CREDITS = 4
"""Pieces of one feeder that replicas have in hand at once."""
_PIECE_SECONDS = 2.0
"""What a piece should take a replica: so long it needs to drain, and so much work dies with it."""
_FIRST_TOKENS = 4096
"""Of a piece, before any speed is known."""
_FADE = 0.3
_CRASHES = 2
"""How often a piece may take its replica down before its shard is given up."""
_PATIENCE_SECONDS = 900.0
"""How long a piece is offered to replicas that are busy, restarted or updated."""


class _NotNowError(Exception):
    """The replicas have no room for offline work."""


class Feeder:
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
        shard = Prepared.from_ipc(prepared)
        reference = ray.put(prepared)
        before = _tokens_before(shard)
        bounds = cut(before, self._tokens_per_second * _PIECE_SECONDS)
        pieces = list(self._threads.map(partial(self._piece, reference, before), bounds))
        by_owner = pa.concat_tables([table for table, _ in pieces])
        total = PassStats()
        for _, stats in pieces:
            total.add(stats)
        return by_owner.take(pa.array(shard.row_owner)), total

    def _piece(self, reference: Any, before: Longs, bounds: tuple[int, int]) -> Piece:
        first, stop = bounds
        started, crashes = time.monotonic(), 0
        for attempt in Retrying(
            retry=retry_if_exception_type((_NotNowError, RayActorError, BackPressureError, DeploymentUnavailableError)),
            wait=wait_random_exponential(multiplier=0.05, max=2.0),
            stop=stop_after_delay(_PATIENCE_SECONDS),
            reraise=True,
        ):
            with attempt:
                started = time.monotonic()
                try:
                    piece = self._handle.process.remote(reference, self._task, first, stop).result()
                except RayActorError as dead:
                    crashes += 1
                    if crashes >= _CRASHES:
                        raise ModelError(f"the model actor died {crashes} times at the same rows: {dead}") from dead
                    raise
                if isinstance(piece, Refusal):
                    raise _NotNowError(piece.message) if piece.status == 429 else ModelError(piece.message)
        self._learn(before[stop] - before[first], time.monotonic() - started)
        result: Piece = piece
        return result

    def _learn(self, tokens: float, seconds: float) -> None:
        if tokens and seconds:
            self._tokens_per_second += _FADE * (tokens / seconds - self._tokens_per_second)


def cut(before: Longs, tokens: float) -> list[tuple[int, int]]:
    """First owner, and the one after the last, of pieces of at most so many tokens, or of one owner.

    Args:
        before: [owners + 1] tokens of all owners before each.

    Returns:
        The pieces in order; one that is empty where there are no owners.
    """
    owners = len(before) - 1
    pieces, first = [], 0
    while first < owners:
        fits = int(np.searchsorted(before, before[first] + tokens, side="right")) - 1
        stop = max(fits, first + 1)
        pieces.append((first, stop))
        first = stop
    return pieces or [(0, 0)]


def _tokens_before(shard: Prepared) -> Longs:
    """[owners + 1] tokens of the windows of all owners before each; special tokens left out."""
    per_owner = np.bincount(shard.windows.owner, weights=shard.lengths(0), minlength=shard.owners)
    before: Longs = np.concatenate([[0], np.cumsum(per_owner)]).astype(np.int64)
    return before
