"""What several test modules of the pipeline share."""

from collections.abc import Iterator

import pytest

from pipelines.config import RayParameters
from tests.conftest import RAY_MODULES


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest) -> Iterator[None]:
    """A local Ray cluster for one test module, as a job would start it; jobs find it and leave it running."""
    from pipelines.cluster import connected

    assert request.path.name in RAY_MODULES, "name this module in tests/conftest.py"
    with connected(RayParameters(object_store_mb=256)):
        yield
