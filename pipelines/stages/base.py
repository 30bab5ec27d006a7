"""The base class of stages: a stage gives its work on one message, and failures are handled here for all."""

import time
from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import pyarrow as pa

from pipelines.stages.messages import SettledMessage, ShardHeader, ShardMessage
from pipelines.stages.tracing import trace_stage
from pipelines.storage.retry import count_errors

In = TypeVar("In", bound=ShardMessage)
Out = TypeVar("Out", bound=ShardMessage)


class ShardStage(ABC, Generic[In, Out]):
    """One step of a shard's way. A subclass says what it takes, and does its work in `process`.

    A shard that it cannot work on fails alone: the error travels on in its message, and other shards go on.
    """

    name: str
    """Of the stage, as failures, logs and metrics give it."""
    takes: type[In]
    """The message that the stage before gives."""

    @abstractmethod
    def process(self, message: In) -> Out | SettledMessage:
        """Does the work on one shard. Whatever it raises becomes that shard's failure."""

    def __call__(self, table: pa.Table) -> pa.Table:
        """Works on one message, a one-row table; gives the next one."""
        return table if SettledMessage.found_in(table) else self._attempt(table).to_table()

    def outcome(self, table: pa.Table) -> Out | SettledMessage:
        """What becomes of the message in a one-row table: the next one, or that nothing is left to do."""
        return SettledMessage.found_in(table) or self._attempt(table)

    def _attempt(self, table: pa.Table) -> Out | SettledMessage:
        """The next message, or the shard's failure; store errors are counted either way."""
        done: Out | SettledMessage
        began, failure = time.time_ns(), None
        with count_errors() as errors:
            try:
                done = self.process(self.takes.from_table(table))
            except Exception as error:  # whatever a row, a runtime or a store does, the other shards must go on
                done, failure = SettledMessage.failed(ShardHeader.from_table(table), self.name, error), error
        trace_stage(self.name, done.header, began, failure)
        return done.with_store_errors(errors.total)
