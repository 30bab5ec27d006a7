"""A training run on Ray Train, and its words on their way to a person."""

import queue
import tempfile
import threading
from typing import Any

import ray
import ray.train
from ray.train.torch import TorchTrainer
from ray.util.queue import Empty, Queue
from rich.console import Console

from pipelines.checkpoints import Checkpoints
from pipelines.cluster import cluster_size, connected
from pipelines.errors import JobError
from pipelines.training_config import FinetuneConfig, WorkerParameters
from pipelines.training_data import TrainingData
from pipelines.training_progress import TrainingProgress
from pipelines.training_worker import Assignment, train


def fit(config: FinetuneConfig, data: TrainingData, checkpoints: Checkpoints, console: Console) -> None:
    """Takes all steps that are not taken yet; the last checkpoint is then the result.

    Raises:
        JobError: the workers failed, more often than is allowed.
    """
    with (
        tempfile.TemporaryDirectory(prefix="spanmill-") as scratch,
        TrainingProgress(console) as progress,
        connected(config.ray),
    ):
        scaling, threads = _scale(config.workers)
        words = Queue(actor_options={"num_cpus": 0})
        tables = ray.put((data.examples, data.held_out))
        trainer = TorchTrainer(
            train,
            train_loop_config={"assignment": Assignment(config, checkpoints, tables, threads, words)},
            scaling_config=scaling,
            run_config=ray.train.RunConfig(
                name="spanmill",
                storage_path=scratch,
                failure_config=ray.train.FailureConfig(max_failures=config.workers.max_failures),
            ),
        )
        _watch(trainer, words, progress)


def _scale(wanted: WorkerParameters) -> tuple[ray.train.ScalingConfig, int]:
    """Ray Train's workers, and the threads of each."""
    resources, _ = cluster_size()
    gpus, cpus = int(resources.get("GPU", 0)), resources.get("CPU", 1.0)
    workers = wanted.number or max(gpus, 1)
    # One CPU is left to Ray and the system, where there is one to leave.
    each = wanted.cpus or max((cpus - (cpus > 2)) // workers, 1.0)
    on_gpu = gpus >= workers
    share = {"CPU": each} | ({"GPU": 1.0} if on_gpu else {})
    scaling = ray.train.ScalingConfig(num_workers=workers, use_gpu=on_gpu, resources_per_worker=share)
    return scaling, max(int(each), 1)


def _watch(trainer: Any, words: Queue, progress: TrainingProgress) -> None:
    """Runs the trainer beside this thread, which shows what the foreman says and hears Ctrl-C."""
    ended: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def run() -> None:
        try:
            ended.put(trainer.fit().error)
        except BaseException as error:
            ended.put(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive() or words.qsize():
        try:
            progress.add(words.get(timeout=0.5))
        except Empty:
            continue
    failure = ended.get()
    if failure is not None:
        raise JobError(_reason(failure))


def _reason(failure: BaseException) -> str:
    """The error at the root, without the tracebacks that Ray puts around it."""
    lines = [line.strip() for line in str(failure).splitlines() if line.strip()]
    said = [line for line in lines if "Error: " in line]
    return (said or lines or [type(failure).__name__])[-1]
