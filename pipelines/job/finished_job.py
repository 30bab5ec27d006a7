"""A job that is complete already: found without its model being loaded or Ray being started."""

import re

from actors.models.hub import find_model, fingerprint
from actors.registry import AUTO
from pipelines.config.job import OfflineConfig
from pipelines.errors import JobError
from pipelines.job.job import Places, make_manifest
from pipelines.job.precision import known_precision
from pipelines.job.runtime import begun_runtime, with_runtime
from pipelines.job.wanted import wanted_of
from pipelines.output.manifest import Manifest, read_manifest
from pipelines.output.manifest_extension import InputChange, read_plan
from pipelines.output.parts import REPORT_JSON, has_success
from pipelines.output.row_counts import RowCounts, read_counts
from pipelines.output.sinks.base import find_sink
from pipelines.planning.plan import Plan
from pipelines.schemas import output_schema
from pipelines.storage.filesystem import exists

_WIDTH = re.compile(r"^(?:token_vectors|hidden): .*?fixed_size_list<item: \w+>\[(\d+)\]", re.MULTILINE)
_VECTOR = re.compile(r"^(?:question_)?embedding(?:_[a-z]+)?: fixed_size_list<item: (\w+)>\[(\d+)\]", re.MULTILINE)
_LAYERS = re.compile(r"^hidden: fixed_size_list<.*>\[(\d+)\]", re.MULTILINE)


def find_finished(places: Places, config: OfflineConfig, limit: int | None) -> RowCounts | None:
    """The rows of the job in OUTPUT where it is the one that is asked for, and complete.

    None wherever there may be something to do or to say: another input, model or config, a part that is gone. Whoever
    gets None plans and binds the job, which finds out what it is, with the same errors as ever.

    Raises:
        ManifestError, StorageError: OUTPUT cannot be read.
        ModelError: there is no such model.
    """
    store = places.store
    stored = read_manifest(store) if has_success(store) and exists(store.fs, store.path(REPORT_JSON)) else None
    if stored is None:
        return None
    plan = read_plan(store, stored)
    if not _is_asked_for(stored, plan, places, config, limit):
        return None
    parts = find_sink(config.output.sink, config.output.format)(store, stored.job8, config.output.format)
    committed = parts.committed()
    if committed.foreign or not all(committed.is_complete(unit.index) for unit in plan.units):
        return None
    counts = read_counts(parts, committed)
    try:
        if config.quarantine_limit is not None:
            config.quarantine_limit.check(counts)
    except JobError:
        return None
    return counts


def _is_asked_for(stored: Manifest, plan: Plan, places: Places, config: OfflineConfig, limit: int | None) -> bool:
    change = InputChange.between(plan.files, places.listing.files)
    if change.new or change.gone or change.changed or plan.layout.damaged != config.corpus.damaged:
        return False
    # The width and number of the model's layers follow from its fingerprint, which is compared too.
    layers = _LAYERS.search(stored.output_schema)
    sizes = _width(stored.output_schema), int(layers[1]) - 1 if layers else 0
    schema = output_schema(plan.layout.carry, wanted_of(config), *sizes)
    config = with_runtime(config, begun_runtime(config.model, stored))
    precision = None if config.model.backend == AUTO else known_precision(config.model, stored)
    if precision is None:
        return False
    model = fingerprint(find_model(config.model), config.model.backend)
    return not stored.differences(make_manifest(config, limit, model, precision.dtype, schema, plan))


def _width(schema: str) -> int:
    """D of the model, or what stands for it where only a part of its numbers, or bits in bytes, are written."""
    if width := _WIDTH.search(schema):
        return int(width[1])
    vector = _VECTOR.search(schema)
    return 0 if vector is None else int(vector[2]) * (8 if vector[1] == "uint8" else 1)
