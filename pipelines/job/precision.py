"""The precision of a job: one for all of its output, decided before the first shard and kept until the last."""

from pathlib import Path

from actors.backends.precision import EXACT, Precision
from actors.models.precision import choose_precision, decided_precision
from actors.models.runtime_choice import Candidate
from actors.parameters import ModelParameters
from pipelines.config.job import OfflineConfig
from pipelines.output.manifest import Manifest


def begun_precision(model: ModelParameters, begun: Manifest | None) -> Precision | None:
    """The precision of a job that goes on; None where there is none, or where it is not what is asked for now.

    `auto` takes whatever the job was begun with, and `fast` any half precision: what would be chosen now, on another
    machine, does not matter.
    """
    if decided_precision(model) is not None or begun is None:
        return None
    runtime = Candidate.parse(begun.backend)
    if runtime.backend != model.backend or (model.precision == "fast" and runtime.dtype == EXACT):
        return None
    return Precision(runtime.dtype, "as the job was begun")


def known_precision(model: ModelParameters, begun: Manifest | None) -> Precision | None:
    """The precision of a job, where its config or the manifest that it goes on with say it."""
    return decided_precision(model) or begun_precision(model, begun)


def job_precision(config: OfflineConfig, folder: Path, begun: Manifest | None, on_gpu: bool) -> Precision:
    """The precision of a job.

    Args:
        folder: of its model.
        begun: the manifest in OUTPUT that the job may go on with.
        on_gpu: whether the actors of its pool compute on GPUs. A pool has actors of one kind: all get as many GPUs.

    Raises:
        ModelError: the runtime cannot do what `model.precision` asks for.
        ConfigError: a service of several models has not the job's, or has it in several precisions.
        JobError: the service whose replicas the job shares does not answer; Ray has to be connected to its cluster.
    """
    known = known_precision(config.model, begun)
    if known is not None:
        return known
    if config.pool.kind == "serve":
        # Imported here, because other jobs need not load Ray Serve and FastAPI.
        from pipelines.job.service_check import service_runtime

        return Precision(service_runtime(config.pool.application, config.model).dtype, "as the service computes")
    return choose_precision(folder, config.model, on_gpu)
