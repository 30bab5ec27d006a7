"""Connecting to Ray; what needs a cluster is in test_execute and test_running_cluster."""

import pytest

from pipelines.cluster import connected
from pipelines.config import RayParameters
from pipelines.errors import JobError


def test_an_address_that_is_none() -> None:
    with (
        pytest.raises(JobError, match=r"ray\.address: nonsense cannot be used: Invalid address"),
        connected(RayParameters(address="nonsense")),
    ):
        raise AssertionError("connected to nothing")
