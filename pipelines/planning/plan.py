"""The plan of a job: which pieces of which files are read, and how large a shard is."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pipelines.corpus.listing import SourceFile
from pipelines.planning.row_schema import RowSchema


@dataclass(frozen=True)
class ReadUnit:
    """A piece of one file that one task streams."""

    index: int
    """Its number in the plan, and in the names of its parts."""

    file: int
    """Number of its file in the plan."""

    start: int
    """First row group (Parquet) or byte (JSONL)."""

    stop: int
    """End of the row groups or bytes, exclusive. A line belongs to the unit in which its first byte lies."""

    first_row: int
    """Parquet: number in the file of the unit's first row. JSONL: 0."""

    rows: int | None
    """Rows of the unit, where they are known: always for Parquet, and for JSONL under a limit. Reading ends there."""


@dataclass(frozen=True)
class Plan:
    """All that is decided before the first row is read; the manifest keeps it, and a resume follows it."""

    files: tuple[SourceFile, ...]
    """The corpus."""

    units: tuple[ReadUnit, ...]
    """In order of files and places; `units[i].index == i`."""

    layout: RowSchema
    """Columns, types and shard_rows."""

    row_estimate: int
    """Rows of the corpus: exact for Parquet, estimated from a sample for JSONL."""

    @property
    def exact_rows(self) -> int | None:
        """Rows of the corpus; None where only reading it will tell."""
        return self.row_estimate if all(unit.rows is not None for unit in self.units) else None

    @property
    def expected_shards(self) -> int:
        """Shards of the whole job: exact for Parquet, estimated for JSONL."""
        size = self.layout.shard_rows
        known = [unit.rows for unit in self.units if unit.rows is not None]
        unknown = len(self.units) - len(known)
        rest = max(self.row_estimate - sum(known), 0)
        return sum(max(-(-rows // size), 1) for rows in known) + (max(unknown, -(-rest // size)) if unknown else 0)

    def file_of(self, unit: ReadUnit) -> SourceFile:
        """The file that a unit reads."""
        return self.files[unit.file]

    def reading(self, files: Sequence[SourceFile]) -> "Plan":
        """This plan with the URLs of a fresh listing, matched by name: a stored plan has none with a signature."""
        urls = {file.name: file.url for file in files}
        return replace(self, files=tuple(replace(file, url=urls.get(file.name, file.url)) for file in self.files))

    def to_json(self) -> dict[str, Any]:
        """As a JSON object of lists. Passwords and query strings of URLs are left out: they may be secret."""
        return {
            "files": [[without_secrets(file.url), *astuple(file)[1:]] for file in self.files],
            "units": [[unit.file, unit.start, unit.stop, unit.first_row, unit.rows] for unit in self.units],
            "layout": self.layout.to_json(),
            "row_estimate": self.row_estimate,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Plan":
        """The inverse of `to_json`. Raises KeyError, TypeError, ValueError or ArrowInvalid for anything else."""
        return cls(
            files=tuple(SourceFile(*file) for file in data["files"]),
            units=tuple(ReadUnit(index, *unit) for index, unit in enumerate(data["units"])),
            layout=RowSchema.from_json(data["layout"]),
            row_estimate=int(data["row_estimate"]),
        )


def without_secrets(url: str) -> str:
    """A URL without user, password and what may be a signature."""
    if "://" not in url:
        return url
    parts = urlsplit(url)
    query = "" if parts.scheme in ("http", "https") else parts.query
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, query, parts.fragment))
