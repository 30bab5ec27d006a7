"""The stages of a job, made once for whoever runs them: a pass of Ray Data, or the search for a guilty row."""

from dataclasses import dataclass
from pathlib import Path

from pipelines.job.job import Job
from pipelines.job.pool_size import ActorPool
from pipelines.output.parts import Parts
from pipelines.stages.model_runner import OwnModel, SharedModel
from pipelines.stages.prepare import PrepareStage
from pipelines.stages.read import ReadStage
from pipelines.stages.write import WriteStage


@dataclass(frozen=True)
class Stages:
    """Everything that a worker needs, ready to be sent to it."""

    read: ReadStage
    prepare: PrepareStage
    own: OwnModel
    """A model of a process of its own."""
    model: OwnModel | SharedModel
    """What the model stage runs: that, or a service's."""
    known_parts: Parts | None
    """Where the model stage looks for what is done already."""
    write: WriteStage


def make_stages(job: Job, pool: ActorPool, rehearsal: bool = False) -> Stages:
    """The stages of a bound job on a pool; a rehearsal writes nothing."""
    layout, task, config = job.plan.layout, job.task, job.config
    named = config.model.model_copy(update={"name": from_anywhere(config.model.name)})
    model = named.placed(pool.threads, with_gpu=pool.gpus > 0)
    own = OwnModel(model, config.batching, task, job.model.fingerprint)
    shared = SharedModel(config.pool.application, task)
    metadata = {"model": job.model.fingerprint, "config": job.manifest.job_id, "version": job.manifest.spanmill}
    return Stages(
        read=ReadStage(layout, config.corpus.storage),
        prepare=PrepareStage(layout, job.model.spec, task.qa, task.embedding),
        own=own,
        model=shared if config.pool.kind == "serve" else own,
        known_parts=None if rehearsal else job.parts,
        write=WriteStage(job.parts, job.schema, metadata, rehearsal),
    )


def from_anywhere(model: str) -> str:
    """A local folder's absolute path, since workers of a running cluster run in other folders."""
    folder = Path(model).expanduser()
    return str(folder.resolve()) if folder.is_dir() else model
