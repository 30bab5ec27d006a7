"""`spanmill status`: the progress of a job, read from its committed parts. Needs neither Ray nor the model."""

from collections.abc import Mapping

from pipelines.console import Pairs, open_console
from pipelines.errors import ManifestError
from pipelines.output.first_rows import first_rows
from pipelines.output.manifest import read_manifest
from pipelines.output.manifest_extension import read_plan
from pipelines.output.parts import has_success
from pipelines.output.row_counts import read_counts
from pipelines.output.sinks.base import find_sink
from pipelines.storage.filesystem import resolve
from pipelines.words import row_line


def show_status(output: str, storage: Mapping[str, object], rows: int = 0) -> bool:
    """Prints the progress of a job; returns True when it is complete.

    Args:
        rows: as many of the first rows are printed too.

    Raises:
        ManifestError: the folder holds no job, or a damaged manifest.
        StorageError: the folder cannot be read.
    """
    store = resolve(output, storage)
    manifest = read_manifest(store)
    if manifest is None:
        raise ManifestError(f"{store.url}: no job of Spanmill here (there is no _manifest.json)")
    named = manifest.results["output"]
    parts = find_sink(named.get("sink", "folder"), named["format"])(store, manifest.job8, named["format"])
    plan = read_plan(store, manifest)
    committed = parts.committed()
    counts = read_counts(parts, committed, has_chunks="chunk" in manifest.results)
    complete = has_success(store)
    table = Pairs()
    table.add("job", f"{manifest.kind} {manifest.job8}, of {manifest.created}")
    table.add("state", _state(complete, is_whole=committed.complete_units == len(plan.units)))
    table.add("shards", f"{committed.shards:,} of about {max(plan.expected_shards, committed.shards):,}")
    table.add("read units", f"{committed.complete_units:,} of {len(plan.units):,} complete")
    if counts.chunks is None:
        table.add("rows", f"{counts.total:,}")
    else:
        table.add("documents", f"{counts.total:,}")
        table.add("chunks", f"{counts.chunks:,}, a row of the output each")
    table.add("quarantined", f"{counts.quarantined:,}")
    console = open_console()
    table.print_to(console)
    for row in first_rows(parts, committed, rows) if rows else ():
        console.print(row_line(row), soft_wrap=True)
    return complete


def _state(complete: bool, is_whole: bool) -> str:
    if complete:
        return "complete"
    # Too many rows in quarantine, or a sink that could not finish.
    return f"not complete: the same command {'says why, all shards are committed' if is_whole else 'goes on'}"
