"""Stages that are no part of the package, as somebody might add them."""

from dataclasses import dataclass, replace

import pyarrow.compute as pc

from pipelines.execution.stage_list import StageList, TaskStage
from pipelines.stages.base import ShardStage
from pipelines.stages.messages import IpcTable, ResultsMessage, TokenizedMessage


@dataclass(frozen=True)
class ShoutStage(ShardStage[ResultsMessage, ResultsMessage]):
    """After the model: answers in capitals. It cannot do a shard that has a row of this id."""

    broken_by: str = ""

    name = "shout"
    takes = ResultsMessage

    def process(self, message: ResultsMessage) -> ResultsMessage:
        if self.broken_by in message.rows.read()["id"].to_pylist():
            raise ValueError(f"cannot shout {self.broken_by}")
        columns = message.columns.read()
        place = columns.column_names.index("answer")
        shouted = columns.set_column(place, "answer", pc.utf8_upper(columns["answer"]))
        return replace(message, columns=IpcTable.of(shouted))


@dataclass(frozen=True)
class RenameStage(ShardStage[TokenizedMessage, TokenizedMessage]):
    """Between prepare and model: ids with a prefix."""

    name = "rename"
    takes = TokenizedMessage

    def process(self, message: TokenizedMessage) -> TokenizedMessage:
        rows = message.rows.read()
        renamed = rows.set_column(0, "id", pc.binary_join_element_wise("new", rows["id"], "-"))
        return replace(message, rows=IpcTable.of(renamed))


def with_own_stages(stages: StageList, broken_by: str = "") -> StageList:
    """The list of a job with both stages in it."""
    prepare, model = stages.compute
    own = TaskStage(RenameStage(), 0.15), TaskStage(ShoutStage(broken_by), 0.25)
    return replace(stages, compute=(prepare, own[0], model, own[1]))
