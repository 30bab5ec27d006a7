"""Formats of parts: how a table becomes the bytes of a file, and how many rows such a file has."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, cast, runtime_checkable

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from actors.registry import find_object
from pipelines.config.writers import PART_FORMATS
from pipelines.errors import ConfigError
from pipelines.output.encoding import to_jsonl, to_parquet
from pipelines.storage.filesystem import Store, read_bytes
from pipelines.storage.range_reader import RangeFile
from pipelines.storage.retry import attempt


class PartFormat(Protocol):
    """What `output.format` names; an object that workers can import."""

    @property
    def suffix(self) -> str:
        """End of a part's name, without the dot: lower-case letters and digits. No two formats have the same."""
        ...

    def encode(self, table: pa.Table, metadata: Mapping[str, str]) -> bytes:
        """The bytes of a part; equal ones for an equal table. A format may have no room for the metadata."""
        ...

    def count_rows(self, store: Store, name: str) -> int:
        """Rows of a part, by its name in the store. Raises StorageError when it cannot be read."""
        ...


@runtime_checkable
class CountsDocuments(Protocol):
    """A format that can tell how many texts a part has chunks of, whose rows are chunks."""

    def count_documents(self, store: Store, name: str) -> int:
        """Rows of a part whose column chunk is 0. Raises StorageError when it cannot be read."""
        ...


@dataclass(frozen=True)
class _Parquet:
    """Parquet with zstd, the metadata in its footer."""

    suffix = "parquet"

    def encode(self, table: pa.Table, metadata: Mapping[str, str]) -> bytes:
        return to_parquet(table, metadata)

    def count_rows(self, store: Store, name: str) -> int:
        """By the footer alone."""
        return int(pq.read_metadata(_opened(store, name)).num_rows)

    def count_documents(self, store: Store, name: str) -> int:
        numbers = pq.ParquetFile(_opened(store, name)).read(["chunk"])["chunk"].to_numpy()
        return int(np.count_nonzero(numbers == 0))


@dataclass(frozen=True)
class _Jsonl:
    """One JSON object a line, without metadata."""

    suffix = "jsonl"

    def encode(self, table: pa.Table, metadata: Mapping[str, str]) -> bytes:
        return to_jsonl(table)

    def count_rows(self, store: Store, name: str) -> int:
        return read_bytes(store.fs, store.path(name)).count(b"\n")

    def count_documents(self, store: Store, name: str) -> int:
        return sum(orjson.loads(line)["chunk"] == 0 for line in read_bytes(store.fs, store.path(name)).splitlines())


def _opened(store: Store, name: str) -> pa.PythonFile:
    path = store.path(name)
    size = attempt("reading", path, lambda: int(store.fs.info(path)["size"]))
    return pa.PythonFile(RangeFile(store.fs, path, size), mode="r")


PARQUET = _Parquet()
JSONL = _Jsonl()


def find_part_format(name: str) -> PartFormat:
    """The format that `output.format` names.

    Raises:
        ConfigError: there is none, or it cannot be imported.
    """
    try:
        return cast(PartFormat, find_object(PART_FORMATS, name, "output.format"))
    except LookupError as error:
        raise ConfigError(str(error)) from error
