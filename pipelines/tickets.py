"""What travels between the stages: one row per shard, so that no stage depends on how Ray cuts its blocks."""

from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from pipelines.shards import ShardId

_PAYLOAD = "payload."


@dataclass(frozen=True)
class Ticket:
    """A shard on its way: who it is, and what went wrong, if anything did."""

    unit: int
    number: int
    last: bool
    file: str
    """Name of the file it was read from."""
    error: str = ""
    """Why a stage could not do its work; later stages hand such a shard on untouched."""
    payloads: dict[str, pa.Buffer] = field(default_factory=dict)
    """Arrow IPC streams by name."""

    @property
    def shard(self) -> ShardId:
        """The shard's place in the plan."""
        return ShardId(self.unit, self.number, self.last)

    def to_table(self) -> pa.Table:
        """The one-row table."""
        columns: dict[str, pa.Array] = {
            "unit": pa.array([self.unit], pa.int32()),
            "number": pa.array([self.number], pa.int32()),
            "last": pa.array([self.last], pa.bool_()),
            "file": pa.array([self.file], pa.string()),
            "error": pa.array([self.error], pa.string()),
        }
        for name, buffer in self.payloads.items():
            offsets = pa.py_buffer(_two_offsets(buffer.size))
            columns[f"{_PAYLOAD}{name}"] = pa.LargeBinaryArray.from_buffers(
                pa.large_binary(), 1, [None, offsets, buffer]
            )
        return pa.table(columns)

    @classmethod
    def from_table(cls, table: pa.Table) -> "Ticket":
        """Reads a one-row table; the payloads stay where they are."""
        payloads = {
            name.removeprefix(_PAYLOAD): _view(table.column(name).chunk(0))
            for name in table.column_names
            if name.startswith(_PAYLOAD)
        }
        plain = {name: table.column(name)[0].as_py() for name in ("unit", "number", "last", "file", "error")}
        return cls(**plain, payloads=payloads)

    def with_payloads(self, **payloads: pa.Buffer) -> "Ticket":
        """The same shard with other payloads."""
        return replace(self, payloads=payloads)

    def failed(self, error: str) -> "Ticket":
        """The same shard, given up by a stage."""
        return replace(self, error=error, payloads={})


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
