"""A job: bound to its output, run in passes over what is missing, until nothing is."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from actors.backends.precision import Precision
from actors.engine.column_sizes import row_bytes
from actors.engine.inference_task import Wanted
from actors.models.hub import is_shipped
from actors.models.names import SHIPPED
from actors.models.runtime_choice import Candidate, RuntimeChoice
from actors.version import release
from pipelines.config.job import AnswerConfig, OfflineConfig
from pipelines.corpus.listing import Listing, list_inputs, matches
from pipelines.errors import CorpusError, JobError, ManifestError, SpanmillError
from pipelines.job.runtime import with_runtime
from pipelines.job.side_process import in_side_process
from pipelines.job.wanted import wanted_of
from pipelines.output.manifest import Manifest, open_or_create, overwrite, read_manifest
from pipelines.output.manifest_extension import settle_inputs
from pipelines.output.parts import Committed, ShardId
from pipelines.output.sinks.base import Sink, find_sink
from pipelines.output.sinks.folder import PartsFolder
from pipelines.output.sinks.part_format import find_part_format
from pipelines.planning.plan import Plan
from pipelines.planning.planner import make_plan
from pipelines.planning.row_limit import limit_rows
from pipelines.planning.row_schema import RowSchema
from pipelines.schemas import JobKind, output_schema
from pipelines.storage.filesystem import Store, resolve
from pipelines.storage.url import Url

if TYPE_CHECKING:
    from pipelines.job.model_probe import ProbedModel

_SEMANTICS = 1
"""Raised when a new version of Spanmill gives other rows for the same input and keys."""


_PLACES = ("endpoint_url", "account_name", "account_host", "connection_string", "host", "port")
"""fsspec options that say which server or account a URL is on."""


@dataclass(frozen=True)
class Job:
    """Everything that is decided before the first shard runs."""

    config: OfflineConfig
    store: Store
    model: "ProbedModel"
    task: Wanted
    plan: Plan
    manifest: Manifest
    left_out: tuple[str, ...] = ()
    """What lies in the input and is not read, and why, for people."""

    @property
    def kind(self) -> JobKind:
        """Answer or embed."""
        return self.plan.layout.kind

    @property
    def model_name(self) -> str:
        """The model as people know it: the one that ships by its name, any other by the place that the config gives."""
        name = self.config.model.name
        return SHIPPED if is_shipped(name) else str(Url(name))

    @property
    def runtime(self) -> Candidate:
        """The runtime, and the type in which it computes."""
        return Candidate(self.config.model.backend, self.model.precision.dtype)

    @property
    def schema(self) -> pa.Schema:
        """Schema of every part."""
        return output_schema(self.plan.layout.carry, self.task, self.model.hidden_size, self.model.layers)

    @property
    def parts(self) -> Sink:
        """What the job writes, and where."""
        output = self.config.output
        return find_sink(output.sink, output.format)(self.store, self.manifest.job8, output.format)

    def committed(self) -> Committed:
        """What the output holds already.

        Raises:
            ManifestError: it holds parts of another job.
        """
        found = self.parts.committed()
        if found.foreign:
            raise ManifestError(
                f"{self.store.url}: holds parts of another job ({found.foreign[0]}); "
                "name another OUTPUT, or replace them with --overwrite"
            )
        return found


@dataclass(frozen=True)
class Places:
    """Where a job reads and writes, before its model is loaded."""

    store: Store
    """OUTPUT."""
    listing: Listing
    """Of its inputs."""


def find_places(inputs: Sequence[str], output: str, config: OfflineConfig) -> Places:
    """Lists the input; touches nothing.

    Raises:
        CorpusError, StorageError: the input or the output's URL cannot be used.
        ConfigError: there is no such sink or part format.
    """
    store = resolve(output, config.output.storage)
    _check_apart([resolve(name, config.corpus.storage) for name in inputs], store, _part_names(config))
    return Places(store, list_inputs(inputs, config.corpus))


def plan_job(inputs: Sequence[str], output: str, config: OfflineConfig, limit: int | None, anew: bool = False) -> Job:
    """Lists the input, cuts it up and says what will be written; touches nothing.

    Args:
        anew: whether the job is to replace what is in OUTPUT; otherwise it may go on with it, in its precision.

    Raises:
        CorpusError, StorageError, ModelError: the input, the output's URL or the model cannot be used.
        ConfigError: there is no such sink or part format.
    """
    return plan_in(find_places(inputs, output, config), config, limit, anew)


def plan_in(places: Places, config: OfflineConfig, limit: int | None, anew: bool = False, apart: bool = False) -> Job:
    """As `plan_job`, of an input that is listed.

    Args:
        anew: as in `plan_job`.
        apart: try the model in a process of its own: torch, which it takes, is not in this one for as long as the job
            runs. It takes somewhat longer.

    Raises:
        CorpusError, StorageError, ModelError: the input or the model cannot be used.
    """
    # Not before here: it brings torch and Ray, seconds in which whoever mistyped a path would wait for the error.
    begun = None if anew else _begun(places.store)
    model = in_side_process(_probe, config, begun) if apart else _probe(config, begun)
    config, task = with_runtime(config, model.runtime), wanted_of(config)
    top_k = 1 if task.qa is None else task.qa.top_k
    listing = places.listing
    column_bytes = partial(row_bytes, task, model.hidden_size, model.depth, model.cut)
    plan = make_plan(listing.files, config.corpus, kind_of(config), model.tokens_per_second, top_k, column_bytes)
    if limit is not None:
        plan = limit_rows(plan, limit, config.corpus.storage)
    schema = output_schema(plan.layout.carry, task, model.hidden_size, model.layers)
    manifest = make_manifest(config, limit, model.fingerprint, model.precision.dtype, schema, plan, model.runtime)
    return Job(config, places.store, model, task, plan, manifest, listing.left_out)


def _probe(config: OfflineConfig, begun: Manifest | None) -> "ProbedModel":
    from pipelines.job.model_probe import probe_model

    return probe_model(config, begun)


def kind_of(config: OfflineConfig) -> JobKind:
    """Which job a config is of."""
    return "answer" if isinstance(config, AnswerConfig) else "embed"


def make_manifest(
    config: OfflineConfig,
    limit: int | None,
    model: str,
    dtype: str,
    schema: pa.Schema,
    plan: Plan,
    runtime: RuntimeChoice | None = None,
) -> Manifest:
    """The manifest of a job that is to be begun now.

    Args:
        config: with the runtime decided.
        model: its fingerprint.
        dtype: in which it computes.
        schema: of the parts.
        runtime: how the runtime was decided, where the config left it open.
    """
    return Manifest(
        kind=kind_of(config),
        model=model,
        backend=str(Candidate(config.model.backend, dtype)),
        results=_results(config, limit),
        output_schema=str(schema),
        plan=plan.to_json(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        spanmill=release(),
        runtime=None if runtime is None else runtime.to_json(),
    )


def in_runtime(job: Job, runtime: RuntimeChoice) -> Job:
    """A job that is not bound yet, in another runtime than it was planned with."""
    config = with_runtime(job.config, runtime)
    precision = Precision(runtime.dtype, runtime.reason)
    model = dataclasses.replace(job.model, precision=precision, runtime=runtime)
    # Not a copy of the manifest, which may remember the id that it had.
    told = job.manifest.model_dump() | {"backend": str(runtime.candidate), "runtime": runtime.to_json()}
    return dataclasses.replace(job, config=config, model=model, manifest=Manifest.model_validate(told))


def _begun(store: Store) -> Manifest | None:
    """The manifest in OUTPUT; None where it cannot be read, which is for `bind` to say."""
    try:
        return read_manifest(store)
    except SpanmillError:
        return None


def bind(job: Job, replace: bool, extend: bool = False) -> Job:
    """Ties the job to its output folder; a folder that holds the same job gives its plan back, to be resumed.

    Args:
        replace: first remove what an earlier job wrote there.
        extend: take files into the job that are new since it was bound.

    Raises:
        ManifestError: the folder belongs to another job, or to the same one with another input.
    """
    if replace:
        overwrite(job.store, job.parts)
    earlier = read_manifest(job.store)
    if earlier is not None:
        job = _with_types_of(earlier, job)
    stored = open_or_create(job.store, earlier, job.manifest)
    plan = settle_inputs(job.store, stored, job.plan, extend)
    # Shards that are whole are the same whatever becomes of damaged files, so a job that met one may go on either way.
    layout = dataclasses.replace(plan.layout, damaged=job.config.corpus.damaged)
    plan = dataclasses.replace(plan, layout=layout)
    return dataclasses.replace(job, plan=plan, manifest=stored)


def _with_types_of(stored: Manifest, job: Job) -> Job:
    """The job with the carried columns' types that it was begun with: files that came since do not change them."""
    try:
        begun = RowSchema.from_json(stored.plan["layout"])
    except (KeyError, TypeError, ValueError):
        return job  # whoever reads that plan says what is wrong with it
    layout = job.plan.layout
    if begun.carry.names != layout.carry.names:
        return job
    plan = dataclasses.replace(job.plan, layout=dataclasses.replace(layout, carry=begun.carry, mixed=begun.mixed))
    job = dataclasses.replace(job, plan=plan)
    return dataclasses.replace(job, manifest=job.manifest.model_copy(update={"output_schema": str(job.schema)}))


def check_complete(job: Job, failures: Sequence[str]) -> Committed:
    """What is committed, from a fresh listing. Raises JobError when shards are missing, with the reasons given."""
    committed = job.committed()
    missing = [unit for unit in job.plan.units if not committed.is_complete(unit.index)]
    if missing:
        reasons = "".join(f"\n  {reason}" for reason in list(dict.fromkeys(failures))[:10])
        raise JobError(
            f"{len(missing)} of {len(job.plan.units)} read units are not complete; everything else is committed. "
            f"Run the same command again to go on.{reasons}"
        )
    return committed


def _part_names(config: OfflineConfig) -> list[str]:
    """Names of the kind that files of the job will have in OUTPUT, where it writes any there that an input may match.

    Raises:
        ConfigError: there is no such sink or part format.
    """
    sink = find_sink(config.output.sink, config.output.format)
    suffix = find_part_format(config.output.format).suffix
    shards = [ShardId(0, 0, last) for last in (False, True)] if issubclass(sink, PartsFolder) else []
    return [shard.part_name("0" * 8, suffix) for shard in shards]


def _check_apart(inputs: Sequence[Store], output: Store, part_names: Sequence[str] = ()) -> None:
    for source in inputs:
        lies_in = f"{output.url.with_secrets}/".startswith(f"{source.url.with_secrets.rstrip('/')}/")
        lies_in |= any(matches(source, output.path(name)) for name in part_names if _are_of_one_kind(source, output))
        if lies_in and not _are_elsewhere(source.options, output.options):
            raise CorpusError(
                f"OUTPUT {output.url} lies in the input {source.url}, so the next run would read what this one wrote; "
                "name an OUTPUT elsewhere"
            )


def _are_of_one_kind(one: Store, other: Store) -> bool:
    return bool(one.fs.protocol == other.fs.protocol)


def _are_elsewhere(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether both sets of options name a server or account, and not the same: equal URLs are two places then."""
    places = [{**(options.get("client_kwargs") or {}), **options} for options in (one, other)]
    return any(key in places[0] and key in places[1] and places[0][key] != places[1][key] for key in _PLACES)


def _results(config: OfflineConfig, limit: int | None) -> dict[str, object]:
    """The keys that change rows: more actors, other batches or another cluster do not."""
    keys = config.model_dump(mode="json", include={"qa"})
    keys["embedding"] = None if config.embedding is None else config.embedding.dump
    corpus = config.corpus.model_dump(mode="json", include={"columns", "carry", "max_text_bytes"})
    if config.corpus.types:
        # Manifests of jobs from before there were any name none.
        corpus["types"] = config.corpus.types
    return {
        **keys,
        **_of_columns(config),
        "semantics": _SEMANTICS,
        "corpus": corpus,
        "output": _output(config),
        "limit": limit,
    }


def _of_columns(config: OfflineConfig) -> dict[str, object]:
    """The keys of columns that are written; manifests of jobs from before there were such columns name none."""
    wanted, keys = wanted_of(config), dict[str, object]()
    if isinstance(config, AnswerConfig):
        # Whether pooling is set makes no difference to rows without vectors.
        pooling = wanted.embedding if wanted.gives_embeddings or wanted.layer_vectors else None
        keys["embedding"] = None if pooling is None else pooling.dump
    if wanted.token_vectors is not None:
        keys["token_vectors"] = wanted.token_vectors.model_dump(mode="json")
    if wanted.attention is not None:
        keys["attention"] = wanted.attention.model_dump(mode="json")
    return keys


def _output(config: OfflineConfig) -> dict[str, object]:
    """A folder goes without saying, and so do the usual columns: manifests of jobs from before there were others name
    none.
    """
    named = config.output.model_dump(include={"format", "sink"})
    output: dict[str, object] = {key: value for key, value in named.items() if (key, value) != ("sink", "folder")}
    columns = config.output.columns
    if columns is not None and not _are_usual(columns, config):
        output["columns"] = list(columns)
    return output


def _are_usual(columns: Sequence[str], config: OfflineConfig) -> bool:
    """Whether a job writes these columns anyway, given its other keys as they are pinned."""
    if isinstance(config, AnswerConfig):
        return "answers" in columns and set(columns) <= {"answers", "embedding"}
    return set(columns) == {"embedding"}
