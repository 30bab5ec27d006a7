"""Nodes that leave as on a spot notice, and nodes that are refused for what is installed on them."""

import signal

import pytest

from tests.cluster.bench import WORKER_CPUS, Bench
from tests.cluster.host import STATE, Host
from tests.cluster.load import asking

pytestmark = [pytest.mark.more, pytest.mark.ray]


def _needs(host: Host, command: str) -> None:
    """Skips the test where `spanmill` has no such command yet."""
    if host.run("spanmill", command, "--help", check=False).returncode:
        pytest.skip(f"there is no command `spanmill {command}`")


def test_a_node_that_gets_sigterm_gives_its_work_back_and_nothing_is_computed_twice(running: Bench) -> None:
    cluster = running.cluster
    driver = cluster.workers[0]
    _needs(driver, "node")
    leaving = cluster.add_host("leaving", 31)
    words = (f"--address={cluster.address}", f"--num-cpus={WORKER_CPUS}", f"--node-ip-address={leaving.address}")
    node = leaving.start(STATE / "leaving.log", "spanmill", "node", *words)
    cluster.wait_for_nodes(4)
    job = running.start_job(driver, keys=("ray.address=auto", "pool.size=3", "pool.cpus=1"))
    with asking([running.url(host) for host in cluster.workers], cluster.token) as load:
        job.wait_for(3)
        node.signal(signal.SIGTERM)
        assert node.end(300)[0] == 0
        job.wait()
    cluster.wait_for_nodes(3)
    assert not load.failed()
    assert running.rows_equal(job.output)
    shards = [record["shard"] for record in job.events("shard committed")]
    assert len(shards) == len(set(shards))
    assert not job.events("shard failed")
    assert not job.events("shard found committed")


@pytest.mark.parametrize("package", ["torch", "transformers"])
def test_a_node_with_another_version_is_refused_by_name_and_the_job_goes_on(running: Bench, package: str) -> None:
    cluster = running.cluster
    _needs(cluster.head, "node")
    other = cluster.add_host(f"other-{package}"[:11], 32 + ["torch", "transformers"].index(package))
    # Its own copy of what says which version is installed there: its root folder is its own.
    find = f"import importlib.metadata as m; print(m.distribution('{package}')._path)"
    metadata = other.run("python", "-c", find).stdout.strip()
    other.write("/tmp/other/METADATA", other.read(f"{metadata}/METADATA").replace(b"\nVersion: ", b"\nVersion: 99.", 1))
    other.run("mount", "--bind", "/tmp/other/METADATA", f"{metadata}/METADATA")
    words = ("ray", "start", f"--address={cluster.address}", f"--node-ip-address={other.address}", "--num-cpus=1")
    node = other.start(STATE / "other.log", *words, "--object-store-memory=167772160", "--block")
    cluster.wait_for_nodes(4)
    try:
        job = running.start_job(cluster.workers[0], keys=("ray.address=auto",))
        code, said = job.command.end()
        assert code == 0, said
        [warning] = [line for line in said.splitlines() if "warning: " in line]
        assert other.address in warning
        assert f"{package} 99." in warning
        assert running.rows_equal(job.output)
    finally:
        node.signal(signal.SIGTERM)
        node.end()
        other.remove()
        cluster.wait_for_nodes(3)
