"""Makes the list of a job's stages: the one place that says which there are, in which order, and on what they run."""

from actors.engine.decoding.compact_vectors import described
from actors.models.hub import from_anywhere
from actors.serving.types import ModelIdentity
from actors.tenants import DEFAULT_TENANT
from actors.tracing.context import TraceContext
from actors.version import versions_of
from pipelines.execution.stage_list import ActorStage, StageList, TaskStage
from pipelines.job.job import Job
from pipelines.job.nodes.check import questions_of
from pipelines.job.pool_size import ActorPool
from pipelines.output.row_samples import Sampling
from pipelines.stages.model.node_guard import NodeGuard
from pipelines.stages.model.precision_check import PrecisionCheck
from pipelines.stages.model.runner import OwnModel, SharedModel
from pipelines.stages.model.stage import ModelStage
from pipelines.stages.prepare import PrepareStage
from pipelines.stages.read import ReadStage
from pipelines.stages.write import WriteStage

_READ_CPUS, _PREPARE_CPUS, _WRITE_CPUS = 0.2, 0.3, 0.1


def make_stages(job: Job, pool: ActorPool, rehearsal: bool = False, trace: TraceContext | None = None) -> StageList:
    """The stages of a bound job on a pool; a rehearsal writes nothing, and does not look at what is written.

    Args:
        trace: the span of the job; None where it is not traced.
    """
    layout, task, config = job.plan.layout, job.task, job.config
    own = own_model(job, pool)
    tenant = config.pool.tenant or DEFAULT_TENANT
    expected = ModelIdentity(job.model.fingerprint, job.runtime.backend, job.runtime.dtype)
    shared = SharedModel(config.pool.application, task, expected, tenant, pool.deployment)
    model = shared if config.pool.kind == "serve" else own
    check = None if rehearsal else PrecisionCheck.of(own, job.plan.expected_shards)
    sampling = Sampling() if rehearsal else Sampling.of(job.plan.expected_shards)
    metadata = {"model": job.model.fingerprint, "config": job.manifest.job_id, "version": job.manifest.spanmill}
    if task.embedding is not None and task.gives_embeddings:
        metadata |= described(task.embedding, job.model.hidden_size)
    prepare = PrepareStage(layout, job.model.spec, task.qa, task.embedding, sampling, task.needs_texts, job.chunk)
    guard = NodeGuard(versions_of(questions_of(config).packages))
    return StageList(
        read=TaskStage(ReadStage(layout, config.corpus.storage, trace), _READ_CPUS),
        compute=(
            TaskStage(prepare, _PREPARE_CPUS),
            ActorStage(ModelStage, (model, None if rehearsal else job.parts, True, check, guard), (own,), pool),
        ),
        write=TaskStage(WriteStage(job.parts, job.schema, metadata, rehearsal, trace), _WRITE_CPUS),
    )


def own_model(job: Job, pool: ActorPool) -> OwnModel:
    """The model as an actor of the pool loads it."""
    decided = job.config.model.in_type(job.model.precision.dtype)
    named = decided.model_copy(update={"name": from_anywhere(decided.name)})
    placed = named.placed(pool.threads, pool.gpus > 0)
    return OwnModel(placed, job.config.batching, job.task, job.model.fingerprint)
