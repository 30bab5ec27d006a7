"""One row with everything that its part holds, heavy columns one value at a time."""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from pipelines.errors import MissingError
from pipelines.output.parts import ShardId
from pipelines.view.job_output import JobOutput
from pipelines.view.row_tables import RowKey, RowTable
from pipelines.view.rows import plain

_LIGHT_ROWS = 4096
_HEAVY_ROWS = 16
"""Rows that are decoded together on the way to one: a row's attention may take many megabytes."""
_FIRST_NUMBERS = 24
_Taken = Callable[[pa.Array, int], Any]
"""What is taken of a column, by the number of the row."""


@dataclass(frozen=True)
class WholeRow:
    """A row as the parts hold it."""

    values: Mapping[str, Any]
    """Of the columns that are not heavy, whole."""
    heavy: tuple[str, ...]
    """Names of the others, which `read_value` reads."""


@dataclass(frozen=True)
class ListItem:
    """An item of a list in a heavy column."""

    items: int
    """How many the list has."""
    value: Any
    """As Python's lists and dicts; None where the list has no such item."""


def read_row(output: JobOutput, table: RowTable, key: RowKey) -> WholeRow:
    """A row without its heavy columns.

    Args:
        table: the rows of the output, whose shards are known without another look at the folder.

    Raises:
        MissingError: there is no such row.
        StorageError: its part cannot be read.
    """
    columns = table.columns
    found = _read(output, table, key, columns.light, _LIGHT_ROWS)
    return WholeRow({name: _exact(found[name]) for name in columns.light if name in found}, columns.heavy)


def read_value(output: JobOutput, table: RowTable, key: RowKey, column: str) -> Any:
    """The value of a heavy column in one row, as Python's lists and dicts.

    Raises:
        MissingError: there is no such row.
        StorageError: its part cannot be read.
    """
    return _read(output, table, key, [column], _HEAVY_ROWS)[column]


def read_item(output: JobOutput, table: RowTable, key: RowKey, column: str, item: int) -> ListItem | None:
    """An item of the list in a heavy column; None where the row has no list there.

    The others, of which each may be a gigabyte as Python's objects, stay as they are in the part.

    Raises:
        MissingError: there is no such row.
        StorageError: its part cannot be read.
    """
    found = _read(output, table, key, [column], _HEAVY_ROWS, _as_it_is)[column]
    items = found.values if isinstance(found, pa.ListScalar) else found
    if items is None:
        return None
    value = items[item] if 0 <= item < len(items) else None
    return ListItem(len(items), value.as_py() if isinstance(value, pa.Scalar) else value)


def outline(value: Any) -> dict[str, Any]:
    """What to say of a value that is nothing but numbers: its shape, its length as a vector, and the first numbers."""
    if isinstance(value, dict) and set(value) == {"values", "scales"}:
        # Vectors in int8, each with what its numbers are multiplied by.
        return outline([np.float32(scale) * np.float32(one) for one, scale in zip(*value.values(), strict=True)])
    try:
        numbers = np.asarray(value, np.float32)
    except (ValueError, TypeError):
        return {"shape": [len(value)] if isinstance(value, list | dict) else []}
    lengths = np.linalg.norm(numbers, axis=-1) if numbers.ndim else np.abs(numbers)
    return {
        "shape": list(numbers.shape),
        "norm": float(lengths.mean()) if numbers.size else 0.0,
        "first": [float(f"{number:.6g}") for number in numbers.reshape(-1)[:_FIRST_NUMBERS]],
    }


def to_json(value: object) -> bytes:
    """Any value of a part as JSON: bytes as base64, NaN as null, times and decimals as text."""
    return orjson.dumps(value, default=_plain, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY)


def _find_shard(output: JobOutput, table: RowTable, key: RowKey) -> ShardId:
    for shard in table.shards:
        if (shard.unit, shard.number) == (key.unit, key.number):
            return shard
    raise MissingError(f"{output.store.url}: no part {key.unit}-{key.number} is committed")


def _read(
    output: JobOutput,
    table: RowTable,
    key: RowKey,
    names: Sequence[str],
    together: int,
    taken: _Taken | None = None,
) -> dict[str, Any]:
    name = output.parts.part_name(_find_shard(output, table, key))
    if output.is_parquet:
        rows = _of_parquet(output, name, key.row, names, together, taken or _value)
    else:
        rows = _of_lines(output, name, key)
    if rows is None:
        raise MissingError(f"{name}: has no row {key.row:,}")
    return rows


def _of_parquet(
    output: JobOutput, name: str, row: int, names: Sequence[str], together: int, taken: _Taken
) -> dict[str, Any] | None:
    file = output.part_file(name)
    for number in range(file.num_row_groups):
        size = file.metadata.row_group(number).num_rows
        if row < size:
            return _of_group(file, number, row, names, together, taken)
        row -= size
    return None


def _of_group(
    file: Any, group: int, row: int, names: Sequence[str], together: int, taken: _Taken
) -> dict[str, Any] | None:
    for batch in file.iter_batches(together, row_groups=[group], columns=list(names)):
        if row < len(batch):
            # A name with a dot may have brought a field of a struct along.
            return {name: taken(batch.column(name), row) for name in names if name in batch.schema.names}
        row -= len(batch)
    return None


def _of_lines(output: JobOutput, name: str, key: RowKey) -> dict[str, Any] | None:
    lines = output.lines(name)
    if key.row >= len(lines):
        return None
    found = orjson.loads(lines[key.row])
    return found if isinstance(found, dict) else None


def _as_it_is(array: pa.Array, row: int) -> pa.Scalar:
    return array[row]


def _value(array: pa.Array, row: int) -> Any:
    try:
        return array[row].as_py()
    except (ValueError, OverflowError):
        # There are times that Arrow can hold, and Python cannot.
        return str(array[row])


def _exact(value: Any) -> Any:
    return plain(value) if isinstance(value, int) else value


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, timedelta):
        return str(value)
    return str(value)
