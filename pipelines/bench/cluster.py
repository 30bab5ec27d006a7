"""The Ray cluster of a run, which the peers on Ray share."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import ray

from actors.errors import first_line
from pipelines.bench.worker import PeerFailed
from pipelines.config.job import AnswerConfig
from pipelines.job.ray_cluster import connected


@contextmanager
def address_of_cluster() -> Iterator[str]:
    """The address of a cluster that is up while the block runs.

    Raises:
        PeerFailed: it does not start. Ray raises bare exceptions, as on a machine that is too busy.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(connected(AnswerConfig().ray))
            address: str = ray.get_runtime_context().gcs_address
        except Exception as error:
            raise PeerFailed(f"Ray does not start: {first_line(error)}") from error
        yield address
