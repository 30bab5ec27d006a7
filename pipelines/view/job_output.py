"""An output folder as the page sees it: its job, and the parts that are committed by now."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from actors.errors import first_line
from pipelines.errors import ConfigError, ManifestError, StorageError
from pipelines.output.first_rows import can_show
from pipelines.output.manifest import MANIFEST_NAME, Manifest, read_manifest
from pipelines.output.manifest_extension import read_plan
from pipelines.output.parts import QUARANTINE_FOLDER, ShardId, has_success, list_names, split_part_name
from pipelines.output.sinks.base import find_sink
from pipelines.output.sinks.folder import PartsFolder
from pipelines.planning.plan import Plan
from pipelines.storage.filesystem import Store, is_local, read_bytes, resolve
from pipelines.storage.range_reader import RangeFile
from pipelines.storage.retry import attempt

_GLOB = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class JobOutput:
    """A job's output folder. What changes while the job runs is asked for anew by every call."""

    parts: PartsFolder
    manifest: Manifest
    input_storage: Mapping[str, object] = field(default_factory=dict, repr=False)
    """fsspec options of the input, from which passages are read."""

    @property
    def store(self) -> Store:
        """The folder."""
        return self.parts.store

    @cached_property
    def plan(self) -> Plan:
        """What was read, and how it was cut."""
        return read_plan(self.store, self.manifest)

    @property
    def is_parquet(self) -> bool:
        """Whether the parts are Parquet; else they are JSONL."""
        return self.parts.format == "parquet"

    @cached_property
    def in_place(self) -> bool:
        """Whether DuckDB can read the parts where they are.

        It would take some characters of a path for a pattern, and may follow no link out of the folder: it is confined
        to that.
        """
        is_plain = self.is_parquet and is_local(self.store.fs) and _GLOB.search(self.store.root) is None
        return is_plain and not _has_links(Path(self.store.root))

    def is_complete(self) -> bool:
        """Whether the job is marked as complete, as `spanmill status` says."""
        return has_success(self.store)

    def shards(self) -> list[ShardId]:
        """The committed shards, in the order of the plan."""
        return sorted(self.parts.committed().ids(), key=_place)

    def quarantine(self) -> list[ShardId]:
        """Shards that have rows in quarantine, in the order of the plan."""
        names = (split_part_name(name) for name in list_names(self.store, QUARANTINE_FOLDER))
        found = (name.shard for name in names if name is not None and name.job8 == self.parts.job8)
        return sorted(found, key=_place)

    def part_file(self, name: str) -> pq.ParquetFile:
        """A Parquet file of the folder, read as far as it is asked for.

        Raises:
            StorageError: it cannot be read, or is no Parquet file.
        """
        path = self.store.path(name)
        size = attempt("reading", path, lambda: int(self.store.fs.info(path)["size"]))
        source = pa.PythonFile(RangeFile(self.store.fs, path, size), mode="r")
        try:
            return pq.ParquetFile(source, buffer_size=1 << 20, pre_buffer=False)
        except pa.ArrowInvalid as error:
            raise StorageError(f"{path}: is damaged: {first_line(error)}", permanent=True) from error

    def lines(self, name: str) -> list[bytes]:
        """The rows of a JSONL part as they are written. Raises StorageError when it cannot be read."""
        return [line for line in read_bytes(self.store.fs, self.store.path(name)).split(b"\n") if line]

    def document(self, name: str) -> dict[str, Any] | None:
        """A JSON object of the folder; None where there is none, or none that can be read."""
        if name not in list_names(self.store):
            return None
        try:
            found = orjson.loads(read_bytes(self.store.fs, self.store.path(name)))
        except orjson.JSONDecodeError:
            return None
        return found if isinstance(found, dict) else None


def open_output(url: str, storage: Mapping[str, object], input_storage: Mapping[str, object]) -> JobOutput:
    """The output of a job.

    Raises:
        ManifestError: the folder holds no job, or a damaged manifest.
        ConfigError: its parts are in a sink or a format of somebody's own.
        StorageError: the folder cannot be read.
    """
    store = resolve(url, storage)
    manifest = read_manifest(store)
    if manifest is None:
        raise ManifestError(f"{store.url}: no job of Spanmill here (there is no {MANIFEST_NAME})")
    named = manifest.results["output"]
    sink, form = named.get("sink", "folder"), named["format"]
    if not can_show(sink, form):
        raise ConfigError(
            f"{store.url}: spanmill view shows parts in a folder, as Parquet or JSONL; these are of the sink {sink} in "
            f"the format {form}"
        )
    parts = find_sink(sink, form)(store, manifest.job8, form)
    assert isinstance(parts, PartsFolder)
    return JobOutput(parts, manifest, input_storage)


def _has_links(folder: Path) -> bool:
    """Whether a file of an output is a link to elsewhere, as caches and data versioning make them."""
    quarantine = folder / QUARANTINE_FOLDER
    if quarantine.is_symlink():
        return True
    for one in (folder, quarantine):
        if one.is_dir():
            with os.scandir(one) as entries:
                if any(entry.is_symlink() for entry in entries):
                    return True
    return False


def _place(shard: ShardId) -> tuple[int, int]:
    return shard.unit, shard.number
