"""Hive partitions: folders named `key=value` are columns of the files below them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from urllib.parse import unquote

import pyarrow as pa

from pipelines.corpus.formats.base import LINE, FirstLook
from pipelines.corpus.source_file import SourceFile

_NULL = "__HIVE_DEFAULT_PARTITION__"


def partitions_of(file: SourceFile) -> Mapping[str, str | None]:
    """Keys and values of the folders that a file lies in, as text; None where the value is Hive's null.

    Of two folders with one key, the inner one counts.
    """
    folders = str(file.url).split("/")[:-1]
    pairs = (folder.partition("=") for folder in folders)
    return {unquote(key): None if value == _NULL else unquote(value) for key, equals, value in pairs if key and equals}


def with_partition_columns(look: FirstLook, file: SourceFile, needed: Sequence[str]) -> FirstLook:
    """The first look with the needed partitions of the file among its columns; columns of its own go before."""
    partitions = _needed(file, needed)
    added = [name for name in partitions if name not in look.names]
    if not partitions or not look.names:
        return look
    schema, sample = look.schema, look.sample
    if schema is not None:
        for name in added:
            schema = schema.append(pa.field(name, pa.string()))
    return replace(
        look,
        names=(*look.names, *added),
        schema=schema,
        sample=[{**partitions, **row} for row in sample],
    )


def fill_partitions(table: pa.Table, file: SourceFile, needed: Sequence[str]) -> pa.Table:
    """Raw rows with the needed partitions of their file: columns of text, where the file has none of that name.

    Beside a LINE column they are what a row's object may lack.
    """
    for name, value in _needed(file, needed).items():
        column = pa.repeat(pa.scalar(value, pa.string()), len(table))
        if LINE in table.column_names:
            table = table.append_column(name, column)
        elif pa.types.is_null(table.schema.field(name).type):
            table = table.set_column(table.column_names.index(name), name, column)
    return table


def _needed(file: SourceFile, needed: Sequence[str]) -> Mapping[str, str | None]:
    return {name: value for name, value in partitions_of(file).items() if name in needed}
