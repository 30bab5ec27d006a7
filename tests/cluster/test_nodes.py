"""Nodes that leave as on a spot notice, and nodes that are named, or refused, for what is wrong with them."""

import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import distribution, version
from itertools import count
from pathlib import Path

import pytest

from tests.cluster.bench import WORKER_CPUS, Bench
from tests.cluster.host import ROOT, STATE, Host
from tests.cluster.load import asking

pytestmark = [pytest.mark.more, pytest.mark.ray]


_AHEAD = 300
"""Seconds that a clock is ahead."""
_numbers = count(32)
"""Last parts of the addresses of further hosts."""


@contextmanager
def _joined(running: Bench, *before: Sequence[str], env: Mapping[str, str] | None = None) -> Iterator[Host]:
    """A further node of the cluster while the block runs.

    Args:
        before: commands that run on its host before it joins.
        env: further environment variables of the node.
    """
    cluster = running.cluster
    number = next(_numbers)
    host = cluster.add_host(f"other{number}", number)
    try:
        for words in before:
            host.run(*words)
        words = (f"--address={cluster.address}", f"--node-ip-address={host.address}", "--num-cpus=1")
        node = host.start(STATE / "other.log", "spanmill", "node", *words, "--object-store-memory=167772160", env=env)
        cluster.wait_for_nodes(4)
        yield host
        node.signal(signal.SIGTERM)
        node.end()
    finally:
        host.remove()
        cluster.wait_for_nodes(3)


def _warning(running: Bench, other: Host) -> str:
    """The line that a job of all nodes says about this one; the job comes to its end, with the right rows."""
    job = running.start_job(running.cluster.workers[0], keys=("ray.address=auto",))
    code, said = job.command.end()
    assert code == 0, said
    assert running.rows_equal(job.output)
    [warning] = [line for line in said.splitlines() if "warning: " in line]
    assert other.address in warning
    return warning


def test_a_node_that_gets_sigterm_gives_its_work_back_and_nothing_is_computed_twice(running: Bench) -> None:
    cluster = running.cluster
    leaving = cluster.add_worker(WORKER_CPUS)
    job = running.start_job(cluster.workers[0], keys=("ray.address=auto", "pool.size=3", "pool.cpus=1"))
    with asking([running.url(host) for host in cluster.workers[:2]], cluster.token) as load:
        job.wait_for(3)
        cluster.remove_worker(leaving)
        job.wait()
    assert not load.failed()
    assert running.rows_equal(job.output)
    shards = [record["shard"] for record in job.events("shard committed")]
    assert len(shards) == len(set(shards))
    assert not job.events("shard failed")
    assert not job.events("shard found committed")


@pytest.mark.parametrize("package", ["torch", "transformers"])
def test_a_node_with_another_version_is_refused_by_name_and_the_job_goes_on(running: Bench, package: str) -> None:
    # Its own copy of what says which version is installed there: its root folder is its own.
    metadata = Path(str(distribution(package).locate_file(".")), f"{package}-{version(package)}.dist-info", "METADATA")
    assert metadata.is_file()
    copy = f"sed 's/^Version: /Version: 99./' {metadata} > /var/METADATA"
    with _joined(running, ("bash", "-c", copy), ("mount", "--bind", "/var/METADATA", str(metadata))) as other:
        warning = _warning(running, other)
    assert f"{package} 99." in warning
    assert "gets no work" in warning


def test_a_node_that_does_not_reach_the_store_is_refused_by_name_and_the_job_goes_on(running: Bench) -> None:
    store = running.cluster.store.address
    with _joined(running, ("iptables", "--append", "OUTPUT", "--destination", store, "--jump", "DROP")) as other:
        warning = _warning(running, other)
    assert "gets no work: it cannot read " in warning
    assert "Check the route, the firewall and the credentials of that node" in warning


def test_a_node_with_another_clock_is_named_and_works(running: Bench) -> None:
    # All hosts have this machine's clock, so that it is Python's which goes ahead there.
    ahead = f"import time; told = time.time; time.time = lambda: told() + {_AHEAD}"
    write = f"mkdir /var/ahead && echo '{ahead}' > /var/ahead/sitecustomize.py"
    with _joined(running, ("bash", "-c", write), env={"PYTHONPATH": f"/var/ahead:{ROOT}"}) as other:
        warning = _warning(running, other)
    found = re.search(r"its clock is (\d+) s ahead of the driver's", warning)
    assert found is not None, warning
    assert int(found[1]) == pytest.approx(_AHEAD, abs=60)
    assert "timedatectl set-ntp true" in warning


@pytest.mark.parametrize(
    ("fill", "says"),
    [("head --bytes=-40M", "Make room there"), ("cat", "its worker died before it answered")],
    ids=["nearly", "wholly"],
)
def test_a_node_with_a_full_disk_is_named_and_the_job_goes_on(running: Bench, fill: str, says: str) -> None:
    with _joined(running) as other:
        free = other.run("df", "--block-size=1", "--output=avail", "/tmp").stdout.split()[-1]
        other.run("bash", "-c", f"head --bytes={free} /dev/zero | {fill} > /tmp/fills-it", check=False)
        warning = _warning(running, other)
    assert says in warning
    assert "disk" in warning
