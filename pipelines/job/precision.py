"""The precision of a job: one for all of its output, decided before the first shard and kept until the last."""

from pathlib import Path

import ray

from actors.backends.base import find_runtime
from actors.backends.precision import EXACT, Precision
from actors.models.precision import choose_precision, decided_precision
from actors.parameters import ModelParameters
from pipelines.config.job import OfflineConfig
from pipelines.job.ray_cluster import address_of
from pipelines.output.manifest import Manifest


def begun_precision(model: ModelParameters, begun: Manifest | None) -> Precision | None:
    """The precision of a job that goes on; None where there is none, or where it is not what is asked for now.

    `auto` takes whatever the job was begun with, and `fast` any half precision: what would be chosen now, on another
    machine, does not matter.
    """
    if decided_precision(model) is not None or begun is None:
        return None
    backend, _, dtype = begun.backend.rpartition(" ")
    if backend != model.backend or (model.precision == "fast" and dtype == EXACT):
        return None
    return Precision(dtype, "as the job was begun")


def job_precision(config: OfflineConfig, folder: Path, begun: Manifest | None, on_gpu: bool) -> Precision:
    """The precision of a job.

    Args:
        folder: of its model.
        begun: the manifest in OUTPUT that the job may go on with.
        on_gpu: whether the actors of its pool compute on GPUs. A pool has actors of one kind: all get as many GPUs.

    Raises:
        ModelError: the runtime cannot do what `model.precision` asks for.
        JobError: the service whose replicas the job shares does not answer; Ray has to be connected to its cluster.
    """
    known = decided_precision(config.model) or begun_precision(config.model, begun)
    if known is not None:
        return known
    if config.pool.kind == "serve":
        # Imported here, because other jobs need not load Ray Serve and FastAPI.
        from pipelines.job.service_check import service_dtype

        return Precision(service_dtype(config.pool.application), "as the service computes")
    return choose_precision(folder, config.model, on_gpu)


def asks_cluster(config: OfflineConfig, begun: Manifest | None) -> bool:
    """Whether only the cluster can tell the precision of a job: whether it has GPUs, or what its service computes in.

    What is pinned must not be a guess, so a cluster that cannot be reached is an error then.
    """
    known = decided_precision(config.model) or begun_precision(config.model, begun)
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
