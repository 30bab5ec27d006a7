"""Which node is meant; tests/pipelines/test_nodes.py drains real ones."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ray.exceptions import RpcError

from pipelines.errors import ConfigError, JobError
from pipelines.job.nodes.drain import LivingNode, _chosen, _is_own, drain, nodes_below
from tests.pipelines.processes import deaf_address

ONE, OTHER = LivingNode("a1", "10.0.0.7", False), LivingNode("b2", "10.0.0.8", False)


def test_a_node_is_named_or_is_the_one_that_was_started() -> None:
    assert _chosen([ONE, OTHER], "b2", None) == OTHER
    assert _chosen([ONE, OTHER], None, frozenset({"a1"})) == ONE
    with pytest.raises(ConfigError, match="no living node c3"):
        _chosen([ONE, OTHER], "c3", None)
    with pytest.raises(ConfigError, match="not in the cluster"):
        _chosen([ONE], None, frozenset())
    with pytest.raises(ConfigError, match=r"name one with --node ID: a1, b2"):
        _chosen([ONE, OTHER], None, frozenset({"a1", "b2"}))


def test_processes_below_this_one_tell_their_nodes(tmp_path: Path) -> None:
    """As a raylet does, whose command line names its node: below the process that was started by this one."""
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()', '--node_id=c0ffee'])"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as started:
        try:
            found = frozenset[str]()
            while not found:
                assert started.poll() is None
                found = nodes_below(os.getpid())
            assert found == {"c0ffee"}
            assert nodes_below(started.pid) == {"c0ffee"}
            assert not nodes_below(os.getppid() + (1 << 30))
        finally:
            started.communicate(b"\n")


def test_addresses_of_this_machine() -> None:
    assert _is_own("127.0.0.1")
    assert not _is_own("192.0.2.1")


@pytest.mark.parametrize("address", ["foo", "ray://h:10001", "http://h:8265", "10.0.0.1:port"])
def test_an_address_that_is_none_is_named_with_what_one_looks_like(address: str) -> None:
    with pytest.raises(ConfigError, match=f"^--address: {address} names no cluster; name HOST:PORT"):
        drain(address, 5.0, say=print)


class _SilentHead:
    """A head that took the connection, and answers no call."""

    def get_all_node_info(self, timeout: float) -> dict[Any, Any]:
        raise RpcError(f"no answer within {timeout:g} s")  # type: ignore[no-untyped-call]


def test_a_head_that_stops_answering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.job.nodes.drain._gcs", lambda address: _SilentHead())
    with pytest.raises(JobError, match="the cluster's head does not answer: RpcError: no answer within 10 s"):
        drain("10.0.0.1:6379", 5.0, say=print)


def test_a_cluster_that_does_not_answer() -> None:
    with deaf_address() as address, pytest.raises(JobError, match="nothing answers at"):
        drain(address, 5.0, say=print)
