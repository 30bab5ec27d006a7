"""A training run on Ray Train, whose messages the driver shows."""

import tempfile
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import ray
import ray.train
from ray.train.torch import TorchTrainer
from ray.util.queue import Empty, Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from rich.console import Console

from actors.errors import last_line
from pipelines.config.training import FinetuneConfig, WorkerParameters
from pipelines.errors import ConfigError, JobError
from pipelines.evaluation.squad import SkippedRows
from pipelines.job.ray_cluster import cluster_size, connected
from pipelines.training.checkpoints import Checkpoints
from pipelines.training.dataset import TrainingData
from pipelines.training.messages import WorkerFailed
from pipelines.training.progress import TrainingProgress
from pipelines.training.worker_entry import Assignment, train


def fit(
    config: FinetuneConfig, data: TrainingData, checkpoints: Checkpoints, console: Console
) -> tuple[SkippedRows, ...]:
    """Trains from the last checkpoint, or from the base, to the end; the last checkpoint is then the result.

    Returns:
        The rows of the data that give no training windows, one entry for every reason.

    Raises:
        ConfigError: the cluster cannot hold the workers.
        JobError: the workers failed more often than `workers.max_failures` allows.
    """
    with (
        tempfile.TemporaryDirectory(prefix="spanmill-") as scratch,
        TrainingProgress(console) as progress,
        connected(config.ray, models=_models(config)),
    ):
        scaling, threads = plan_workers(config.workers, cluster_size()[0])
        messages = Queue(actor_options={"num_cpus": 0})
        tables = ray.put((data.examples, data.held_out))
        trainer = TorchTrainer(
            train,
            train_loop_config={"assignment": Assignment(config, checkpoints, tables, threads, messages)},
            scaling_config=scaling,
            run_config=ray.train.RunConfig(
                name="spanmill",
                storage_path=scratch,
                failure_config=ray.train.FailureConfig(max_failures=config.workers.max_failures),
            ),
        )
        return _watch(trainer, messages, progress)


def _models(config: FinetuneConfig) -> list[str]:
    return [source.name for source in (config.base, config.teacher) if source is not None]


def plan_workers(wanted: WorkerParameters, resources: Mapping[str, float]) -> tuple[ray.train.ScalingConfig, int]:
    """The number and resources of Ray Train's workers, and the threads of each.

    Args:
        resources: Ray's names and amounts of the whole cluster: CPU, GPU.

    Raises:
        ConfigError: the cluster cannot hold the workers; Ray Train would wait for a larger one without saying so.
    """
    gpus, cpus = int(resources.get("GPU", 0)), resources.get("CPU", 1.0)
    workers = wanted.number or max(gpus, 1)
    # One CPU is left to Ray and the system, where there is one to leave.
    spare = cpus - (cpus > 2)
    each = wanted.cpus or (spare // workers if spare >= workers else spare / workers)
    for amount, there, unit in ((each * workers, cpus, "CPUs"), (workers if gpus else 0, gpus, "GPUs")):
        if amount > there:
            raise ConfigError(
                f"workers: {workers} workers need {amount:g} {unit}, the cluster has {there:g}; "
                "lower workers.number" + (" or workers.cpus" if unit == "CPUs" else "")
            )
    resources_each = {"CPU": each} | ({"GPU": 1.0} if gpus else {})
    scaling = ray.train.ScalingConfig(num_workers=workers, use_gpu=bool(gpus), resources_per_worker=resources_each)
    return scaling, max(int(each), 1)


@ray.remote(num_cpus=0, max_retries=0)
def _fit(trainer: Any) -> BaseException | None:
    """Runs the trainer in a task: a thread that waits while Ray shuts down would end the process (ray issue 31145)."""
    error: BaseException | None = trainer.fit().error
    return error


def _watch(trainer: Any, messages: Queue, progress: TrainingProgress) -> tuple[SkippedRows, ...]:
    """Runs the trainer and shows the workers' messages; Ctrl-C stops both."""
    # On this machine, where Ray Train keeps its own files in a temporary folder that is removed at the end.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    running = _fit.options(scheduling_strategy=here).remote(trainer)
    # By reason, because workers that are restarted send the same rows again.
    left_out: dict[StrEnum, SkippedRows] = {}
    try:
        while not ray.wait([running], timeout=0)[0] or messages.qsize():
            try:
                message = messages.get(timeout=0.5)
            except Empty:
                continue
            if isinstance(message, WorkerFailed):
                raise JobError(message.reason)
            if not isinstance(message, SkippedRows) or message.reason not in left_out:
                progress.add(message)
            if isinstance(message, SkippedRows):
                left_out[message.reason] = message
        failure = _failure(running)
    finally:
        ray.cancel(running, force=True)
    if failure is not None:
        raise JobError(last_line(failure, "Error: "))
    return tuple(left_out.values())


def _failure(running: Any) -> BaseException | None:
    try:
        failure: BaseException | None = ray.get(running)
    except ray.exceptions.RayError as error:
        return error
    return failure
