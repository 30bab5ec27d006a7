"""The stages of a job, made once for whoever runs them: a pass of Ray Data, or the search for a guilty row."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from actors.parameters import BatchingParameters, ModelParameters
from pipelines.job import Job
from pipelines.pool import Pool
from pipelines.shards import Parts
from pipelines.stages import PrepareStage, ReadStage
from pipelines.writing import WriteStage

if TYPE_CHECKING:
    from actors.model_actor import Task


@dataclass(frozen=True)
class Stages:
    """Everything that a worker needs, ready to be sent to it."""

    read: ReadStage
    prepare: PrepareStage
    model: tuple[ModelParameters, BatchingParameters, "Task", str]
    """Arguments of `ModelStage`, but for its last."""
    known_parts: Parts | None
    """Where the model stage looks for what is done already, its last argument."""
    write: WriteStage


def make_stages(job: Job, pool: Pool, rehearsal: bool = False) -> Stages:
    """The stages of a bound job on a pool; a rehearsal writes nothing."""
    layout, task, config = job.plan.layout, job.task, job.config
    # An actor without a GPU of its own may still see those of the machine.
    device = config.model.device if pool.gpus else config.model.device.replace("auto", "cpu")
    chosen = {"threads": pool.threads, "device": device, "name": from_anywhere(config.model.name)}
    model = config.model.model_copy(update=chosen)
    metadata = {"model": job.model.fingerprint, "config": job.manifest.job_id, "version": job.manifest.spanmill}
    return Stages(
        read=ReadStage(layout, config.corpus.storage),
        prepare=PrepareStage(layout, job.model.spec, task.qa, task.embedding),
        model=(model, config.batching, task, job.model.fingerprint),
        known_parts=None if rehearsal else job.parts,
        write=WriteStage(job.parts, job.schema, metadata, rehearsal),
    )


def from_anywhere(model: str) -> str:
    """A local folder's absolute path, since workers of a running cluster run in other folders."""
    folder = Path(model).expanduser()
    return str(folder.resolve()) if folder.is_dir() else model
