"""What several test modules of the pipeline share."""

from collections.abc import Iterator

import pytest

from pipelines.config import RayParameters


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A local Ray cluster for one test module, as a job would start it; jobs find it and leave it running.

    Modules that use it, or start their own, are of the xdist group "ray" (`pytest --dist loadgroup`): a cluster takes
    some seconds to start and a gigabyte, so there is never more than one.
    """
    from pipelines.cluster import connected

    with connected(RayParameters(object_store_mb=256)):
        yield
