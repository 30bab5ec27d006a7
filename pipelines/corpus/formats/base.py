"""What an input format is: how its files are recognised, looked at, cut into read units, and read."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Protocol, Self, runtime_checkable

import pyarrow as pa

from actors.registry import find_object
from pipelines.config.input_formats import FORMATS
from pipelines.corpus.gaps import Gap
from pipelines.corpus.source_file import SourceFile
from pipelines.errors import CorpusError

ROW = "_row"
"""Column (int64) of raw rows: the number of each in its file, from 0."""

BYTE = "_byte"
"""Column (int64) of raw rows: the place of each row's first byte in the decompressed file, from 0."""

LINE = "_line"
"""Column (large_binary) of raw rows: each row as a JSON object, unparsed. Without it the columns are the row's own."""

RAW_COLUMNS = frozenset((ROW, BYTE, LINE))
"""Names that no column of the input may be carried under."""

PLACE_MARKS: Mapping[str, str] = {ROW: ":", BYTE: "@"}
"""Raw rows have one of these columns. A row without an id is named by its file, the mark and its place."""

Division = Literal["bytes", "groups", "whole"]
"""Where reading of a file may begin.

bytes: at any byte, and a row belongs to the unit in which its first byte lies; its place is in BYTE.
groups: at the groups of rows that the file has, whose sizes are known.
whole: at the file's beginning alone.
"""


@dataclass(frozen=True)
class Span:
    """The piece of a file that one read unit streams."""

    start: int
    """First group, or first byte of the file."""

    stop: int
    """End of the groups or bytes, exclusive."""

    first_row: int
    """Number in the file of the piece's first row, where the format knows it; else 0."""

    rows: int | None
    """Rows of the piece, where the format knows them. Otherwise `start` and `stop` are bytes: samples weigh it so."""


@dataclass(frozen=True)
class FirstLook:
    """What the plan needs to know of a file before it is read."""

    names: tuple[str, ...]
    """Columns that the file has, as far as was looked."""

    schema: pa.Schema | None
    """The types of all columns, where the file declares them; None where every value brings its own."""

    spans: tuple[Span, ...]
    """The whole file in pieces of about `LookOptions.unit_bytes`, in order; one where there is no row to be read."""

    rows: int
    """Rows of the file: exact where the spans know theirs, else estimated."""

    text_bytes: int
    """Bytes of these rows' text, estimated."""

    is_telling: bool = True
    """False where so few rows were seen that a column may be missing because these rows are bad ones."""

    misfit: str = ""
    """Why the file cannot be of this format, and the mend; it is refused with that message."""

    is_lost: bool = False
    """The file is damaged before its first row."""

    format: str = ""
    """The name of the format that the file turns out to have, where names do not tell it; the plan reads it as that."""

    sample: Sequence[Mapping[str, Any]] = ()
    """Rows from the file's beginning, JSON objects, which tell the types of carried columns; none with a schema."""


@dataclass(frozen=True)
class LookOptions:
    """How a file is looked at."""

    needed: tuple[str, ...]
    """Columns that will be read, the id's first."""

    texts: tuple[str, ...]
    """Those of them that hold the texts which a row cannot be without."""

    unit_bytes: int
    """Bytes that one read unit should stream."""

    storage: Mapping[str, object]
    """fsspec options of the file's store."""

    keep_on: bool
    """Of a damaged file, tell what can be told."""

    head_bytes: int = 64 << 10
    """Text to read of a file that declares no types; more where few files have to tell those of carried columns."""


def _every_group(first: int, stop: int) -> bool:
    return True


@dataclass(frozen=True)
class ReadOptions:
    """How the rows of a read unit are wanted."""

    needed: tuple[str, ...]
    """Columns to read; one that the file lacks is null."""

    batch_rows: int
    """Most rows of a table, where the format has a choice."""

    max_line_bytes: int
    """Bytes of the longest row of a format of lines: more of one than that is never in memory."""

    storage: Mapping[str, object]
    """fsspec options of the file's store."""

    keep_on: bool
    """Where the file is damaged, give a `Gap` in the place of the rows that are lost, and go on if there are more."""

    is_wanted: Callable[[int, int], bool] = _every_group
    """Says whether rows [first, stop) of the unit are needed by any shard that is not committed. A format of groups
    need not read the others, and then gives as many rows with a place and nothing else.
    """


class LazyRows(Protocol):
    """Rows that can be counted and sliced before they are copied into a table."""

    def __len__(self) -> int: ...
    def slice(self, offset: int, length: int) -> Self:
        """Rows [offset, offset + length)."""
        ...

    def table(self) -> pa.Table:
        """The raw rows."""
        ...


@runtime_checkable
class InputFormat(Protocol):
    """Raw rows of one kind of file. It keeps no state: every process of a job has one of its own.

    Raw rows are tables with a place column (ROW or BYTE) and either the needed columns with their types or LINE.
    """

    suffixes: tuple[str, ...]
    """Ends of names by which `corpus.format: auto` recognises it, in lower case, with the dot."""

    may_be_compressed: bool
    """Whether a whole file may be a gzip or zstd stream, as `.gz` or `.zst` after the suffix says."""

    def division(self, file: SourceFile) -> Division:
        """Where reading of this file may begin."""
        ...

    def look(self, file: SourceFile, options: LookOptions) -> FirstLook:
        """Reads as little as tells columns, rows and cuts.

        Raises:
            DamagedError: it is damaged or cut short; not with `keep_on`.
            StorageError: it cannot be read.
        """
        ...

    def read(self, file: SourceFile, span: Span, options: ReadOptions) -> Iterator[pa.Table | LazyRows | Gap]:
        """The raw rows of a span in order, small table by small table, and a gap where some are lost. The same file
        and span give the same rows and gaps every time. A limit and samples change `Span.rows`, and samples begin a
        span at another group or byte; reading on behind `rows` is harmless.

        Raises:
            DamagedError: the file is damaged or cut short; not with `keep_on`.
            StorageError: it cannot be read.
        """
        ...

    def empty(self, needed: Sequence[str]) -> pa.Table:
        """No raw rows, in the columns of `read`; a type that is not known is null."""
        ...


@cache
def find_format(name: str) -> InputFormat:
    """The format that a value of `corpus.format`, but for auto, or of `SourceFile.format` names.

    Raises:
        CorpusError: there is no such format, or it cannot be imported.
    """
    try:
        found = find_object(FORMATS, name, "corpus.format")
    except LookupError as error:
        raise CorpusError(f"{error}. Install its package, on the workers too, or correct the name.") from error
    if not isinstance(found, InputFormat):
        raise CorpusError(f"corpus.format: {name} is no input format (pipelines.corpus.formats.base.InputFormat)")
    return found
