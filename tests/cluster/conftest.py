"""What the tests of the cluster share: one cluster for each module, and the reason where there can be none."""

import signal
from collections.abc import Iterator

import pytest

from tests.cluster.bench import Bench, bench
from tests.cluster.host import missing


@pytest.fixture(scope="module")
def running() -> Iterator[Bench]:
    """A cluster of a head and two workers with a service on it, which was started on the head."""
    obstacle = missing()
    if obstacle is not None:
        pytest.skip(obstacle)
    with bench() as made:
        made.start_service(made.cluster.head)
        yield made
        if made.service.process.poll() is None:
            made.service.signal(signal.SIGTERM)
