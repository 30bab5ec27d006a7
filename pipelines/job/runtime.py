"""The runtime of a job with `model.backend: auto`, as far as it is known without measuring."""

from dataclasses import replace

from actors.backends.base import ModelOutput
from actors.models.precision import decided_precision
from actors.models.runtime_choice import Candidate, RuntimeChoice, as_baseline, settled_without_measuring
from actors.parameters import ModelParameters
from actors.registry import AUTO
from pipelines.config.job import OfflineConfig
from pipelines.output.manifest import Manifest


def begun_runtime(model: ModelParameters, begun: Manifest | None) -> RuntimeChoice | None:
    """The runtime of a job that goes on; None where there is none, or where it is not what is asked for now.

    What a cache says by now, or another machine, does not matter: one output has one runtime. Only `model.precision`
    and `model.dtype` can ask for another than the job was begun with.
    """
    if model.backend != AUTO or begun is None:
        return None
    runtime, asked = Candidate.parse(begun.backend), decided_precision(model)
    if asked is not None and asked.dtype != runtime.dtype:
        return None
    actors = 1 if begun.runtime is None else int(begun.runtime.get("actors", 1))
    return RuntimeChoice(runtime.backend, runtime.dtype, "as the job was begun", actors)


def job_runtime(
    config: OfflineConfig, wanted: frozenset[ModelOutput], begun: Manifest | None, on_gpu: bool
) -> RuntimeChoice:
    """The runtime of a job that leaves it open; where it `is_open` still, measuring may find a better one.

    Args:
        wanted: outputs that the job needs.
        begun: the manifest in OUTPUT that the job may go on with.
        on_gpu: whether the actors of its pool compute on GPUs.

    Raises:
        ModelError: the model cannot be found, or no installed runtime does what `model.dtype` asks for.
        ConfigError: a service of several models has not the job's, or has it in several runtimes.
        JobError: the service whose replicas the job shares does not answer; Ray has to be connected to its cluster.
    """
    known = begun_runtime(config.model, begun)
    if known is not None:
        return known
    if config.pool.kind == "serve":
        # Imported here, because other jobs need not load Ray Serve and FastAPI.
        from pipelines.job.service_check import service_runtime

        served, asked = service_runtime(config.pool.application, config.model), decided_precision(config.model)
        return RuntimeChoice(served.backend, asked.dtype if asked else served.dtype, "as the service computes")
    found = settled_without_measuring(config.model, wanted, on_gpu)
    # A job that cannot go on with what is in its OUTPUT is refused, and need not be measured for that.
    return found if begun is None else replace(found, is_open=False)


def with_runtime(config: OfflineConfig, runtime: RuntimeChoice | None) -> OfflineConfig:
    """The config with the runtime decided; as it is where it names one itself."""
    return config if runtime is None else config.model_copy(update={"model": runtime.candidate.of(config.model)})


def as_baseline_job(config: OfflineConfig) -> OfflineConfig:
    """The config of the same job in torch, of which is asked what hangs on no other runtime."""
    return config.model_copy(update={"model": as_baseline(config.model)})
