"""Parts of the output: their names say what is done, and writing one is the commit of its shard."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson
import pyarrow as pa

from pipelines.errors import MissingError
from pipelines.output.encoding import to_jsonl, to_parquet
from pipelines.storage.filesystem import Store, exists, write_atomic
from pipelines.storage.retry import attempt

PartFormat = Literal["parquet", "jsonl"]

QUARANTINE_FOLDER = "_quarantine"
SUCCESS_NAME = "_SUCCESS"
REPORT_JSON = "_report.json"
REPORT_HTML = "_report.html"

_PART = re.compile(r"part-(\d{5,})-(\d{5,})(z?)-([0-9a-f]{8})\.(parquet|jsonl)")


@dataclass(frozen=True)
class ShardId:
    """A shard's place in the plan."""

    unit: int
    number: int
    last: bool
    """No shard of the unit comes after this one."""

    def part_name(self, job8: str, format: PartFormat) -> str:
        """Name of the shard's part. The z of a unit's last shard lets a bare listing tell which units are complete."""
        return f"part-{self.unit:05d}-{self.number:05d}{'z' if self.last else ''}-{job8}.{format}"


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


@dataclass(frozen=True)
class Parts:
    """The parts of one job in its output folder."""

    store: Store
    job8: str
    """Start of the job's id, which every part's name carries."""
    format: PartFormat

    def path(self, shard: ShardId) -> str:
        """Path of a shard's part."""
        return self.store.path(shard.part_name(self.job8, self.format))

    def quarantine_name(self, shard: ShardId) -> str:
        """Name in the output folder of a shard's quarantine, which is Parquet whatever the parts are."""
        return f"{QUARANTINE_FOLDER}/{shard.part_name(self.job8, 'parquet')}"

    def has(self, shard: ShardId) -> bool:
        """A fresh look at one shard's part, one request. Raises StorageError when the store does not say."""
        return exists(self.store.fs, self.path(shard))

    def committed(self) -> Committed:
        """The committed shards, from one listing of the output folder; a folder that is not there has none.

        Raises:
            StorageError: the folder cannot be listed.
        """
        numbers: dict[int, set[int]] = {}
        last_numbers: dict[int, int] = {}
        foreign = []
        for name in list_names(self.store):
            part = _PART.fullmatch(name)
            if part is None:
                continue
            if (part[4], part[5]) != (self.job8, self.format):
                foreign.append(name)
                continue
            unit, number = int(part[1]), int(part[2])
            numbers.setdefault(unit, set()).add(number)
            if part[3]:
                last_numbers[unit] = number
        by_unit = {unit: frozenset(found) for unit, found in numbers.items()}
        return Committed(by_unit, last_numbers, tuple(sorted(foreign)))

    def commit(self, shard: ShardId, table: pa.Table, quarantine: pa.Table, metadata: Mapping[str, str]) -> int:
        """Writes a shard's quarantine, if it has rows, and then its part, even without rows: the part is the commit.

        Parts in Parquet carry `metadata` in their footer as `spanmill.<key>`, with job, rows and quarantined added;
        JSONL has no place for it. Quarantine is always Parquet. Writing the same shard again replaces it by an equal
        one.

        Returns:
            The part's size in bytes.

        Raises:
            StorageError: rights, space or network; nothing of the part is visible then.
        """
        counts = {"job": self.job8, "rows": str(len(table)), "quarantined": str(len(quarantine))}
        keyed = {**metadata, **counts}
        data = encode(table, self.format, keyed)
        if len(quarantine):
            write_atomic(self.store.fs, self.store.path(self.quarantine_name(shard)), to_parquet(quarantine, keyed))
        write_atomic(self.store.fs, self.path(shard), data)
        return len(data)


def encode(table: pa.Table, format: PartFormat, metadata: Mapping[str, str]) -> bytes:
    """The bytes of a part."""
    return to_parquet(table, metadata) if format == "parquet" else to_jsonl(table)


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


def shard_of(name: str) -> tuple[ShardId, str] | None:
    """The shard and the job of a part, from its name; None for other names."""
    part = _PART.fullmatch(name)
    return part and (ShardId(int(part[1]), int(part[2]), part[3] == "z"), part[4])


def is_part(name: str) -> bool:
    """True for the name of a part, of whatever job."""
    return shard_of(name) is not None


def list_names(store: Store, folder: str = "") -> list[str]:
    """Names in the output folder, or in a folder in it, from one listing; none when it is not there."""
    store.fs.invalidate_cache()
    place = store.path(folder) if folder else store.root
    try:
        paths = attempt("listing", place, lambda: store.fs.ls(place, detail=False))
    except MissingError:
        return []
    return [str(path).rpartition("/")[2] for path in paths]
