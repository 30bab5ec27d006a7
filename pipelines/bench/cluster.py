"""The Ray cluster of a run, which the peers on Ray share."""

from collections.abc import Iterator
from contextlib import contextmanager

import ray

from pipelines.config.job import AnswerConfig
from pipelines.job.ray_cluster import connected


@contextmanager
def address_of_cluster() -> Iterator[str]:
    """The address of a cluster that is up while the block runs."""
    with connected(AnswerConfig().ray):
        yield ray.get_runtime_context().gcs_address
