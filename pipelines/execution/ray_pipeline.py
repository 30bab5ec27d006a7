"""One pass of a job over its missing shards, as a Ray Data pipeline."""

import logging
import warnings
from collections.abc import Generator, Sequence
from typing import Any

import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset
from ray.data.read_api import from_blocks
from ray.util.annotations import RayDeprecationWarning

from pipelines.execution.lost_work import LostWorkWatch
from pipelines.execution.stage_list import ActorStage, AnyShardStage, StageList, TaskStage
from pipelines.output.receipt import Receipt
from pipelines.stages.pending_units import PendingUnit

_ONE_SHARD: dict[str, Any] = {"batch_size": 1, "batch_format": "pyarrow", "zero_copy_batch": True}
_MOST_READERS = 1000
"""Read tasks of a pass: past this many units, a task streams several, since every task costs the driver time."""
_IN_FLIGHT = 4
"""Shards in each actor's hands: two that it works on, and two that wait beside it."""
_THREADS = 2
"""Shards that an actor works on at once: while one is in the forward pass, the other is unpacked or written up."""
_RETRIES = 2
"""How often a pass tries a shard again that took its worker down with it. Ray Data's own default is for ever."""
_MOST_LOST = 20
"""Shards that a pass may lose with their workers before it is broken off."""


def build(stages: StageList, pending: Sequence[PendingUnit]) -> Dataset:
    """The pipeline over these units; nothing runs before it is iterated."""
    with DataContext.current(_context()), warnings.catch_warnings():
        # The bounds on retries have no other place in Ray 2.60.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        return _pipeline(stages, pending)


def _pipeline(stages: StageList, pending: Sequence[PendingUnit]) -> Dataset:
    # Not from_arrow, which has a task of one CPU look at every table: beside a service there may be none to have.
    dataset: Dataset = from_blocks(_shares(pending)).map_batches(
        stages.read.stage,
        batch_size=None,
        batch_format="pyarrow",
        num_cpus=stages.read.cpus,
        max_retries=_RETRIES,
        **stages.placement,
    )
    for stage in (*stages.compute, stages.write):
        dataset = dataset.map_batches(**_place(stage), **stages.placement, **_ONE_SHARD)
    return dataset


def _place(stage: TaskStage[AnyShardStage] | ActorStage) -> dict[str, Any]:
    """What a stage runs on, in `map_batches`' words."""
    if isinstance(stage, TaskStage):
        return {"fn": stage.stage, "num_cpus": stage.cpus, "max_retries": _RETRIES}
    pool = stage.pool
    return {
        "fn": stage.kind,
        "fn_constructor_args": stage.arguments,
        "compute": ActorPoolStrategy(
            min_size=pool.size,
            max_size=pool.max_size,
            initial_size=pool.size,
            max_tasks_in_flight_per_actor=_IN_FLIGHT,
            max_concurrent_calls_per_actor=_THREADS,
            enable_true_multi_threading=True,
        ),
        "num_cpus": pool.cpus,
        "num_gpus": pool.gpus or None,
        # An actor always comes back: a pool whose actors are dead for good would wait for ever.
        "max_restarts": -1,
        "max_task_retries": _RETRIES,
    }


def receipts(dataset: Dataset) -> Generator[Receipt, None, None]:
    """Runs the pipeline; receipts come as shards are committed, in any order.

    Raises:
        RayError: the pipeline broke down; shards whose receipts came are committed.
    """
    for bundle in dataset.iter_internal_ref_bundles():
        for table in ray.get(list(bundle.block_refs)):
            yield from Receipt.from_table(table)


def _shares(pending: Sequence[PendingUnit]) -> list[Any]:
    step = -(-len(pending) // _MOST_READERS)
    return [PendingUnit.to_table(pending[i : i + step]) for i in range(0, len(pending), step)]


def _context() -> DataContext:
    """The settings of a job; the dataset keeps them, and whoever called keeps their own."""
    context = DataContext.get_current().copy()
    # A block is as small as it gets: a shard is one row, and leaves a stage as soon as it is done.
    context.target_max_block_size = 1
    # A shard may take as long as it likes; whoever waits sees the progress, and can stop.
    context.execution_no_progress_timeout_s = -1
    # A shard that is lost with its worker is missing from the output, which the next pass sees; the others go on.
    # When many are lost it is not the shards: the pass ends.
    context.max_errored_blocks = _MOST_LOST
    context.memory_usage_poll_interval_s = None
    context.raise_original_map_exception = True
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.custom_execution_callback_classes = [*context.custom_execution_callback_classes, LostWorkWatch]
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    return context
