"""What travels between the stages: a typed message for each shard, sent as a table of one row.

One row per shard, so that no stage depends on how Ray cuts its blocks. What a message holds are Arrow IPC streams in
columns of their own; reading a message opens none of them, and handing one on copies each once, into Ray's store. So
carried columns may pass through the model actor: for 15 MB of a shard its process takes 5 to 12 ms of CPU, in a thread
beside the passes (`python -m benchmarks.carried`).
"""

from dataclasses import dataclass, field, fields, replace
from typing import Self

import numpy as np
import pyarrow as pa

from actors.errors import DeviceLost, ModelError, NoRoom
from pipelines.errors import ServiceChangedError, SpanmillError, StorageError
from pipelines.output.parts import ShardId
from pipelines.output.receipt import Receipt
from pipelines.output.row_samples import CANDIDATE_SCHEMA
from pipelines.storage.retry import full_disk_mend, is_full
from pipelines.storage.url import redact

_PAYLOAD = "payload."
_PLAIN = pa.schema(
    [
        ("unit", pa.int32()),
        ("number", pa.int32()),
        ("last", pa.bool_()),
        ("file", pa.string()),
        ("store_errors", pa.int32()),
        ("trace", pa.string()),
        ("began", pa.int64()),
        ("found", pa.bool_()),
        ("failed_in", pa.string()),
        ("error", pa.string()),
        ("permanent", pa.bool_()),
        ("device_lost", pa.bool_()),
        ("no_room", pa.bool_()),
        ("handed_back", pa.bool_()),
    ]
)
_ON_ITS_WAY: dict[str, object] = {
    "found": False,
    "failed_in": "",
    "error": "",
    "permanent": False,
    "device_lost": False,
    "no_room": False,
    "handed_back": False,
}


@dataclass(frozen=True)
class IpcTable:
    """A table as an Arrow IPC stream."""

    data: pa.Buffer

    @classmethod
    def of(cls, table: pa.Table) -> "IpcTable":
        """Writes the stream."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return cls(sink.getvalue())

    def read(self) -> pa.Table:
        """The table, a view of `data`."""
        with pa.ipc.open_stream(self.data) as reader:
            return reader.read_all()


def _no_chunks() -> IpcTable:
    return IpcTable.of(pa.table({}))


def _no_candidates() -> IpcTable:
    return IpcTable.of(CANDIDATE_SCHEMA.empty_table())


@dataclass(frozen=True)
class ShardHeader:
    """Which shard a message is about."""

    shard: ShardId
    file: str
    """Name of the file it was read from."""
    store_errors: int = 0
    """Calls to a store that failed on its way, tried again or not."""
    trace: str = ""
    """Its span, `str(TraceContext)`; empty where it is not traced."""
    began: int = 0
    """When that span began, nanoseconds of the epoch."""

    @classmethod
    def from_table(cls, table: pa.Table) -> "ShardHeader":
        """The header of the message in a one-row table, whatever its type."""
        unit, number, last, *others = (table.column(name)[0].as_py() for name in _PLAIN.names[:7])
        return cls(ShardId(unit, number, last), *others)


@dataclass(frozen=True)
class ShardMessage:
    """Base of the messages: a subclass is a frozen dataclass whose further fields are all `IpcTable`."""

    header: ShardHeader

    def to_table(self) -> pa.Table:
        """The one-row table."""
        payloads = {field.name: getattr(self, field.name).data for field in fields(self)[1:]}
        return _one_row(self.header, _ON_ITS_WAY, payloads)

    @classmethod
    def from_table(cls, table: pa.Table) -> Self:
        """Reads a one-row table; the payloads stay where they are.

        Raises:
            ValueError: it is a message of another type.
        """
        names = [f"{_PAYLOAD}{field.name}" for field in fields(cls)[1:]]
        if not set(names) <= set(table.column_names):
            raise ValueError(f"a {cls.__name__} was expected, and the message has {', '.join(table.column_names)}")
        payloads = (IpcTable(_view(table.column(name).chunk(0))) for name in names)
        return cls(ShardHeader.from_table(table), *payloads)

    def with_store_errors(self, more: int) -> Self:
        """The same message after further failed calls to a store."""
        return replace(self, header=replace(self.header, store_errors=self.header.store_errors + more))


@dataclass(frozen=True)
class RawMessage(ShardMessage):
    """From read to prepare."""

    rows: IpcTable
    """The table of a `RawShard`."""


@dataclass(frozen=True)
class TokenizedMessage(ShardMessage):
    """From prepare to model."""

    rows: IpcTable
    """The valid rows as they will be written, without the model's columns: id, then the carried ones."""
    quarantine: IpcTable
    """QUARANTINE_SCHEMA; its schema tells how many values of `rows` are not as they were (`misfits_of`)."""
    windows: IpcTable
    """`Tokenized.to_ipc()` of the valid rows."""
    candidates: IpcTable = field(default_factory=_no_candidates)
    """Rows that the report may show: CANDIDATE_SCHEMA, without rows in most shards of a large job."""
    chunks: IpcTable = field(default_factory=_no_chunks)
    """`chunked_texts.CHUNK_SCHEMA`: which chunks of `rows` the rows of `windows` are; no columns in a job without."""


@dataclass(frozen=True)
class ResultsMessage(ShardMessage):
    """From model to write."""

    rows: IpcTable
    quarantine: IpcTable
    """Both as in `TokenizedMessage`."""
    columns: IpcTable
    """The model's columns, one row for each of `rows`, or of `chunks` where these have columns."""
    model_run: IpcTable
    """`ModelRun.to_table()`."""
    candidates: IpcTable = field(default_factory=_no_candidates)
    """As in `TokenizedMessage`."""
    chunks: IpcTable = field(default_factory=_no_chunks)
    """As in `TokenizedMessage`."""


@dataclass(frozen=True)
class SettledMessage(ShardMessage):
    """A shard for which nothing is left to do; every later stage hands it on untouched."""

    found: bool = False
    """Its part was there when its turn at the model came."""
    failed_in: str = ""
    """Name of the stage that gave it up; empty where it was found."""
    error: str = ""
    """Why."""
    permanent: bool = False
    """The error will be the same for every other shard: a full disk, no rights, a service that has changed."""
    device_lost: bool = False
    """The error is that of the actor's device, which ends with the actor; another one may compute the shard."""
    no_room: bool = False
    """The device had no room for a window that fitted before; it may have some later."""
    handed_back: bool = False
    """The actor's node goes, or may not compute: nothing was begun, and the next pass does it on another one."""

    @classmethod
    def failed(cls, header: ShardHeader, stage: str, error: Exception) -> "SettledMessage":
        """A shard that a stage gave up. Our own errors say what to do; of others, the kind says most."""
        named = isinstance(error, SpanmillError | ModelError | NoRoom | DeviceLost)
        said = str(error) if named else f"{type(error).__name__}: {error}"
        return cls(
            header,
            failed_in=stage,
            error=redact(f"{said}. {full_disk_mend()}" if is_full(error) else said),
            permanent=isinstance(error, ServiceChangedError) or (isinstance(error, StorageError) and error.permanent),
            device_lost=isinstance(error, DeviceLost),
            no_room=isinstance(error, NoRoom),
        )

    def to_table(self) -> pa.Table:
        """The one-row table."""
        return _one_row(self.header, {name: getattr(self, name) for name in _ON_ITS_WAY}, {})

    @classmethod
    def from_table(cls, table: pa.Table) -> Self:
        """The inverse of `to_table`."""
        return cls(ShardHeader.from_table(table), **{name: table.column(name)[0].as_py() for name in _ON_ITS_WAY})

    @classmethod
    def found_in(cls, table: pa.Table) -> "SettledMessage | None":
        """The message in a one-row table where it is a settled one, else None."""
        message = cls.from_table(table)
        return message if message.found or message.failed_in or message.handed_back else None

    def receipt(self, committed: float) -> Receipt:
        """What the driver is told; `committed` is the time, seconds of the epoch."""
        return Receipt(
            self.header.shard,
            self.header.file,
            found=self.found,
            failed_in=self.failed_in,
            error=self.error,
            permanent=self.permanent,
            device_lost=self.device_lost,
            handed_back=self.handed_back,
            store_errors=self.header.store_errors,
            committed=committed,
        )


def _one_row(header: ShardHeader, status: dict[str, object], payloads: dict[str, pa.Buffer]) -> pa.Table:
    plain = {**vars(header.shard), **vars(header), **status}
    columns = {field.name: pa.array([plain[field.name]], field.type) for field in _PLAIN}
    for name, buffer in payloads.items():
        offsets = pa.py_buffer(_two_offsets(buffer.size))
        columns[f"{_PAYLOAD}{name}"] = pa.LargeBinaryArray.from_buffers(pa.large_binary(), 1, [None, offsets, buffer])
    return pa.table(columns)


def _two_offsets(size: int) -> bytes:
    return (0).to_bytes(8, "little") + size.to_bytes(8, "little")


def _view(value: pa.LargeBinaryArray) -> pa.Buffer:
    # A scalar's as_buffer() would copy the payload out of shared memory.
    _, offsets, data = value.buffers()
    start, stop = np.frombuffer(offsets, dtype=np.int64)[value.offset : value.offset + 2]
    return data.slice(int(start), int(stop - start))
