"""Names of the files in an output folder; those of parts tell which shards are committed."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from pipelines.errors import MissingError
from pipelines.storage.filesystem import Store, exists, write_atomic
from pipelines.storage.retry import attempt

QUARANTINE_FOLDER = "_quarantine"
SUCCESS_NAME = "_SUCCESS"
REPORT_JSON = "_report.json"
REPORT_HTML = "_report.html"

_PART = re.compile(r"part-(\d{5,})-(\d{5,})(z?)-([0-9a-f]{8})\.([a-z0-9]+)")


@dataclass(frozen=True)
class ShardId:
    """A shard's place in the plan."""

    unit: int
    number: int
    last: bool
    """No shard of the unit comes after this one."""

    def part_name(self, job8: str, suffix: str) -> str:
        """Name of the shard's part. The z of a unit's last shard lets a bare listing tell which units are complete."""
        return f"part-{self.unit:05d}-{self.number:05d}{'z' if self.last else ''}-{job8}.{suffix}"


@dataclass(frozen=True)
class Committed:
    """What a listing of the output folder says."""

    by_unit: Mapping[int, frozenset[int]]
    """Numbers of the committed shards of every unit that has some."""

    last_numbers: Mapping[int, int]
    """Number of a unit's last shard, where that one is committed."""

    foreign: tuple[str, ...]
    """Parts of other jobs, or of this one in another format, sorted: an output folder belongs to one job."""

    def numbers(self, unit: int) -> frozenset[int]:
        """Committed shards of a unit."""
        return self.by_unit.get(unit, frozenset())

    def is_complete(self, unit: int) -> bool:
        """True when every shard of the unit is committed."""
        return unit in self.last_numbers and len(self.by_unit[unit]) == self.last_numbers[unit] + 1

    def ids(self) -> Iterator[ShardId]:
        """Every committed shard."""
        for unit, numbers in self.by_unit.items():
            last = self.last_numbers.get(unit)
            yield from (ShardId(unit, number, number == last) for number in sorted(numbers))

    @property
    def shards(self) -> int:
        """Number of committed shards."""
        return sum(len(numbers) for numbers in self.by_unit.values())

    @property
    def complete_units(self) -> int:
        """Number of units whose every shard is committed."""
        return sum(map(self.is_complete, self.last_numbers))


def write_success(store: Store, summary: Mapping[str, Any]) -> None:
    """Marks the job as complete. `summary` is written as JSON; other tools only look whether the file is there."""
    write_atomic(store.fs, store.path(SUCCESS_NAME), orjson.dumps(dict(summary), option=orjson.OPT_INDENT_2))


def has_success(store: Store) -> bool:
    """True when the job is marked as complete; one request. Raises StorageError when the store does not say."""
    return exists(store.fs, store.path(SUCCESS_NAME))


def remove_success(store: Store) -> None:
    """Takes the mark away: parts are missing, and whoever reads must not think otherwise while they are made."""
    if has_success(store):
        attempt("removing", store.path(SUCCESS_NAME), lambda: store.fs.rm(store.path(SUCCESS_NAME)))


@dataclass(frozen=True)
class PartName:
    """What the name of a part says."""

    shard: ShardId
    job8: str
    """Start of the id of its job."""
    suffix: str
    """Of its format, without the dot."""


def split_part_name(name: str) -> PartName | None:
    """The name of a part, taken apart; None for other names."""
    part = _PART.fullmatch(name)
    return part and PartName(ShardId(int(part[1]), int(part[2]), part[3] == "z"), part[4], part[5])


def list_names(store: Store, folder: str = "") -> list[str]:
    """Names in the output folder, or in a folder in it, from one listing; none when it is not there."""
    store.fs.invalidate_cache()
    place = store.path(folder) if folder else store.root
    try:
        paths = attempt("listing", place, lambda: store.fs.ls(place, detail=False))
    except MissingError:
        return []
    return [str(path).rpartition("/")[2] for path in paths]
