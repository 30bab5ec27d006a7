"""The plan of a job: which pieces of which files are read, and how large a shard is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipelines.corpus.formats.base import Span
from pipelines.corpus.source_file import SourceFile
from pipelines.planning.row_schema import RowSchema


@dataclass(frozen=True)
class ReadUnit:
    """A piece of one file that one task streams."""

    index: int
    """Its number in the plan, and in the names of its parts."""

    file: int
    """Number of its file in the plan."""

    start: int
    """First row group or byte, as the file's format counts (`Span`)."""

    stop: int
    """End of the row groups or bytes, exclusive. A row belongs to the unit in which its first byte lies."""

    first_row: int
    """Number in the file of the unit's first row, where the format knows it; else 0."""

    rows: int | None
    """Rows of the unit, where they are known: from the file, or because of a limit. Reading ends there."""

    @property
    def span(self) -> Span:
        """What of the file it reads."""
        return Span(self.start, self.stop, self.first_row, self.rows)


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
    """Rows of the corpus: exact where all units know theirs, else estimated."""

    @property
    def exact_rows(self) -> int | None:
        """Rows of the corpus; None where only reading it will tell."""
        return self.row_estimate if all(unit.rows is not None for unit in self.units) else None

    @property
    def expected_shards(self) -> int:
        """Shards of the whole job: exact where the rows are, else estimated."""
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
            "files": [file.to_json() for file in self.files],
            "units": [[unit.file, unit.start, unit.stop, unit.first_row, unit.rows] for unit in self.units],
            "layout": self.layout.to_json(),
            "row_estimate": self.row_estimate,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Plan":
        """The inverse of `to_json`. Raises KeyError, TypeError, ValueError or ArrowInvalid for anything else."""
        return cls(
            files=tuple(SourceFile.from_json(file) for file in data["files"]),
            units=tuple(ReadUnit(index, *unit) for index, unit in enumerate(data["units"])),
            layout=RowSchema.from_json(data["layout"]),
            row_estimate=int(data["row_estimate"]),
        )
