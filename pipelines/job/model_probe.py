"""What the driver must know of the model before it can plan a job."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import ray

from actors.backends.base import Backend, GivesLayers, ModelOutput, check_outputs, find_runtime
from actors.backends.layer_output import ModelDepth
from actors.backends.precision import EXACT, Precision
from actors.backends.speed_probe import measure_speed
from actors.engine.column_sizes import WindowShape, check_attention
from actors.engine.decoding.pooling import check_dimensions
from actors.engine.engine import Engine, check_layers
from actors.errors import ModelError
from actors.models.hub import find_model, fingerprint
from actors.models.loading import load_backend, load_spec
from actors.models.runtime_choice import RuntimeChoice, in_place_of
from actors.parameters import ModelParameters
from actors.registry import AUTO
from actors.tokenization.chunked_texts import check_chunks_fit
from actors.tokenization.encoder_spec import EncoderSpec
from actors.tokenization.preprocess import embedding_window_size, prepare_pairs, prepare_texts, qa_window_size
from pipelines.config.job import AnswerConfig, OfflineConfig
from pipelines.job.precision import job_precision, known_precision
from pipelines.job.ray_cluster import address_of, cluster_of, connected_for, count_gpus
from pipelines.job.runtime import as_baseline_job, begun_runtime, job_runtime, with_runtime
from pipelines.job.wanted import wanted_of
from pipelines.output.manifest import Manifest

_GPU_FACTOR = 50.0
"""How much faster a GPU is taken to be than the driver's CPU."""


@dataclass(frozen=True)
class ProbedModel:
    """What the driver knows of the model: enough to plan, too little to run."""

    fingerprint: str
    spec: EncoderSpec
    hidden_size: int
    tokens_per_second: float
    """Of one actor, as the driver's machine lets it expect."""
    precision: Precision
    """Of all that the job writes."""
    runtime: RuntimeChoice | None = None
    """What `model.backend: auto` comes to; None where the config names the runtime."""
    depth: ModelDepth | None = None
    """Its layers and heads; None where nothing is wanted of them."""
    cut: WindowShape = field(default_factory=lambda: WindowShape(512, 0))
    """How passages are cut."""

    @property
    def layers(self) -> int:
        """Number of its layers; 0 where nothing is wanted of them."""
        return 0 if self.depth is None else self.depth.layers


def probe_model(config: OfflineConfig, begun: Manifest | None = None) -> ProbedModel:
    """Finds the model, and makes sure that it can do what the job asks.

    Args:
        begun: the manifest in OUTPUT that the job may go on with.

    Raises:
        ModelError: there is no such model, or it cannot.
        JobError: the precision of the job hangs on the cluster, or on the service there, and that does not answer.
    """
    runtime = begun_runtime(config.model, begun)
    is_open = config.model.backend == AUTO and runtime is None
    known = as_baseline_job(config) if is_open else with_runtime(config, runtime)
    folder = find_model(known.model)
    spec = load_spec(folder)
    if isinstance(config, AnswerConfig):
        size = qa_window_size(spec, config.qa)
    else:
        size = embedding_window_size(spec, config.embedding)
        if config.chunk is not None:
            check_chunks_fit(spec, config.embedding, config.chunk)
    cut = WindowShape(size.max_seq_len, size.doc_stride)
    wanted = wanted_outputs(config)
    asks = asks_cluster(known, begun) or (is_open and config.pool.kind == "serve")
    cluster: AbstractContextManager[None] = connected_for(config) if asks else nullcontext()
    with cluster:
        with_gpus = computes_on_gpus(known, _actors_have_gpus(known))
        if is_open:
            runtime = job_runtime(config, wanted, begun, with_gpus)
            known = with_runtime(config, runtime)
        check_outputs(wanted - {ModelOutput.LOGITS}, find_runtime(known.model.backend).outputs)
        precision = job_precision(known, folder, begun, with_gpus)
    backend, runtime = _load(config, runtime, known.model.in_type(precision.dtype), folder, wanted, with_gpus)
    if runtime is not None:
        known, precision = with_runtime(config, runtime), Precision(runtime.dtype, runtime.reason)
    backend, depth = _looked_into(backend, spec, config, cut)
    factor = _GPU_FACTOR if with_gpus and backend.device == "cpu" else 1.0
    speed = factor * measure_speed(backend, spec, want_spans=ModelOutput.LOGITS in wanted)
    check_dimensions(config.embedding, backend.hidden_size)
    found = fingerprint(folder, known.model.backend)
    return ProbedModel(found, spec, backend.hidden_size, speed, precision, runtime, depth, cut)


def wanted_outputs(config: OfflineConfig) -> frozenset[ModelOutput]:
    """What a job needs of the passes of its runtime."""
    return wanted_of(config).outputs


def _looked_into(
    backend: Backend, spec: EncoderSpec, config: OfflineConfig, cut: WindowShape
) -> tuple[Backend, ModelDepth | None]:
    """The backend whose passes a job has, and the depth of the model where the job looks into it.

    Raises:
        ModelError: there is no such layer, or the model does not give what the job wants of its layers, or too much of
            it is wanted.
    """
    wanted = wanted_of(config)
    if not wanted.needs_layers:
        return backend, None
    if not isinstance(backend, GivesLayers):
        raise ModelError("the runtime says that it gives hidden states and attention, and does not; use another")
    depth = backend.depth
    check_layers(wanted, depth.layers)
    check_attention(wanted, depth, cut.longest)
    texts = pa.array(["a"], pa.string())
    if isinstance(config, AnswerConfig):
        prepared, _ = prepare_pairs(spec, config.qa, texts, texts, keep_texts=True)
    else:
        prepared, _ = prepare_texts(spec, config.embedding, texts, keep_texts=True)
    engine = Engine(backend, spec, config.batching)
    engine.finish(engine.begin(prepared, wanted))
    return backend.with_layers(), depth


def asks_cluster(config: OfflineConfig, begun: Manifest | None) -> bool:
    """Whether only the cluster can tell the precision of a job: whether it has GPUs, or what its service computes in.

    What is pinned must not be a guess, so a cluster that cannot be reached is an error then.
    """
    known = known_precision(config.model, begun)
    if known is not None or config.pool.kind == "serve":
        return known is None
    may_be_fast = find_runtime(config.model.backend).fast is not None and config.model.device == "auto"
    return may_be_fast and config.pool.gpus is None and address_of(config.ray) != "local"


def computes_on_gpus(config: OfflineConfig, with_gpus: bool) -> bool:
    """Whether the actors of a pool compute on the GPUs that Ray gives them.

    On a cluster of this machine they do not where the runtime sees none of them, as a torch without CUDA does.
    """
    fast, model = find_runtime(config.model.backend).fast, config.model
    is_here = config.pool.kind == "own" and address_of(config.ray) == "local" and not ray.is_initialized()
    return with_gpus and not (is_here and fast is not None and not fast.uses_gpu(model.device))


def _actors_have_gpus(config: OfflineConfig) -> bool:
    """Whether the actors of the job will compute on GPUs, as `plan_pool` places them."""
    if config.model.device != "auto":
        return config.model.on_gpu(with_gpu=False)
    gpus = config.pool.gpus if config.pool.kind == "own" else None
    return bool(count_gpus(cluster_of(config)) if gpus is None else gpus)


def _load(
    config: OfflineConfig,
    runtime: RuntimeChoice | None,
    model: ModelParameters,
    folder: Path,
    wanted: frozenset[ModelOutput],
    with_gpus: bool,
) -> tuple[Backend, RuntimeChoice | None]:
    """The model in its runtime; or, where that is a remembered one that cannot be loaded, in torch, and that choice."""
    with_qa_head = ModelOutput.LOGITS in wanted
    try:
        return _load_here(folder, model, with_qa_head, with_gpus), runtime
    except Exception as error:  # each runtime raises its own kinds
        if runtime is None or not runtime.is_remembered:
            raise
        other = in_place_of(runtime, error, config.model, wanted, with_gpus)
        return _load_here(folder, other.candidate.of(config.model), with_qa_head, with_gpus), other


def _load_here(folder: Path, model: ModelParameters, with_qa_head: bool, with_gpus: bool) -> Backend:
    """The model as the driver tries it: on the CPU, since the GPUs are the actors', and others may have filled them."""
    if find_runtime(model.backend).runs_on_cpu:
        # Half precision is for GPUs; many a CPU computes with it a hundred times slower, or not at all.
        model = (model.in_type(EXACT) if with_gpus else model).model_copy(update={"device": "cpu"})
    if find_runtime(model.backend).exported is not None:
        # Of an export on a store, the form that this runtime reads in this type may not be here yet.
        folder = find_model(model)
    return load_backend(folder, model, with_qa_head)
