"""The third stage: windows become result columns, by a model of the job's own or the replicas of a service."""

from pipelines.errors import StorageError
from pipelines.output.parts import ShardId
from pipelines.output.sinks.base import Sink
from pipelines.stages.base import ShardStage
from pipelines.stages.messages import IpcTable, ResultsMessage, SettledMessage, TokenizedMessage
from pipelines.stages.model_run import ModelRun
from pipelines.stages.model_runner import OwnModel, SharedModel


class ModelStage(ShardStage[TokenizedMessage, ResultsMessage]):
    """Windows → result columns; one of these is one model actor of the pool, or one feeder of a service."""

    name = "model"
    takes = TokenizedMessage

    def __init__(self, model: OwnModel | SharedModel, parts: Sink | None = None) -> None:
        """Loads the model, or finds the service that has one; it must be the one that the driver saw.

        Args:
            parts: where to look, just before the work, whether another run has done it; None does not look.
        """
        self._run = model.open()
        self._parts = parts

    def process(self, message: TokenizedMessage) -> ResultsMessage | SettledMessage:
        """Runs one shard, unless another run has committed it."""
        if self._is_committed(message.header.shard):
            return SettledMessage(message.header, found=True)
        begun = ModelRun.begin()
        columns, stats = self._run(message.windows.data)
        return ResultsMessage(
            message.header,
            message.rows,
            message.quarantine,
            IpcTable.of(columns),
            IpcTable.of(begun.done(stats).to_table()),
        )

    def _is_committed(self, shard: ShardId) -> bool:
        try:
            return self._parts is not None and self._parts.has(shard)
        except StorageError:
            # Looking only saves work; whether the store is really gone is the next stage's to find out.
            return False
