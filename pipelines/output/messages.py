"""What travels between the stages: one row per shard, so that no stage depends on how Ray cuts its blocks."""

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pyarrow as pa

from actors.errors import ModelError
from pipelines.errors import SpanmillError, StorageError
from pipelines.output.parts import ShardId
from pipelines.storage.url import redact

Stage = Literal["read", "prepare", "model", "write"]

_PAYLOAD = "payload."
_PLAIN = pa.schema(
    [
        ("unit", pa.int32()),
        ("number", pa.int32()),
        ("last", pa.bool_()),
        ("file", pa.string()),
        ("found", pa.bool_()),
        ("store_errors", pa.int32()),
        ("failed_in", pa.string()),
        ("error", pa.string()),
        ("permanent", pa.bool_()),
    ]
)


@dataclass(frozen=True)
class ShardMessage:
    """A shard on its way: who it is, and what went wrong, if anything did."""

    unit: int
    number: int
    last: bool
    file: str
    """Name of the file it was read from."""
    found: bool = False
    """Its part was there when its turn at the model came: later stages have nothing to do."""
    store_errors: int = 0
    """Calls to a store that failed on its way, tried again or not."""
    failed_in: Stage | Literal[""] = ""
    """The stage that gave it up; later stages hand such a shard on untouched."""
    error: str = ""
    """Why."""
    permanent: bool = False
    """The error is a store's, and will be the same for every other shard: a full disk, no rights."""
    payloads: dict[str, pa.Buffer] = field(default_factory=dict)
    """Arrow IPC streams by name."""

    @property
    def shard(self) -> ShardId:
        """The shard's place in the plan."""
        return ShardId(self.unit, self.number, self.last)

    @property
    def settled(self) -> bool:
        """Nothing is left to do for it, whether it failed or was found."""
        return self.found or self.failed_in != ""

    def to_table(self) -> pa.Table:
        """The one-row table."""
        columns = {name: pa.array([getattr(self, name)], _PLAIN.field(name).type) for name in _PLAIN.names}
        for name, buffer in self.payloads.items():
            offsets = pa.py_buffer(_two_offsets(buffer.size))
            columns[f"{_PAYLOAD}{name}"] = pa.LargeBinaryArray.from_buffers(
                pa.large_binary(), 1, [None, offsets, buffer]
            )
        return pa.table(columns)

    @classmethod
    def from_table(cls, table: pa.Table) -> "ShardMessage":
        """Reads a one-row table; the payloads stay where they are."""
        payloads = {
            name.removeprefix(_PAYLOAD): _view(table.column(name).chunk(0))
            for name in table.column_names
            if name.startswith(_PAYLOAD)
        }
        return cls(**{name: table.column(name)[0].as_py() for name in _PLAIN.names}, payloads=payloads)

    def with_payloads(self, **payloads: pa.Buffer) -> "ShardMessage":
        """The same shard with other payloads."""
        return replace(self, payloads=payloads)

    def with_errors(self, store_errors: int) -> "ShardMessage":
        """The same shard after further failed calls to a store."""
        return replace(self, store_errors=self.store_errors + store_errors)

    def failed(self, stage: Stage, error: Exception) -> "ShardMessage":
        """The same shard, given up by a stage. Our own errors say what to do; of others, the kind says most."""
        named = isinstance(error, SpanmillError | ModelError)
        return replace(
            self,
            failed_in=stage,
            error=redact(str(error) if named else f"{type(error).__name__}: {error}"),
            permanent=isinstance(error, StorageError) and error.permanent,
            payloads={},
        )

    def already_there(self) -> "ShardMessage":
        """The same shard, with nothing left to do."""
        return replace(self, found=True, payloads={})


def write_ipc(table: pa.Table) -> pa.Buffer:
    """A table as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def read_ipc(data: pa.Buffer) -> pa.Table:
    """The inverse of `write_ipc`; the table is a view of `data`."""
    with pa.ipc.open_stream(data) as reader:
        return reader.read_all()


def _two_offsets(size: int) -> bytes:
    return (0).to_bytes(8, "little") + size.to_bytes(8, "little")


def _view(value: pa.LargeBinaryArray) -> pa.Buffer:
    # A scalar's as_buffer() would copy the payload out of shared memory.
    _, offsets, data = value.buffers()
    start, stop = np.frombuffer(offsets, dtype=np.int64)[value.offset : value.offset + 2]
    return data.slice(int(start), int(stop - start))
