"""Connecting to Ray; what needs a cluster is in test_execute and test_running_cluster."""

import socket

import pytest

from pipelines.cluster import connected
from pipelines.config import RayParameters
from pipelines.errors import ConfigError, JobError


def test_an_address_that_is_none() -> None:
    with (
        pytest.raises(JobError, match=r"ray\.address: nonsense cannot be used: Invalid address"),
        connected(RayParameters(address="nonsense")),
    ):
        raise AssertionError("connected to nothing")


def test_a_metrics_port_that_is_taken() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with (
            pytest.raises(ConfigError, match=rf"ray\.metrics_port: {port} is taken .*; name another"),
            connected(RayParameters(metrics_port=port)),
        ):
            raise AssertionError("connected all the same")
