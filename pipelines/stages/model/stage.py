"""The third stage: windows become result columns, by a model of the job's own or the replicas of a service."""

import os
import threading
from dataclasses import replace

import pyarrow as pa
import ray

from actors.engine.pass_stats import PassStats
from actors.errors import DeviceLost
from pipelines.errors import StorageError
from pipelines.output.parts import ShardId
from pipelines.output.sinks.base import Sink
from pipelines.stages.base import ShardStage
from pipelines.stages.messages import IpcTable, ResultsMessage, SettledMessage, TokenizedMessage
from pipelines.stages.model.departure import Departure
from pipelines.stages.model.node_guard import NodeGuard
from pipelines.stages.model.precision_check import PrecisionCheck
from pipelines.stages.model.run import ModelRun
from pipelines.stages.model.runner import OwnModel, RunShard, SharedModel

_FAREWELL_SECONDS = 3.0
"""A process whose device is lost lives so long, for the shard that found it out to reach the next stage on a busy
machine too; where it does not, Ray has it computed again, and nobody is told of the loss."""


class ModelStage(ShardStage[TokenizedMessage, ResultsMessage]):
    """Windows → result columns; one of these is one model actor of the pool, or one feeder of a service."""

    name = "model"
    takes = TokenizedMessage

    def __init__(
        self,
        model: OwnModel | SharedModel,
        parts: Sink | None = None,
        ends_with_device: bool = False,
        check: PrecisionCheck | None = None,
        guard: NodeGuard | None = None,
    ) -> None:
        """Loads the model, or finds the service that has one; it must be the one that the driver saw.

        Args:
            parts: where to look, just before the work, whether another run has done it; None does not look.
            ends_with_device: whether the process, an actor of a pool, ends when its device is lost.
            check: compares some rows with float32; None where that is not wanted.
            guard: says whether the node may compute; None lets every one.
        """
        self._guard = guard if guard is not None and not guard.admits(_is_restarted()) else None
        self._departure = Departure.watched() if ends_with_device else None
        self._check = check
        self._parts = parts
        self._ends_with_device = ends_with_device
        self._first_to_lose = threading.Lock()
        self._run: RunShard
        if self._guard is not None:
            return
        try:
            self._run = model.open()
        except Exception as error:
            if not ends_with_device or not (isinstance(error, DeviceLost) or _is_restarted()):
                raise
            # An actor whose constructor raises when it is restarted is dead for good, and Ray Data would wait for it.
            # The first shard is told instead, and then there is a next start.
            self._run = _Lost(str(error) if isinstance(error, DeviceLost) else f"{type(error).__name__}: {error}")

    def process(self, message: TokenizedMessage) -> ResultsMessage | SettledMessage:
        """Runs one shard, unless another run has committed it, or the node goes or may not compute."""
        if self._guard is not None:
            self._guard.hold()
            return SettledMessage(message.header, handed_back=True)
        if self._departure is None:
            return self._compute(message)
        with self._departure.working() as may_begin:
            return self._compute(message) if may_begin else SettledMessage(message.header, handed_back=True)

    def _compute(self, message: TokenizedMessage) -> ResultsMessage | SettledMessage:
        if self._is_committed(message.header.shard):
            return SettledMessage(message.header, found=True)
        begun = ModelRun.begin()
        try:
            columns, stats = self._run(message.windows.data)
        except DeviceLost:
            self._leave()
            raise
        done = begun.done(stats)
        if self._check is not None:
            agreement = self._check.compare(message.header.shard, message.windows.data, columns)
            done = replace(done, agreement=agreement)
        return ResultsMessage(
            message.header,
            message.rows,
            message.quarantine,
            IpcTable.of(columns),
            IpcTable.of(done.to_table()),
            message.candidates,
            message.chunks,
        )

    def _leave(self) -> None:
        """Has the process end soon, and returns to the first that asks for it; Ray then starts the actor anew.

        Whoever comes later waits for the end instead of failing in a millisecond, or Ray Data would hand this actor one
        shard after the other. Ray has these shards computed again by the actor that it starts.
        """
        if not self._ends_with_device:
            return
        if not self._first_to_lose.acquire(blocking=False):
            threading.Event().wait()
        threading.Timer(_FAREWELL_SECONDS, os._exit, (1,)).start()

    def _is_committed(self, shard: ShardId) -> bool:
        try:
            return self._parts is not None and self._parts.has(shard)
        except StorageError:
            # Looking only saves work; whether the store is really gone is the next stage's to find out.
            return False


def _is_restarted() -> bool:
    """Whether this process is an actor that Ray has started anew."""
    context = ray.get_runtime_context() if ray.is_initialized() else None
    return context is not None and bool(context.get_actor_id() and context.was_current_actor_reconstructed)


class _Lost:
    """Stands in for a model that could not be loaded: its device was lost, or a restarted actor found no room."""

    def __init__(self, cause: str) -> None:
        self._cause = cause

    def __call__(self, prepared: pa.Buffer) -> tuple[pa.Table, PassStats]:
        raise DeviceLost(self._cause)
